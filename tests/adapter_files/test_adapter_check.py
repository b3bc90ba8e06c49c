import numpy as np
import pytest
from adapter_samples import TO_Q, kohya_tensors, peft_tensors, write_model
from safetensors.numpy import save_file

from imagegen.adapter_files.check import check_adapter
from imagegen.errors import InvalidModel

DOWN, UP = f"unet.{TO_Q}.lora_A.weight", f"unet.{TO_Q}.lora_B.weight"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


def faults_of(tmp_path, model, tensors):
    path = tmp_path / "a.safetensors"
    save_file(tensors, path)
    return check_adapter(path, model)


@pytest.mark.parametrize("tensors", [peft_tensors(), kohya_tensors(), peft_tensors(rank=128)])
def test_an_adapter_made_for_the_model_fits(tmp_path, model, tensors):
    assert faults_of(tmp_path, model, tensors) == []


def test_a_model_saved_by_newer_transformers_takes_the_same_adapter(tmp_path):
    bare = write_model(tmp_path / "bare", text_prefix="")
    assert faults_of(tmp_path, bare, peft_tensors()) == []
    assert faults_of(tmp_path, bare, kohya_tensors()) == []


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


TOKENS = "text_encoder.text_model.embeddings.token_embedding.alpha"
SHAPES = f"{DOWN} [2, 9] and {UP} [8, 2], where {TO_Q} needs [2, 8] and [8, 2]"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({DOWN: ones(2, 9)}, f"made for another architecture: {SHAPES}"),
        ({DOWN: ones(2, 8, 1, 1)}, "made for another architecture"),
        ({DOWN: ones(2, 8) * np.nan}, f"not finite numbers in {DOWN}"),
        ({UP: np.full((8, 2), np.inf, np.float16)}, f"not finite numbers in {UP}"),
        ({"unet.mid.lora_A.weight": ones(2, 8)}, "land nowhere in this model: unet.mid.lora_A"),
        ({TOKENS: ones(1)}, "1 of 15 tensors land nowhere"),
        ({DOWN: np.ones((2, 8), np.int32)}, f"only float tensors make an adapter: {DOWN} is I32"),
    ],
)
def test_a_misfit_is_named(tmp_path, model, change, fault):
    [found] = faults_of(tmp_path, model, peft_tensors() | change)
    assert fault in found


def test_a_rank_too_large_is_named(tmp_path, model):
    [fault] = faults_of(tmp_path, model, peft_tensors(rank=129))
    assert fault.startswith("rank above 128: ")
    assert TO_Q in fault


@pytest.mark.parametrize("ending", ["lora_B.weight", "lora_A.weight"])
def test_an_adapter_that_changes_nothing_is_a_fault(tmp_path, model, ending):
    zeroed = {k: v * 0 if k.endswith(ending) else v for k, v in peft_tensors().items()}
    assert faults_of(tmp_path, model, zeroed) == [
        "it changes nothing: every layer's product is zero"
    ]


def test_one_layer_left_alone_is_no_fault(tmp_path, model):
    assert faults_of(tmp_path, model, peft_tensors() | {UP: np.zeros((8, 2), np.float32)}) == []


def test_several_faults_are_all_told(tmp_path, model):
    change = {
        DOWN: np.full((2, 9), np.nan, np.float32),
        "unet.mid.alpha": np.array(1.0, np.float32),
    }
    assert len(faults_of(tmp_path, model, peft_tensors() | change)) == 3


def test_unreadable_files_are_one_fault_and_no_model_is_an_error(tmp_path, model):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"PK\x03\x04" + b"\0" * 99)
    assert "pickle" in check_adapter(path, model)[0]
    assert check_adapter(tmp_path / "gone.safetensors", model) == ["there is no such file"]
    with pytest.raises(InvalidModel):
        check_adapter(path, tmp_path)


def test_an_unsupported_variant_is_a_fault(tmp_path, model):
    path = tmp_path / "a.safetensors"
    save_file(peft_tensors(), path, {"lora_adapter_metadata": '{"unet.use_dora": true}'})
    [fault] = check_adapter(path, model)
    assert "use_dora is not supported" in fault
