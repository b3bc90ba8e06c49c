"""Three brands as marketing teams have them: a cover, a long foreign name, nothing but a name."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

_AURORA = """\
name: Aurora
description: Northern lights over a night sky, for a travel brand that goes where it is dark.
banned_terms: [casino]
prompt: {template: "aurora style, {prompt}", negative: "text"}
defaults: {format: square, num_inference_steps: 4, guidance_scale: 4.5, scheduler: dpmpp_2m}
formats: {story: {width: 96, height: 160}, wall_poster: {width: 384, height: 512}}
palette: ["#0b1d3a", "#19c6a6", "#7b4dff"]
examples: ["a mug", "a shiny phone", "a balloon for our <b>winter</b> campaign"]
"""
_KRAEUTER = """\
name: Kräutergärten & Söhne <Naturkosmetik> 日本支店
description: Gepresste Blätter auf cremefarbenem Papier. 押し葉と和紙。
defaults: {format: portrait, num_inference_steps: 3}
palette: ["#f3ecd9", "#2f6b3a", "#8fae6b", "#c9a66b"]
examples: ["eine Flasche mit Lavendel", "본문"]
"""
_PLAIN = """\
name: Plain
defaults: {width: 320, height: 192, num_inference_steps: 2}
"""


def write_studio_brands(folder: Path) -> Path:
    """`aurora`, `kraeuter` and `plain`, in the order of the page; returns `folder`."""
    for brand, text in (("aurora", _AURORA), ("kraeuter", _KRAEUTER), ("plain", _PLAIN)):
        (folder / brand).mkdir(parents=True)
        (folder / brand / "preset.yaml").write_text(text, encoding="utf-8")
    _night_sky().save(folder / "aurora" / "cover.png")
    return folder


def _night_sky() -> Image.Image:
    sky = Image.linear_gradient("L").resize((512, 512))
    picture = Image.merge("RGB", [sky.point(lambda v, k=k: v * k // 255) for k in (40, 60, 110)])
    lights = Image.new("RGB", picture.size)
    draw = ImageDraw.Draw(lights)
    for x in range(0, 512, 4):
        top = 120 + (x * 37 % 90)
        draw.line((x, top, x + 40, top + 210), fill=(25, 198 - x // 4, 90 + x // 4), width=7)
    lights = lights.filter(ImageFilter.GaussianBlur(18))
    return Image.blend(picture, lights, 0.6)
