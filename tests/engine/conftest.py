"""Specs to render, and engines that are stopped when their test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from imagegen.engine.fake import FakeRenderer
from imagegen.engine.process import RenderProcess
from imagegen.generation import RenderSpec, Scheduler

PLAIN = RenderSpec(
    brand="aurora",
    prompt="a red mug",
    negative_prompt="",
    width=24,
    height=16,
    num_inference_steps=3,
    guidance_scale=5.0,
    scheduler=Scheduler.DDIM,
    seed=7,
    adapters=(),
    exact=False,
)


@pytest.fixture(scope="session")
def make_spec() -> Callable[..., RenderSpec]:
    def make(prompt: str = "a red mug", **fields: Any) -> RenderSpec:
        return replace(PLAIN, prompt=prompt, **fields)

    return make


@pytest.fixture
def start_engine() -> Iterator[Callable[..., RenderProcess]]:
    engines = []

    def start(make_renderer: Callable[[], Any] = FakeRenderer, **options: Any) -> RenderProcess:
        engine = RenderProcess(make_renderer, **{"max_queue": 8, **options})
        engines.append(engine)
        engine.start()
        return engine

    yield start
    for engine in engines:
        engine.stop(0)
