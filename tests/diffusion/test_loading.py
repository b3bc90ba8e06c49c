"""Where a model comes from, and what is said of one that cannot be loaded."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
from fake_bucket import running_bucket_server
from huggingface_hub.utils import filter_repo_objects
from safetensors.torch import load_file, save_file
from tiny_models import edit_json, keep_halves

from imagegen.diffusion import digests
from imagegen.diffusion.device import WeightsToDevice, in_memory_order
from imagegen.diffusion.families import load_family
from imagegen.diffusion.loading import (
    _DESCRIPTIONS,
    _WEIGHTS,
    ModelFiles,
    fetch_model,
    one_precision,
)
from imagegen.errors import InvalidModel, InvalidSettings
from imagegen.storage.bucket_folder import BucketFolder
from imagegen.storage.pushing import Push

pytestmark = pytest.mark.torch

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def copy(tmp_path: Path, model_folder: Callable[..., Path]) -> Path:
    shutil.copytree(model_folder(), tmp_path / "model")
    return tmp_path / "model"


def load(folder: Path) -> None:
    load_family(folder, torch.device("cpu"), torch.float32)


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert fetch_model(str(tmp_path), tmp_path) == tmp_path


@pytest.mark.parametrize("model", ["no-such-folder", "/no/such/folder", "./owner/name", ""])
def test_what_is_neither_folder_nor_id_is_refused(tmp_path: Path, model: str) -> None:
    with pytest.raises(InvalidModel, match="no such folder"):
        fetch_model(model, tmp_path)


def test_a_hub_id_is_looked_up_and_its_absence_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match="no folder 'somebody/nothing-here', and the Hub"):
        fetch_model("somebody/nothing-here", tmp_path)


UNWANTED = {
    "v1-5-pruned.ckpt", "v1-5-pruned.safetensors", "unet/diffusion_pytorch_model.bin",
    "safety_checker/model.safetensors", "feature_extractor/preprocessor_config.json",
    "unet/diffusion_pytorch_model.non_ema.safetensors", "vae_decoder/model.onnx",
    "unet/diffusion_pytorch_model.fp16.safetensors", "text_encoder/model.fp16.safetensors",
}  # fmt: skip


def asked(files: Iterable[str], *, half: bool = False) -> set[str]:
    patterns = [*_DESCRIPTIONS, *_WEIGHTS]
    return set(one_precision(filter_repo_objects(files, allow_patterns=patterns), half=half))


def test_what_is_asked_of_the_hub_is_a_whole_model_and_no_more(copy: Path) -> None:
    needed = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    assert asked(needed | UNWANTED) == needed
    load(copy)


def test_of_an_sdxl_model_everything_is_asked(model_folder: Callable[..., Path]) -> None:
    folder = model_folder(shape="sdxl")
    needed = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"tokenizer_2", "text_encoder_2"} <= {name.partition("/")[0] for name in needed}
    assert asked(needed | {"sd_xl_base_1.0.safetensors", "vae_1_0/config.json"}) == needed


def test_of_two_precisions_one_is_fetched() -> None:
    """Half of it where it will be used so, a part that has but one precision in that."""
    whole = {"unet/diffusion_pytorch_model.safetensors", "text_encoder_2/model.safetensors"}
    halves = {"unet/diffusion_pytorch_model.fp16.safetensors", "vae/model.fp16.safetensors"}
    assert asked(whole | halves) == whole | {"vae/model.fp16.safetensors"}
    assert asked(whole | halves, half=True) == halves | {"text_encoder_2/model.safetensors"}
    shards = {
        f"unet/diffusion_pytorch_model{fp16}-0000{index}-of-00002.safetensors"
        for fp16 in ("", ".fp16") for index in (1, 2)
    }  # fmt: skip
    assert {".fp16-" in name for name in asked(shards, half=True)} == {True}
    assert {".fp16-" in name for name in asked(shards)} == {False}
    assert len(asked(shards)) == 2


def test_a_hub_id_that_was_fetched_before_needs_no_network(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "hub" / "models--somebody--tiny"
    revision = "0" * 40
    shutil.copytree(copy, kept / "snapshots" / revision)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(revision)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    load(fetch_model("somebody/tiny", tmp_path))


def test_a_model_comes_out_of_a_bucket(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second time no bucket is there any more."""
    with running_bucket_server() as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.endpoint)
        bucket = server.client.bucket(server.new())
        for path in copy.rglob("*"):
            if path.is_file():
                bucket.blob(f"tiny/1/{path.relative_to(copy)}").upload_from_filename(path)
        url = f"gs://{bucket.name}/tiny/1"
        folder = fetch_model(url, tmp_path / "cache")
        load(folder)
        with pytest.raises(InvalidSettings, match="nothing under"):
            fetch_model(f"gs://{bucket.name}/tiny/2", tmp_path / "cache")
    assert fetch_model(url, tmp_path / "cache") == folder
    assert ModelFiles(str(folder)).sha256() == ModelFiles(str(copy)).sha256()


