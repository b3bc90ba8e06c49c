"""FakeRenderer: gradients instead of diffusion, and every way a renderer can misbehave."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

from imagegen.edits import Edit
from imagegen.engine.renderer import PHASES, Phase, Picture
from imagegen.errors import InvalidModel, RenderFailed
from imagegen.generation import ModelInfo, RenderSpec, RowLimits, Scheduler

MAX_WORDS = 77
SLOW_STEP_S = 0.25
ONE_PICTURE = RowLimits()
Colour = tuple[int, int, int]
Size = tuple[int, int]


@dataclass
class FakeDenoising:
    """A picture in flight that only counts its steps."""

    spec: RenderSpec
    warnings: tuple[str, ...]
    step_index: int = 0

    @property
    def step_count(self) -> int:
        return self.spec.step_count


class FakeRenderer:
    """Draws a gradient that depends on everything in the spec, over the picture that it edits.

    With `strength` 0.6 the gradient makes 60 % of it, where the mask is white. Words in the prompt
    inject faults:

    `!crash` the process is killed in a step      `!oom` no step of it ever fits in memory
    `!hang`  a step never returns                 `!nan` it fails by itself at the end
    `!boom`  a step raises what it must not       `!slow` each step takes a quarter of a second
    `!misfit` it fails by itself at the beginning

    `fail_load`: "!crash", "!boom", or the sentence of the InvalidModel that `load` shall raise.
    `rows_that_fit`: steps of more denoiser rows raise MemoryError; None for no limit.
    `row_limits`: what it says of itself; one guided picture at a time by default.
    """

    def __init__(
        self,
        *,
        load_s: float = 0.0,
        step_s: float = 0.0,
        fail_load: str = "",
        rows_that_fit: int | None = None,
        row_limits: RowLimits = ONE_PICTURE,
    ) -> None:
        self._load_s = load_s
        self._step_s = step_s
        self._fail_load = fail_load
        self._rows_that_fit = rows_that_fit
        self._row_limits = row_limits

    def load(self, phase: Phase) -> ModelInfo:
        for stretch in PHASES:
            phase(stretch)
            if stretch == "load":
                self._load()
        return ModelInfo(
            name="fake",
            sha256=hashlib.sha256(b"fake").hexdigest(),
            family="fake",
            native_px=256,
            min_px=8,
            max_px=1_024,
            schedulers=tuple(Scheduler),
            device="cpu",
            dtype="float32",
            row_limits=self._row_limits,
        )

    def _load(self) -> None:
        time.sleep(self._load_s)
        _misbehave(self._fail_load)
        if self._fail_load:
            raise InvalidModel(self._fail_load)

    def begin(self, spec: RenderSpec) -> FakeDenoising:
        if "!misfit" in spec.prompt:
            raise RenderFailed("the prompt asked for a failure at the beginning")
        too_many = len(spec.prompt.split()) - MAX_WORDS
        text = f"the last {too_many} words of the prompt are past the text encoder's {MAX_WORDS}"
        return FakeDenoising(spec, warnings=(text,) if too_many > 0 else ())

    def step(self, pictures: Sequence[FakeDenoising]) -> None:
        prompts = " ".join(picture.spec.prompt for picture in pictures)
        rows = sum(picture.spec.rows for picture in pictures)
        if self._rows_that_fit is not None and rows > self._rows_that_fit:
            raise MemoryError(f"{rows} rows do not fit")
        _misbehave(prompts)
        time.sleep(self._step_s + (SLOW_STEP_S if "!slow" in prompts else 0.0))
        for picture in pictures:
            picture.step_index += 1

    def finish(self, pictures: Sequence[FakeDenoising]) -> list[Picture]:
        if any("!nan" in picture.spec.prompt for picture in pictures):
            raise RenderFailed("the picture holds values that are not finite")
        return [draw(picture.spec, picture.spec.width, picture.spec.height) for picture in pictures]

    def preview(self, picture: FakeDenoising) -> Picture:
        return draw(picture.spec, picture.spec.width // 8, picture.spec.height // 8)


def draw(spec: RenderSpec, width: int, height: int) -> Picture:
    """A diagonal gradient, top left to bottom right.

    It leads from a colour of the brand and its adapters to a colour of all the rest. An edited
    picture shines through.
    """
    start = _colour(spec.brand, *((use.sha256, use.weight) for use in spec.adapters))
    end = _colour(
        spec.prompt, spec.negative_prompt, spec.seed, spec.num_inference_steps,
        spec.guidance_scale, spec.scheduler.value,
    )  # fmt: skip
    length = width + height - 1
    ramp = bytes(
        (a * (length - 1 - i) + b * i) // max(1, length - 1)
        for i in range(length)
        for a, b in zip(start, end, strict=True)
    )
    pixels = b"".join(ramp[3 * y : 3 * (y + width)] for y in range(height))
    if spec.edit is not None:
        pixels = _over(spec.edit, (spec.width, spec.height), pixels, (width, height))
    return Picture(pixels=pixels, width=width, height=height)


def _over(edit: Edit, full: Size, pixels: bytes, size: Size) -> bytes:
    """RGB rows of `size` laid over the edited picture, which has the size `full`."""
    from PIL import Image

    under = Image.frombytes("RGB", full, edit.init_image.rows).resize(size)
    drawn = Image.blend(under, Image.frombytes("RGB", size, pixels), edit.strength)
    if edit.mask is not None:
        drawn = Image.composite(
            drawn, under, Image.frombytes("L", full, edit.mask.rows).resize(size)
        )
    return drawn.tobytes()


def _colour(*parts: object) -> Colour:
    red, green, blue = hashlib.sha256(repr(parts).encode()).digest()[:3]
    return red, green, blue


def _misbehave(words: str) -> None:
    if "!crash" in words:
        os.kill(os.getpid(), signal.SIGKILL)
    if "!hang" in words:
        while True:
            time.sleep(3_600)
    if "!oom" in words:
        raise MemoryError("the prompt asked for more than there is")
    if "!boom" in words:
        raise RuntimeError("the prompt asked for an unexpected failure")
