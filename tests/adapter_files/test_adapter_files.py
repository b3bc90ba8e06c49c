import json
from pathlib import Path

import numpy as np
import pytest
from adapter_samples import (
    TEXT_ENCODER,
    TO_Q,
    UNET,
    kohya_tensors,
    pair,
    peft_tensors,
    write_model,
)
from safetensors.numpy import save_file

from imagegen.adapter_files.targets import declared_alphas, parse_targets, read_header, read_modules
from imagegen.errors import InvalidAdapter, InvalidModel

BARE_TEXT_ENCODER = frozenset(name.removeprefix("text_model.") for name in TEXT_ENCODER)
MODULES = {"unet": frozenset(UNET), "text_encoder": frozenset(TEXT_ENCODER)}


def targets_of(tmp_path: Path, tensors: dict, modules=MODULES):
    save_file(tensors, tmp_path / "a.safetensors")
    return parse_targets(read_header(tmp_path / "a.safetensors"), modules)


@pytest.mark.parametrize("tensors", [peft_tensors(), kohya_tensors()], ids=["peft", "kohya"])
@pytest.mark.parametrize("text_encoder", [frozenset(TEXT_ENCODER), BARE_TEXT_ENCODER])
def test_both_spellings_land_on_every_layer(tmp_path, tensors, text_encoder):
    modules = {"unet": frozenset(UNET), "text_encoder": text_encoder}
    targets = targets_of(tmp_path, tensors, modules)
    assert {(t.component, t.module) for t in targets} == {
        (component, module) for component, names in modules.items() for module in names
    }
    assert all(target.rank == 2 and {target.down, target.up} <= set(tensors) for target in targets)
    assert all((target.alpha is not None) == ("lora_te_" in str(tensors)) for target in targets)


OLD = "down_blocks.0.attentions.0.transformer_blocks.0.attn1"
TEXT = "text_model.encoder.layers.0.self_attn"
BARE_TEXT = "encoder.layers.0.self_attn"
KOHYA_TEXT = "lora_te1_text_model_encoder_layers_0_self_attn_q_proj"


@pytest.mark.parametrize(
    ("module", "stem", "endings"),
    [
        (TO_Q, f"unet.{TO_Q}", ".lora.{}.weight"),
        (TO_Q, f"unet.{OLD}.processor.to_q", "_lora.{}.weight"),
        (f"{OLD}.to_out.0", f"unet.{OLD}.processor.to_out", "_lora.{}.weight"),
        (f"{TEXT}.q_proj", f"text_encoder.{TEXT}.to_q", "_lora.{}.weight"),
        (f"{TEXT}.q_proj", f"text_encoder.{BARE_TEXT}.q_proj", ".lora_linear_layer.{}.weight"),
        (f"{TEXT}.q_proj", KOHYA_TEXT, ".lora_{}.weight"),
    ],
)
def test_older_spellings_land(tmp_path, module, stem, endings):
    down, up = stem + endings.format("down"), stem + endings.format("up")
    [target] = targets_of(tmp_path, pair(module, down, up))
    assert (target.module, target.down, target.up) == (module, down, up)


@pytest.mark.parametrize(
    ("stem", "endings"),
    [
        ("text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj", ".lora_{}.weight"),
        ("text_encoder_2.encoder.layers.0.self_attn.to_q", "_lora.{}.weight"),
        ("lora_te2_text_model_encoder_layers_0_self_attn_q_proj", ".lora_{}.weight"),
    ],
)
def test_sdxls_second_text_encoder_has_its_own_layers(tmp_path, stem, endings):
    down, up = stem + endings.format("down"), stem + endings.format("up")
    modules = MODULES | {"text_encoder_2": frozenset(TEXT_ENCODER)}
    tensors = pair(f"{TEXT}.q_proj", down, up)
    [target] = targets_of(tmp_path, tensors, modules)
    assert (target.component, target.module) == ("text_encoder_2", f"{TEXT}.q_proj")
    with pytest.raises(InvalidAdapter, match="land nowhere in this model"):
        targets_of(tmp_path, tensors)


