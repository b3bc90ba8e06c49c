"""A thousand brand changes, some of them struck by an exception, leave no trace."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import draw, make_spec
from torch.utils._python_dispatch import TorchDispatchMode

from imagegen.diffusion.prompts import PromptReader
from imagegen.diffusion.renderer import DiffusersRenderer
from imagegen.errors import RenderFailed
from imagegen.generation import AdapterUse, RenderSpec, Scheduler

pytestmark = pytest.mark.torch

CHANGES = 1_000
SLOTS = 2
# where an exception strikes: at the n-th call of that kind while a picture is made
FAULTS = {
    "slot write": (torch.ops.aten.copy_.default, 12),
    "LoRA": (torch.ops.aten.baddbmm_.default, 8),
    "convolution": (torch.ops.aten.conv2d.default, 60),
    "anywhere": (torch.ops.aten.view.default, 90),
}


class StrikesAt(TorchDispatchMode):
    """Raises in the middle of torch's work: at the n-th call of an operator."""

    def __init__(self, operator: object, at: int, error: Exception) -> None:
        super().__init__()
        self._operator, self._left, self._error = operator, at, error

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is self._operator:
            self._left -= 1
            if self._left == 0:
                raise self._error
        return func(*args, **(kwargs or {}))


@pytest.fixture
def brands(loras: dict[str, AdapterUse]) -> list[tuple[AdapterUse, ...]]:
    aurora, botanical, pop = loras.values()
    return [(aurora,), (botanical,), (pop,), (aurora, botanical, pop), (botanical, pop)]


def base_weights(renderer: DiffusersRenderer) -> str:
    digest = hashlib.sha256()
    for part in (*renderer._family.components.values(), renderer._family.vae):
        for name, tensor in part.state_dict().items():
            digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def specs_of(brands: list[tuple[AdapterUse, ...]]) -> list[RenderSpec]:
    """Every brand and none at two strengths, 1 or 2 steps, guided and not."""
    specs = []
    for number, (brand, scale) in enumerate((b, s) for b in [(), *brands] for s in (0.3, 1.0)):
        adapters = tuple(replace(use, weight=use.weight * scale) for use in brand)
        specs.append(
            make_spec(
                adapters=adapters, exact=True, seed=number, prompt=f"a red mug {number}",
                num_inference_steps=1 + number % 2, guidance_scale=(1.0, 5.0)[number % 3 == 0],
                scheduler=(Scheduler.EULER, Scheduler.DPMPP_2M)[number % 2],
                width=32, height=32,
            )
        )  # fmt: skip
    return specs


def faults(chance: random.Random) -> Iterator[tuple[str, StrikesAt] | None]:
    """For ever: nothing, or one time in twenty an exception that waits somewhere."""
    while True:
        if chance.random() >= 0.05:
            yield None
            continue
        kind = chance.choice(list(FAULTS))
        operator, most = FAULTS[kind]
        error = chance.choice([RuntimeError("injected"), torch.OutOfMemoryError("injected")])
        yield kind, StrikesAt(operator, chance.randint(1, most), error)


def test_a_thousand_brand_changes_leave_no_trace(
    model_folder: Callable[..., Path], brands: list[tuple[AdapterUse, ...]]
) -> None:
    def fresh() -> DiffusersRenderer:
        renderer = DiffusersRenderer(
            str(model_folder()), brands, "cpu", "float32", adapter_slots=SLOTS
        )
        renderer.load(lambda _: None)
        return renderer

    specs = specs_of(brands)
    goldens = [draw(fresh(), spec)[0] for spec in specs]
    assert len(set(goldens)) == len(specs), "pictures that are all the same prove nothing"
    renderer = fresh()
    weights = base_weights(renderer)
    # room for a few texts, so that most are read again under the brand of the moment
    renderer._prompts = PromptReader(renderer._family, renderer._bank, max_bytes=50_000)
    chance = random.Random(0)
    struck: Counter[str] = Counter()
    for _, fault in zip(range(CHANGES), faults(chance), strict=False):
        number = chance.randrange(len(specs))
        if fault is None:
            assert draw(renderer, specs[number])[0] == goldens[number]
            continue
        kind, strikes = fault
        try:
            with strikes:
                drawn = draw(renderer, specs[number])[0]
        except (RuntimeError, MemoryError, RenderFailed):
            struck[kind] += 1
        else:
            assert drawn == goldens[number]
    assert min(struck[kind] for kind in FAULTS) >= 3, struck
    assert base_weights(renderer) == weights
