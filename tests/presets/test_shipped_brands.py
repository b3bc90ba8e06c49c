"""The three brands that ship: their covers show what they draw today."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagegen.diffusion.loading import ModelFiles
from imagegen.presets import PresetCatalog
from imagegen.provenance import read_record
from imagegen.renderers import STARTER_FOLDER

BRANDS = Path(__file__).resolve().parents[2] / "brand_presets"


@pytest.mark.parametrize("brand", ["aurora", "botanic", "pop"])
def test_a_cover_was_drawn_by_the_model_and_the_preset_that_ship(brand: str) -> None:
    preset = PresetCatalog.load(BRANDS).get(brand)
    assert preset.cover is not None
    record = read_record(preset.cover.read_bytes())
    assert record is not None
    assert record["model"]["sha256"] == ModelFiles(str(STARTER_FOLDER)).sha256()
    assert record["preset_version"] == preset.version
    assert [one["sha256"] for one in record["adapters"]] == [u.sha256 for u in preset.adapters]