LAYER = f"unet.{TO_Q}"
DOWN, UP = f"{LAYER}.lora_A.weight", f"{LAYER}.lora_B.weight"
GOOD = pair(TO_Q, DOWN, UP)
TWIN = pair(TO_Q, f"{LAYER}.lora.down.weight", f"{LAYER}.lora.up.weight")


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"unet.gone.lora_A.weight": ones(2, 8)}, "1 of 1 tensors .* unet.gone.lora_A.weight"),
        ({"lora_te2_x.alpha": ones(1)}, "lora_te2_x.alpha"),
        ({DOWN: ones(2, 8)}, f"{DOWN} has no up partner"),
        ({f"{LAYER}.alpha": ones(1)}, "has no down and no up partner"),
        (GOOD | {f"{LAYER}.lora_magnitude_vector": ones(8)}, "lora_magnitude_vector"),
        (GOOD | TWIN, "land on the same layer"),
        ({DOWN: ones(2, 8), UP: ones(8, 3)}, "do not share a rank"),
        ({DOWN: ones(0, 8), UP: ones(8, 0)}, "do not share a rank"),
        (GOOD | {f"{LAYER}.alpha": ones(2)}, "alpha is not a single number"),
        ({}, "no tensors"),
    ],
)
def test_what_does_not_land_is_named(tmp_path, tensors, message):
    with pytest.raises(InvalidAdapter, match=message):
        targets_of(tmp_path, tensors)


def test_of_many_lost_tensors_the_first_are_named(tmp_path):
    lost = {f"unet.gone.{i}.lora_A.weight": np.ones((2, 2), np.float32) for i in range(30)}
    with pytest.raises(InvalidAdapter, match=r"30 of 30 tensors .* and 25 more"):
        targets_of(tmp_path, lost)


def save_with(path: Path, said: object) -> list:
    text = said if isinstance(said, str) else json.dumps(said)
    save_file(peft_tensors(rank=4), path, {"lora_adapter_metadata": text})
    return parse_targets(read_header(path), MODULES)


def test_alphas_in_the_metadata_are_read(tmp_path):
    path = tmp_path / "a.safetensors"
    said = {"unet.lora_alpha": 8, "unet.alpha_pattern": {"attn1.to_q": 2}, "unet.use_dora": False}
    alphas = declared_alphas(path, save_with(path, said))
    by_module = {target.module: alpha for target, alpha in alphas.items()}
    assert by_module == {module: 2.0 if module == TO_Q else 8.0 for module in UNET}


@pytest.mark.parametrize(
    "said",
    [
        {"unet.use_dora": True},
        {"unet.use_rslora": True},
        {"unet.lora_alpha": "8"},
        {"unet.lora_alpha": 10**400},
        {"unet.alpha_pattern": [1]},
        [1],
        "{",
        "[" * 100_000,
        "Infinity",
    ],
)
def test_metadata_that_means_another_kind_of_adapter_is_refused(tmp_path, said):
    path = tmp_path / "a.safetensors"
    with pytest.raises(InvalidAdapter, match="lora_adapter_metadata"):
        declared_alphas(path, save_with(path, said))


def test_no_metadata_declares_no_alpha(tmp_path):
    targets = targets_of(tmp_path, peft_tensors())
    assert declared_alphas(tmp_path / "a.safetensors", targets) == {}


def test_a_models_layers_are_read_from_its_headers(tmp_path):
    modules = read_modules(write_model(tmp_path / "model"))
    assert modules == {"unet": UNET, "text_encoder": TEXT_ENCODER}


def test_an_sdxl_models_second_text_encoder_is_read(tmp_path):
    modules = read_modules(write_model(tmp_path / "model", second=True))
    assert modules["text_encoder_2"] == modules["text_encoder"] == TEXT_ENCODER
    (tmp_path / "model" / "text_encoder_2" / "model.safetensors").unlink()
    with pytest.raises(InvalidModel, match=r"text_encoder_2: no \*\.safetensors"):
        read_modules(tmp_path / "model")


def test_a_folder_without_weights_is_no_model(tmp_path):
    (tmp_path / "unet").mkdir()
    with pytest.raises(InvalidModel, match=r"unet: no \*\.safetensors"):
        read_modules(tmp_path)
    (tmp_path / "unet" / "model.safetensors").write_bytes(b"PK\x03\x04 a pickle")
    with pytest.raises(InvalidModel, match="pickle"):
        read_modules(tmp_path)
