"""How many denoiser rows one call may have: probed on CUDA, reckoned from one call on a CPU."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import torch

from imagegen.diffusion.device import fitting, wait_for
from imagegen.diffusion.replay import GRAPHS_SHARE
from imagegen.generation import AdapterUse, RowLimits

if TYPE_CHECKING:
    from imagegen.diffusion.adapters import AdapterBank
    from imagegen.diffusion.families.family import Family

MOST_CPU_ROWS = 16  # at the native size; more gain nothing
FREE_SHARE = 1 / 16  # of the device's memory: for pictures in flight, and what lies between blocks
# Whoever joins waits for a step, and a device this busy gains next to nothing from more rows.
LONGEST_STEP_S = 1.0
LONGEST_CPU_STEP_S = 8.0  # only one picture alone may take longer: there must be a way for it
LONGEST_STEP_ALONE_S = 60.0  # half of what the watchdog waits: attention grows faster than pixels

_LONG_CALL_S = 0.5  # what makes the first call of all slower weighs nothing in a longer one

StepSeconds = Callable[[int, int], float]  # of a square's side and rows; infinite: does not fit


@dataclass(frozen=True)
class Probe:
    """Tries batches out on a loaded model, each row under `adapters`."""

    family: Family
    bank: AdapterBank
    adapters: tuple[AdapterUse, ...]

    def row_limits(self, device: torch.device) -> RowLimits:
        """Its last size is the largest picture that may be asked for."""
        native_px = self.family.native_px
        if device.type == "cuda":
            limits = cuda_row_limits(native_px, partial(self._cuda_step_s, device))
            torch.cuda.empty_cache()
            return limits
        return cpu_row_limits(native_px, self._cpu_step_s(native_px))

    def _cpu_step_s(self, native_px: int) -> float:
        """Of a guided picture at the native size, from a quarter of its pixels.

        A start must not wait for the real size: under a large model that takes a CPU ten seconds.
        """
        seconds = self.step(native_px // 2, 1)
        if seconds < _LONG_CALL_S:
            seconds = self.step(native_px // 2, 1)
        return seconds * 4 * RowLimits.GUIDED_ROWS

    @torch.inference_mode()
    def step(self, px: int, rows: int) -> float:
        """One call of the denoiser, whose seconds are returned."""
        self.bank.select([self.adapters])
        encoded = self.family.encode("")
        condition = self.family.condition([encoded] * rows, px, px, guidance_scale=1.0)
        latents = self._latents(px).expand(rows, -1, -1, -1)
        timesteps = torch.ones(rows, device=latents.device)
        self.bank.select([self.adapters] * rows)
        wait_for(latents.device)
        began_at = time.perf_counter()
        self.family.denoise(latents, timesteps, condition)
        wait_for(latents.device)
        return time.perf_counter() - began_at

    @torch.inference_mode()
    def decode(self, px: int) -> None:
        """One call of the decoder."""
        self.family.decode(self._latents(px))

    def _latents(self, px: int) -> torch.Tensor:
        like = self.family.preview_map
        return like.new_zeros(self.family.latent_shape(px, px))

    def _cuda_step_s(self, device: torch.device, px: int, rows: int) -> float:
        torch.cuda.empty_cache()
        try:
            fitting(partial(self.step, px, rows))  # the first call of a shape loads and plans
            step_s = fitting(partial(self.step, px, rows))
            if rows == RowLimits.GUIDED_ROWS:  # pictures are decoded one by one
                fitting(partial(self.decode, px))
        except MemoryError:
            return math.inf
        free, total = torch.cuda.mem_get_info(device)  # torch still holds the most it has used
        return step_s if free >= (FREE_SHARE + GRAPHS_SHARE) * total else math.inf


def cpu_row_limits(native_px: int, guided_step_s: float) -> RowLimits:
    """guided_step_s: of two rows at the native size. Rows at twice its pixels cost twice."""
    row_s = guided_step_s / RowLimits.GUIDED_ROWS
    most = min(MOST_CPU_ROWS, math.floor(LONGEST_CPU_STEP_S / row_s))
    shares = [n for n in (1, 2, 4) if n == 1 or n * guided_step_s <= LONGEST_STEP_ALONE_S]
    return RowLimits(
        tuple((native_px**2 * n, max(most // n, RowLimits.GUIDED_ROWS)) for n in shares)
    )


def cuda_row_limits(native_px: int, step_s: StepSeconds) -> RowLimits:
    """At the native side and at the largest of up to twice that where a guided picture fits.

    A start waits for every batch that is tried, and the first call of a shape is slow: few are.
    """
    guided = RowLimits.GUIDED_ROWS
    sides = {native_px: step_s(native_px, guided)}
    larger = (native_px * quarters // 32 * 8 for quarters in (8, 7, 6, 5))
    tried = ((px, step_s(px, guided)) for px in larger)
    sides |= dict(islice((one for one in tried if math.isfinite(one[1])), 1))
    rows = {px: most_rows(seconds, partial(step_s, px)) for px, seconds in sides.items()}
    return RowLimits(tuple((px**2, fit) for px, fit in rows.items()))


def most_rows(guided_s: float, step_s: Callable[[int], float]) -> int:
    """A batch whose step is short enough and fits, halved from what one guided picture promises.

    guided_s: seconds of its step. As a batch takes no more per row, the promise is not too high,
    and where a fast device waits for launches it is low: there the batch is large all the same.
    """
    rows = RowLimits.GUIDED_ROWS
    while rows < RowLimits.MOST and rows * guided_s <= LONGEST_STEP_S:  # twice as many rows take it
        rows *= 2
    while rows > RowLimits.GUIDED_ROWS and step_s(rows) > LONGEST_STEP_S:
        rows //= 2
    return rows
