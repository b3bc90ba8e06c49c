"""Draws the covers of the brands that ship: `python -m imagegen.starter.covers`.

To be run after a change of the model or of a preset: a cover's record names both, and a test
compares them. The words and seeds were chosen by eye.
"""

from __future__ import annotations

from pathlib import Path

from imagegen.diffusion.renderer import DiffusersRenderer
from imagegen.encoding import encode
from imagegen.generation import GenerationRequest, OutputFormat, Rendering
from imagegen.presets import PresetCatalog
from imagegen.provenance import Record
from imagegen.starter.evaluate import MODEL

BRANDS = Path(__file__).resolve().parents[2] / "brand_presets"
COVERS = {"aurora": ("a house", 9), "botanic": ("a mug", 10), "pop": ("a star", 4)}


def main() -> None:
    catalog = PresetCatalog.load(BRANDS, MODEL)
    adapters = [preset.adapters for preset in catalog]
    renderer = DiffusersRenderer(str(MODEL), adapters, "cpu", name="starter")
    model = renderer.load(lambda _phase: None)
    for brand, (prompt, seed) in COVERS.items():
        preset = catalog.get(brand)
        assert preset.cover is not None, "the preset names one"
        request = GenerationRequest(brand=brand, prompt=prompt, seed=seed)
        [spec] = preset.resolve(request, model)
        picture = renderer.begin(spec)
        while picture.step_index < picture.step_count:
            renderer.step([picture])
        [drawn] = renderer.finish([picture])
        rendering = Rendering(
            spec, model, drawn.pixels, warnings=(), queue_s=0, render_s=0, gpu_s=0
        )
        record = Record(preset_version=preset.version, campaign=None)
        preset.cover.write_bytes(
            encode(rendering, output_format=OutputFormat.PNG, output_quality=90, record=record)
        )


if __name__ == "__main__":
    main()
