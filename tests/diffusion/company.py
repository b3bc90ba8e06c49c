"""Batches of brands beside each other, for tests that compare two ways to draw them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tiny_models import make_spec

from imagegen.generation import AdapterUse, RenderSpec, Scheduler


def small(*adapters: AdapterUse, **changes: object) -> RenderSpec:
    """An unguided picture, so a row of its own."""
    fields = {"width": 32, "height": 32, "guidance_scale": 1.0, "num_inference_steps": 2}
    return make_spec(adapters=adapters, **(fields | changes))


def batches(brands: Sequence[AdapterUse], **changes: object) -> Iterator[list[RenderSpec]]:
    """One to three rows, up and down; none and every brand beside each other."""
    seeds = itertools.count()
    for one, other in itertools.product([None, *brands], repeat=2):
        strong = (one,) if one else ()
        weak = (replace(other, weight=0.3),) if other else ()
        for company in ((strong,), (strong, weak, strong), (strong, weak)):
            yield [
                small(*adapters, seed=next(seeds), scheduler=scheduler, **changes)
                for adapters, scheduler in zip(company, Scheduler, strict=False)
            ]
