"""Our text encoder and tokenizer against transformers' own, which the pipelines use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny_models import edit_json
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from imagegen.clip_tokens import load_tokenizer
from imagegen.diffusion.families.clip import ClipConfig
from imagegen.diffusion.families.words import TextReader
from imagegen.diffusion.weights import load_text_encoder
from imagegen.errors import InvalidModel
from imagegen.renderers import STARTER_FOLDER

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")
END = 99


def make_encoder(folder: Path, *, projects: bool, **options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=100, hidden_size=24, intermediate_size=48, num_hidden_layers=3,
        num_attention_heads=4, max_position_embeddings=12, projection_dim=16, bos_token_id=98,
        **{"eos_token_id": END, **options},
    )  # fmt: skip
    encoder = (CLIPTextModelWithProjection if projects else CLIPTextModel)(config).eval()
    encoder.save_pretrained(folder)
    return encoder


@pytest.mark.parametrize("projects", [False, True])
@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
@pytest.mark.parametrize("end", [END, 2], ids=["end", "old end"])
@pytest.mark.parametrize("masked", [False, True])
@torch.no_grad()
def test_every_reading_is_transformers_own(
    tmp_path: Path, projects: bool, activation: str, end: int, masked: bool
) -> None:
    theirs = make_encoder(tmp_path, projects=projects, hidden_act=activation, eos_token_id=end)
    ours = load_text_encoder(tmp_path, CPU, torch.float32, projects=projects)
    ids = torch.tensor([[98, 5, 17, 3, END, *[END] * 7]])
    mask = torch.tensor([[1] * 5 + [0] * 7])
    expected = theirs(ids, attention_mask=mask if masked else None, output_hidden_states=True)
    reading = ours(ids, mask.bool() if masked else None)
    torch.testing.assert_close(reading.last, expected.last_hidden_state)
    torch.testing.assert_close(reading.penultimate, expected.hidden_states[-2])
    pooled = expected.text_embeds if projects else expected.pooler_output
    torch.testing.assert_close(reading.pooled, pooled)


@pytest.mark.parametrize("prefix", ["text_model.", ""])
def test_files_of_either_age_are_read(tmp_path: Path, prefix: str) -> None:
    make_encoder(tmp_path, projects=False)
    tensors = load_file(tmp_path / "model.safetensors")
    named = {prefix + name.removeprefix("text_model."): each for name, each in tensors.items()}
    named[f"{prefix}embeddings.position_ids"] = torch.arange(12)[None]  # older files have it
    save_file(named, tmp_path / "model.safetensors")
    encoder = load_text_encoder(tmp_path, CPU, torch.float16, projects=False)
    assert encoder.final_layer_norm.weight.dtype is torch.float16


def test_what_config_json_leaves_out_is_transformers_default() -> None:
    theirs, ours = CLIPTextConfig(), ClipConfig()
    for name, value in vars(ours).items():
        if name != "use_attention_mask":
            assert value == getattr(theirs, name), name


def test_another_activation_is_refused(tmp_path: Path) -> None:
    make_encoder(tmp_path, projects=False)
    edit_json(tmp_path / "config.json", hidden_act="relu")
    with pytest.raises(InvalidModel, match="'relu' is no CLIP"):
        load_text_encoder(tmp_path, CPU, torch.float32, projects=False)


TEXTS = st.text(max_size=120) | st.sampled_from(
    ["", " ", "a red mug", "It's 42% OFF!!", "naïve café\n東京", "<|endoftext|> x", "a" * 400]
)


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter's tokenizer as models of Stable Diffusion 1.x have it: without tokenizer.json."""
    folder = tmp_path_factory.mktemp("tokenizer")
    for name in ("vocab.json", "merges.txt"):
        (folder / name).write_bytes((STARTER_FOLDER / "tokenizer" / name).read_bytes())
    return folder


@given(text=TEXTS)
@settings(max_examples=300, deadline=None)
def test_texts_become_the_same_tokens(older: Path, text: str) -> None:
    theirs = CLIPTokenizer.from_pretrained(STARTER_FOLDER / "tokenizer")
    expected = theirs(text).input_ids
    assert load_tokenizer(STARTER_FOLDER / "tokenizer").encode(text).ids == expected
    assert load_tokenizer(older).encode(text).ids == expected


@given(text=TEXTS)
@settings(max_examples=60, deadline=None)
def test_long_texts_are_cut_as_the_pipelines_cut_them(
    model_folder: Callable[..., Path], text: str
) -> None:
    folder = model_folder()
    encoder = load_text_encoder(folder / "text_encoder", CPU, torch.float32, projects=False)
    reader = TextReader(folder / "tokenizer", encoder)
    theirs = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    assert reader.ids(text) == theirs(text, truncation=True, max_length=77).input_ids


def test_padding_is_the_models_own(model_folder: Callable[..., Path]) -> None:
    folder = model_folder(shape="sdxl")
    for ending, projects in (("", False), ("_2", True)):
        encoder = load_text_encoder(
            folder / f"text_encoder{ending}", CPU, torch.float32, projects=projects
        )
        seen: list[torch.Tensor] = []
        encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))  # noqa: B023
        TextReader(folder / f"tokenizer{ending}", encoder).read("a mug")
        theirs = CLIPTokenizer.from_pretrained(folder / f"tokenizer{ending}")
        expected = theirs("a mug", padding="max_length", max_length=77, return_tensors="pt")
        assert torch.equal(seen[0], expected.input_ids)


@pytest.mark.parametrize("broken", ["{}", "no json", '{"version": "1.0"}'])
def test_a_broken_tokenizer_is_named(tmp_path: Path, broken: str) -> None:
    (tmp_path / "tokenizer.json").write_text(broken)
    with pytest.raises(InvalidModel, match="holds no CLIP tokenizer"):
        load_tokenizer(tmp_path)
