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
kit: {logo: {light: light.svg, dark: dark.svg, min_px: 8}}
"""
_POP = """\
name: Pop
description: Bold dots.
defaults: {width: 32, height: 32, num_inference_steps: 2}
"""


def logo_file(colour: str, width: int = 30) -> bytes:
    """An SVG file: a bar of one colour, 10 high."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} 10">'
        f'<rect width="{width}" height="10" fill="{colour}"/></svg>'
    ).encode()


def write_brands(folder: Path) -> Path:
    """`aurora` with a cover, a logo and a format of its own, `pop` without; returns `folder`."""
    for brand, text in (("aurora", _AURORA), ("pop", _POP)):
        (folder / brand).mkdir(parents=True)
        (folder / brand / "preset.yaml").write_text(text)
    Image.new("RGB", (64, 40), "#0b1d3a").save(folder / "aurora" / "cover.png")
    for name, colour in (("light", "#ffffff"), ("dark", "#000000")):
        (folder / "aurora" / f"{name}.svg").write_bytes(logo_file(colour))
    return folder
