"""A render imports no more than it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.torch

RENDER = """
import hashlib, sys
from pathlib import Path
if sys.argv[1] == "older":
    import torch
    torch.__version__ = "2.11.0+cu130"
if sys.argv[1] == "full":
    import diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion
from imagegen.diffusion.renderer import DiffusersRenderer
from imagegen.generation import GenerationRequest
from imagegen.presets import PresetCatalog
from imagegen.renderers import STARTER_FOLDER
catalog = PresetCatalog.load(Path("brand_presets"))
brands = [preset.adapters for preset in catalog]
renderer = DiffusersRenderer(str(STARTER_FOLDER), brands, "cpu", "float32")
model = renderer.load(lambda phase: None)
request = GenerationRequest(brand="aurora", prompt="a mug", seed=1, num_inference_steps=2)
[spec] = catalog.get("aurora").resolve(request, model)
picture = renderer.begin(spec)
while picture.step_index < picture.step_count:
    renderer.step([picture])
[finished] = renderer.finish([picture])
print(hashlib.sha256(finished.pixels).hexdigest())
unused = {"transformers", "peft", "accelerate", "torch._dynamo", "sympy", "PIL"}
print(sorted(unused & sys.modules.keys()))
import torch
assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)).item() == 2  # the real one
"""


def test_a_render_needs_no_more_and_its_picture_is_the_same() -> None:
    lean, full, older = (
        subprocess.run(
            [sys.executable, "-c", RENDER, way], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        for way in ("lean", "full", "older")
    )
    assert lean[1] == "['PIL']", "diffusers' own image processors"
    assert lean[0] == full[0] == older[0]
    assert "'transformers'" in full[1]
    assert older[1] == "['PIL', 'sympy', 'torch._dynamo']", "its compiler is not hidden"
