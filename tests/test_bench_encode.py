"""The benchmark of encoding compares only files with the same pixels and the same texts."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bench.alike import OtherPictures
from bench.encode import PICTURES, TEXTS, measure, same_pixels
from bench.pairs import run_benchmark

PIXELS = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)


def png(pixels: np.ndarray, texts: dict[str, str]) -> bytes:
    file, info = io.BytesIO(), PngInfo()
    for keyword, text in texts.items():
        info.add_text(keyword, text)
    Image.fromarray(pixels).save(file, format="PNG", pnginfo=info)
    return file.getvalue()


def test_a_changed_pixel_or_a_lost_text_is_no_comparison() -> None:
    good = png(PIXELS, TEXTS)
    assert same_pixels(good, good, PIXELS).startswith("every pixel the same")
    for bad in (png(PIXELS ^ np.uint8(1), TEXTS), png(PIXELS, {})):
        for pair in ((good, bad), (bad, good)):
            with pytest.raises(OtherPictures):
                same_pixels(*pair, PIXELS)


def test_every_test_picture_is_a_different_one() -> None:
    made = {make(64).tobytes() for make in PICTURES}
    assert len(made) == len(PICTURES) == 11
    assert {make(64).shape for make in PICTURES} == {(64, 64, 3)}


def test_it_runs_and_writes_its_results(tmp_path: Path) -> None:
    assert run_benchmark("encode", "", measure, ["--smoke", "--results", str(tmp_path)]) == 0
    facts = json.loads((tmp_path / "encode.json").read_text())
    assert len(facts["comparisons"]) == len(PICTURES)
    assert all(each["ratio"]["median"] > 0 for each in facts["comparisons"])
