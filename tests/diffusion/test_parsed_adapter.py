"""Which LoRA files are refused, each by its name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from test_adapter_bank import Net, Tensors, saved, tensors_of

from imagegen.diffusion.adapters import AdapterBank
from imagegen.errors import InvalidAdapter

pytestmark = pytest.mark.torch


def bad_files() -> dict[str, tuple[Tensors, str]]:
    good = tensors_of(1, 2, "linear")
    down, up = "unet.linear.lora_A.weight", "unet.linear.lora_B.weight"
    return {
        "elsewhere": (
            good | {"unet.nowhere.lora_A.weight": torch.ones(2, 5)},
            r"unet\.nowhere\.lora_A\.weight",
        ),
        "half": ({down: good[down]}, "partner"),
        "zero": (good | {up: torch.zeros(6, 2)}, "changes nothing"),
        "nan": (good | {down: torch.full((2, 5), float("nan"))}, "not finite"),
        "shape": (good | {down: torch.ones(2, 4)}, "another architecture"),
        "norm": (
            {"unet.norm.lora_A.weight": torch.ones(2, 5),
             "unet.norm.lora_B.weight": torch.ones(5, 2)},
            "LayerNorm",
        ),
    }  # fmt: skip


@pytest.mark.parametrize("fault", list(bad_files()))
def test_a_lora_that_would_not_work_is_refused_by_name(tmp_path: Path, fault: str) -> None:
    tensors, words = bad_files()[fault]
    adapter = saved(tmp_path / "sick.safetensors", tensors)
    with pytest.raises(InvalidAdapter, match=words) as caught:
        AdapterBank({"unet": Net()}, [(adapter,)], 1)
    assert "sick.safetensors" in str(caught.value)


def test_a_file_that_changed_since_the_presets_were_read_is_refused(tmp_path: Path) -> None:
    adapter = saved(tmp_path / "x.safetensors", tensors_of(1, 2))
    saved(tmp_path / "x.safetensors", tensors_of(2, 2))
    with pytest.raises(InvalidAdapter, match=r"x\.safetensors has changed"):
        AdapterBank({"unet": Net()}, [(adapter,)], 1)