def test_the_weights_of_a_folder_are_hashed_at_its_first_start_only(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "LARGE_BYTES", 1)
    monkeypatch.setattr(digests, "SETTLED_NS", -1_000_000_000)
    first = ModelFiles(str(copy), tmp_path / "cache").sha256()
    assert first == ModelFiles(str(copy)).sha256()
    monkeypatch.setattr(digests, "_hashed", lambda path: path.name)
    assert ModelFiles(str(copy), tmp_path / "cache").sha256() == first
    (copy / UNET).write_bytes((copy / UNET).read_bytes())
    assert ModelFiles(str(copy), tmp_path / "cache").sha256() != first


def test_the_digests_of_a_published_model_come_with_its_manifest(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file was verified on its way here: not even the first start hashes it again."""
    sha256 = ModelFiles(str(copy)).sha256()
    monkeypatch.setattr(digests, "LARGE_BYTES", 1)
    monkeypatch.setattr(digests, "_hashed", lambda path: path.name)
    with running_bucket_server() as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.endpoint)
        url = f"gs://{server.new()}/tiny"
        Push(copy).run(BucketFolder(url), lambda *_: None)
        for _ in range(2):
            assert ModelFiles(url, tmp_path / "cache").sha256() == sha256
        folder = fetch_model(url, tmp_path / "cache")
        (folder / UNET).write_bytes((folder / UNET).read_bytes())
        assert ModelFiles(url, tmp_path / "cache").sha256() != sha256


def test_a_bucket_is_asked_once(tmp_path: Path) -> None:
    """The second time it lies in the cache, under a name of its URL's alone."""
    url = "gs://models/tiny/1"
    kept = tmp_path / hashlib.sha256(url.encode()).hexdigest()[:32]
    kept.mkdir()
    assert fetch_model(url, tmp_path) == kept


def test_a_bucket_url_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings):
        fetch_model("gs://", tmp_path)


@pytest.mark.parametrize(
    "pipeline",
    ["FluxPipeline", "StableDiffusionInpaintPipeline", "StableDiffusionXLImg2ImgPipeline"],
)
def test_another_architecture_is_refused_by_name(copy: Path, pipeline: str) -> None:
    edit_json(copy / "model_index.json", _class_name=pipeline)
    with pytest.raises(InvalidModel, match=rf"{pipeline}; .*StableDiffusionXLPipeline"):
        load(copy)


def test_a_model_under_another_familys_name_is_refused(
    copy: Path, tmp_path: Path, model_folder: Callable[..., Path]
) -> None:
    xl = tmp_path / "xl"
    shutil.copytree(model_folder(shape="sdxl"), xl)
    edit_json(xl / "model_index.json", _class_name="StableDiffusionPipeline")
    with pytest.raises(InvalidModel, match=r"inputs .* has not: .*addition_embed_type text_time"):
        load(xl)
    edit_json(copy / "model_index.json", _class_name="StableDiffusionXLPipeline")
    with pytest.raises(InvalidModel, match="text_encoder_2"):
        load(copy)


def test_a_refiner_is_refused(tmp_path: Path, model_folder: Callable[..., Path]) -> None:
    """It takes five sizes and scores, not six."""
    folder = tmp_path / "model"
    shutil.copytree(model_folder(shape="sdxl"), folder)
    edit_json(folder / "text_encoder_2" / "config.json", projection_dim=24)
    weights = folder / "text_encoder_2" / "model.safetensors"
    tensors = load_file(weights)
    tensors["text_projection.weight"] = torch.zeros(24, 16)
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(InvalidModel, match=r"takes 64 features .* gives 72: is it a refiner"):
        load(folder)


