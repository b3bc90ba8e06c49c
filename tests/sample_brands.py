"""Two small brands without LoRAs, for tests that need a catalogue and no model."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

_AURORA = """\
name: Aurora
description: Northern lights.
prompt: {template: "aurora style, {prompt}", negative: "text"}
banned_terms: [casino]
defaults: {format: tiny, num_inference_steps: 3, guidance_scale: 5.0}
formats: {tiny: {width: 64, height: 40}}
palette: ["#0b1d3a", "#19c6a6"]
"""
_POP = """\
name: Pop
description: Bold dots.
defaults: {width: 32, height: 32, num_inference_steps: 2}
"""


def write_brands(folder: Path) -> Path:
    """`aurora` with a cover and a format of its own, `pop` without; returns `folder`."""
    for brand, text in (("aurora", _AURORA), ("pop", _POP)):
        (folder / brand).mkdir(parents=True)
        (folder / brand / "preset.yaml").write_text(text)
    Image.new("RGB", (64, 40), "#0b1d3a").save(folder / "aurora" / "cover.png")
    return folder
