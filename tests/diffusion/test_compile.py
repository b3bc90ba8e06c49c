"""torch.compile of the UNet with the bank's hooks on: the same pictures, compiled once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import draw, make_spec

from imagegen.diffusion.renderer import DiffusersRenderer
from imagegen.generation import AdapterUse, RenderSpec

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]


def test_changing_brands_compiles_nothing_again(
    model_folder: Callable[..., Path], loras: dict[str, AdapterUse]
) -> None:
    aurora, botanical, pop = loras.values()
    brands = [(aurora,), (botanical,), (pop,), (aurora, pop)]
    renderer = DiffusersRenderer(str(model_folder()), brands, "cpu", "float32", adapter_slots=2)
    renderer.load(lambda _: None)
    weak = replace(aurora, weight=0.2)
    companies = [
        [brands[0], brands[1]],
        [brands[2], ()],
        [brands[3], brands[3]],
        [(weak,), brands[1]],
        [(), ()],
    ]
    specs = [[_spec(adapters) for adapters in company] for company in companies]
    eager = [draw(renderer, *pair) for pair in specs]
    compiled = _compile(renderer)
    for pair, wanted in zip(specs, eager, strict=True):
        for ours, theirs in zip(draw(renderer, *pair), wanted, strict=True):
            a, b = (np.frombuffer(pixels, np.uint8).astype(int) for pixels in (ours, theirs))
            assert np.abs(a - b).max() <= 1
    assert len(compiled) == 1


def _spec(adapters: tuple[AdapterUse, ...]) -> RenderSpec:
    return make_spec(adapters=adapters, num_inference_steps=1, width=32, height=32)


def _compile(renderer: DiffusersRenderer) -> list[torch.fx.GraphModule]:
    """Compiles the renderer's UNet; the list grows by each graph that is compiled."""
    from torch._dynamo.backends.debugging import aot_eager

    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., object]:
        graphs.append(graph)
        return aot_eager(graph, inputs)

    torch._dynamo.reset()
    renderer._family.unet.compile(fullgraph=True, backend=backend)
    return graphs
