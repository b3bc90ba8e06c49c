"""How many denoiser rows one call may have: measured on CUDA, a fixed share of work on a CPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from imagegen.diffusion.device import fitting
from imagegen.generation import AdapterUse, RowLimits

if TYPE_CHECKING:
    from imagegen.diffusion.adapters import AdapterBank
    from imagegen.diffusion.families.family import Family

MOST_ROWS = 64
CPU_ROWS = (16, 8, 4)  # at the native size, at twice and at four times its pixels
FREE_SHARE = 1 / 16  # of the device's memory: for pictures in flight, and what lies between blocks
# Whoever joins waits for a step, and a device this busy gains next to nothing from more rows.
LONGEST_STEP_S = 1.0


def cpu_row_limits(native_px: int) -> RowLimits:
    """More rows gain nothing on a CPU, and make everyone's step longer."""
    most = CPU_ROWS[0]
    return RowLimits(tuple((native_px**2 * most // rows, rows) for rows in CPU_ROWS))


@dataclass(frozen=True)
class Probe:
    """Tries batches out on a loaded model, each row under `adapters`."""

    family: Family
    bank: AdapterBank
    adapters: tuple[AdapterUse, ...]

    def cuda_row_limits(self, device: torch.device, max_px: int) -> RowLimits:
        """max_px: the side of the largest square that may be asked for."""
        native_px = self.family.native_px
        self._survives(device, native_px, RowLimits.GUIDED_ROWS)  # the first call of all is slower
        limits = [
            (px**2, most_rows(partial(self._survives, device, px))) for px in (native_px, max_px)
        ]
        torch.cuda.empty_cache()
        return RowLimits(tuple(limits))

    def try_out(self, px: int, rows: int) -> float:
        """One call of the denoiser, whose seconds are returned, and one of the decoder.

        Raises MemoryError.
        """
        return fitting(partial(self._render, px, rows))

    @torch.inference_mode()
    def _render(self, px: int, rows: int) -> float:
        self.bank.select([self.adapters])
        encoded = self.family.encode("")
        condition = self.family.condition([encoded] * rows, px, px, guidance_scale=1.0)
        shape = self.family.latent_shape(px, px)
        latents = condition.embeddings.new_zeros(shape).expand(rows, -1, -1, -1)
        timesteps = torch.ones(rows, device=latents.device)
        self.bank.select([self.adapters] * rows)
        _wait_for(latents.device)
        began_at = time.perf_counter()
        self.family.denoise(latents, timesteps, [condition])
        _wait_for(latents.device)
        step_s = time.perf_counter() - began_at
        self.family.decode(latents[:1])
        return step_s

    def _survives(self, device: torch.device, px: int, rows: int) -> bool:
        torch.cuda.empty_cache()
        try:
            step_s = self.try_out(px, rows)
        except MemoryError:
            return False
        free, total = torch.cuda.mem_get_info(device)  # torch still holds the most it has used
        return step_s <= LONGEST_STEP_S and free >= FREE_SHARE * total


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def most_rows(survives: Callable[[int], bool]) -> int:
    """The largest batch that survives, by doubling; one guided picture is never asked about."""
    rows = RowLimits.GUIDED_ROWS
    while rows < MOST_ROWS and survives(2 * rows):
        rows *= 2
    return rows
