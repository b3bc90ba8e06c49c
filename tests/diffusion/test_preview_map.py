"""The linear look at latents: a family's own factors, or those beside the model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from imagegen.diffusion.families import load_family
from imagegen.diffusion.families.preview_map import read_preview_map
from imagegen.diffusion.families.sd import StableDiffusion
from imagegen.diffusion.families.sdxl import StableDiffusionXL
from imagegen.errors import InvalidModel

pytestmark = pytest.mark.torch

FACTORS = StableDiffusion.preview_factors


@pytest.mark.parametrize("factors", [FACTORS, StableDiffusionXL.preview_factors])
def test_a_family_has_factors_for_four_channels_and_every_pixel(tmp_path: Path, factors) -> None:
    assert [len(row) for row in factors] == [3] * 5
    assert read_preview_map(tmp_path, factors, 4) == factors
    with pytest.raises(InvalidModel, match=r"16 channels: .*preview.json must hold 17 rows"):
        read_preview_map(tmp_path, factors, 16)


def test_a_models_own_factors_come_first(tmp_path: Path, model_folder: Callable[..., Path]) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folder(), folder)
    family = load_family(folder, torch.device("cpu"), torch.float32)
    assert torch.equal(family.preview_map, torch.tensor(FACTORS))
    own = [[0.1 * row, 0, -1] for row in range(5)]
    (folder / "preview.json").write_text(json.dumps(own))
    family = load_family(folder, torch.device("cpu"), torch.float16)
    assert torch.equal(family.preview_map, torch.tensor(own, dtype=torch.float16))


@pytest.mark.parametrize(
    "content",
    ["", "{", "null", "[[1, 2, 3]]", "[[1, 2]]", "[1, 2, 3, 4, 5]", '[["red", 0, 0]]',
     json.dumps([[1, 2, 3]] * 4 + [[1, 2, None]]), json.dumps([[1, 2, 3]] * 4 + [[0, 0, 1e999]]),
     "[" * 100_000],
    ids=lambda content: content[:20],
)  # fmt: skip
def test_what_is_no_map_is_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "preview.json").write_text(content)
    with pytest.raises(InvalidModel, match=r"preview\.json"):
        read_preview_map(tmp_path, FACTORS, 4)