@pytest.mark.parametrize(
    "missing",
    ["model_index.json", "unet/config.json", UNET, "vae", "text_encoder", "tokenizer",
     "scheduler/scheduler_config.json"],
)  # fmt: skip
def test_a_missing_part_is_named(copy: Path, missing: str) -> None:
    path = copy / missing
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    with pytest.raises(InvalidModel, match=missing.split("/", maxsplit=1)[0]):
        load(copy)


def test_a_truncated_file_is_named(copy: Path) -> None:
    data = (copy / UNET).read_bytes()
    (copy / UNET).write_bytes(data[: len(data) // 2])
    with pytest.raises(InvalidModel, match="unet cannot be loaded"):
        load(copy)


def test_missing_weights_are_not_made_up(copy: Path) -> None:
    weights = load_file(copy / UNET)
    del weights["mid_block.attentions.0.proj_in.weight"]
    save_file(weights, copy / UNET, metadata={"format": "pt"})
    with pytest.raises(InvalidModel, match=r"lacks 1 weights, such as mid_block"):
        load(copy)


def test_attention_named_as_stable_diffusion_1_named_it_is_read(copy: Path) -> None:
    file = copy / "vae" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    for old, new in (
        ("query", "to_q"),
        ("key", "to_k"),
        ("value", "to_v"),
        ("proj_attn", "to_out.0"),
    ):
        weights = {name.replace(f".{new}.", f".{old}."): each for name, each in weights.items()}
    assert any(".query." in name for name in weights)
    save_file(weights, file, metadata={"format": "pt"})
    load(copy)


def test_a_model_for_other_inputs_is_refused(copy: Path) -> None:
    edit_json(copy / "vae" / "config.json", latent_channels=8)
    with pytest.raises(InvalidModel):
        load(copy)


def test_a_folder_with_only_half_precision_files_loads(copy: Path) -> None:
    keep_halves(copy)
    family = load_family(copy, torch.device("cpu"), torch.float32)
    assert family.unet.dtype is torch.float32


def test_the_digest_covers_names_and_contents(copy: Path) -> None:
    before = ModelFiles(str(copy)).sha256()
    assert ModelFiles(str(copy)).sha256() == before
    (copy / UNET).rename(copy / "unet" / "renamed.safetensors")
    assert ModelFiles(str(copy)).sha256() != before


def test_of_two_precisions_in_a_folder_the_whole_one_counts(copy: Path) -> None:
    before = ModelFiles(str(copy)).sha256()
    halved = {key: value.half() * 0 for key, value in load_file(copy / UNET).items()}
    variant = (copy / UNET).with_name("diffusion_pytorch_model.fp16.safetensors")
    save_file(halved, variant, metadata={"format": "pt"})
    assert ModelFiles(str(copy)).sha256() == before
    family = load_family(copy, torch.device("cpu"), torch.float32)
    assert family.unet.conv_in.weight.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_convolutions_are_put_in_order_before_they_are_carried(
    copy: Path, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a GPU would have to copy again stays behind in the memory of another stream."""
    carried: list[torch.Tensor] = []
    monkeypatch.setattr(
        WeightsToDevice, "carry", lambda _, weights: carried.append(weights) or weights
    )
    family = load_family(copy, torch.device("cpu"), dtype)
    ready = {each.data_ptr() for each in carried if each.dtype == dtype}
    for model in (family.unet, family.vae, *family.components.values()):
        for weights in model.parameters():
            assert weights.data_ptr() in ready
            if weights.dim() == 4:
                assert weights.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (4, 3, 3, 3), (4, 3, 1, 1)])
def test_a_tensor_s_bytes_are_its_memory_s_in_whatever_order(shape: tuple[int, ...]) -> None:
    values = torch.randn((2, *shape))[1]  # not at the beginning of its memory
    if len(shape) == 4:
        values = values.contiguous(memory_format=torch.channels_last)
    twin = torch.empty_like(values)
    in_memory_order(twin).copy_(in_memory_order(values))
    assert twin.stride() == values.stride()
    assert torch.equal(twin, values)
