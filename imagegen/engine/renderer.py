"""Renderer: what the engine asks of whatever makes pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from imagegen.generation import ModelInfo, RenderSpec


@dataclass(frozen=True)
class Picture:
    """A finished picture: 8-bit RGB rows, top row first, `height * width * 3` bytes."""

    pixels: bytes
    width: int
    height: int


class Denoising(Protocol):
    """One picture in flight. It owns all that changes: nothing is shared between pictures."""

    @property
    def spec(self) -> RenderSpec: ...
    @property
    def step_index(self) -> int:
        """Denoiser calls done so far; at `step_count` the picture is ready to finish."""

    @property
    def step_count(self) -> int:
        """Denoiser calls it needs (a scheduler may need more than num_inference_steps)."""

    @property
    def warnings(self) -> tuple[str, ...]: ...


# The stretches of a start, in their order: Python's modules, the model's files, weights to the
# device, the brands' LoRAs, the first calls
PHASES = ("import", "fetch", "load", "adapters", "warmup")

D = TypeVar("D", bound=Denoising)
Phase = Callable[[str], None]


class Renderer(Protocol[D]):
    """Used by exactly one thread of one process.

    Methods raise RenderFailed for one picture's own fault, MemoryError when the rows do not fit,
    InvalidModel or InvalidAdapter from `load`; anything else poisons the renderer and ends its
    process. After RenderFailed or MemoryError the engine calls again with fewer of the same
    pictures, so both leave every picture as it was, and whoever raises MemoryError has given
    cached memory back first.
    """

    def load(self, phase: Phase) -> ModelInfo:
        """Gets ready; calls `phase` with each word of PHASES as that stretch begins."""
        ...

    def begin(self, spec: RenderSpec) -> D:
        """Encodes the prompt and draws the first latents."""
        ...

    def step(self, pictures: Sequence[D]) -> None:
        """One denoiser call that moves each of `pictures` one step on.

        They may differ in everything but latent shape.
        """
        ...

    def finish(self, pictures: Sequence[D]) -> list[Picture]:
        """Decodes pictures whose steps are done, in the same order."""
        ...

    def preview(self, picture: D) -> Picture:
        """A small, cheap look at a picture in flight."""
        ...
