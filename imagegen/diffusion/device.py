"""What is particular to CUDA: which device, copies nobody waits for, memory that runs out."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from imagegen.diffusion.driver import cuda_of_the_driver, why_no_cuda
from imagegen.errors import InvalidSettings

T = TypeVar("T")

# torch has no exception of its own for these: "DefaultCPUAllocator: can't allocate memory: …",
# pinned memory, kernels that are loaded late, cuBLAS, and cuDNN whose workspaces do not fit
_IS_FULL = re.compile(
    r"can't allocate memory|not enough memory|CUDA error: out of memory"
    r"|CU(BLAS|DNN)_STATUS_ALLOC_FAILED|unable to find an engine to execute"
)


def choose_device(name: str) -> torch.device:
    """name: "auto", "cpu" or "cuda".

    Raises InvalidSettings for a device that is not there or that torch's build cannot use.
    """
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        if fault := why_no_cuda(name, torch.version.cuda, cuda_of_the_driver()):
            raise InvalidSettings(fault)
        return torch.device("cpu")
    torch.backends.cudnn.deterministic = True  # `exact` promises the same bytes again
    return torch.device("cuda")


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """name: "auto", "float32" or "float16"."""
    if name == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    return {"float16": torch.float16, "float32": torch.float32}[name]


def send(values: Tensor, device: torch.device) -> Tensor:
    """Values of the CPU on the device, without waiting for what the device still has to do.

    Only from pinned memory does a copy not wait; torch keeps that memory until it is done.
    """
    if device.type == "cpu":
        return values
    return values.pin_memory().to(device, non_blocking=True)


class WeightsToDevice:
    """Carries a model's weights to the device while the CPU reads and casts the next ones.

    A GPU copies without the CPU only from pinned memory, and to pin all of it would take longer
    than the copies: pieces go through two pinned buffers, on a stream of their own.
    """

    _PIECE_BYTES = 1 << 26

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._buffers = deque(self._new_buffer() for _ in range(2))

    def _new_buffer(self) -> tuple[Tensor, torch.cuda.Event]:
        """Pinned bytes, and what tells that the copy out of them is done."""
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        return torch.empty(self._PIECE_BYTES, dtype=torch.uint8).pin_memory(), copied

    def carry(self, weights: Tensor) -> Tensor:
        """The same on the device, in the same order of memory; to be used after `arrived` only.

        weights: dense, and in the order that they are to have. What this stream has once taken of
        the device's memory no other can use: weights that were put in order there would stay twice.
        """
        if self._device.type == "cpu":
            return weights
        with torch.cuda.stream(self._stream):
            target = torch.empty_like(weights, device=self._device)
            pieces, rooms = (
                torch.split(in_memory_order(each), self._PIECE_BYTES) for each in (weights, target)
            )
            for piece, room in zip(pieces, rooms, strict=True):
                buffer, copied = self._buffers.popleft()
                copied.synchronize()  # what it held before has left
                room.copy_(buffer[: len(piece)].copy_(piece), non_blocking=True)
                copied.record(self._stream)
                self._buffers.append((buffer, copied))
        return target

    def arrived(self) -> None:
        """Whatever the device is told from now on finds the weights in their places."""
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).wait_stream(self._stream)


def in_memory_order(values: Tensor) -> Tensor:
    """The bytes of a dense tensor as they lie in memory, uint8 [bytes]; a view."""
    return values.as_strided((values.numel(),), (1,)).view(torch.uint8)


def free_bytes(device: torch.device) -> float:
    """What the device has left; a CPU hands out memory as it is written to, so it is not asked."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else math.inf


def wait_for(device: torch.device) -> None:
    """Until the device has done all that it was told; an error of that work is raised here."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()


def fitting(call: Callable[[], T]) -> T:
    """Calls; turns running out of memory, the device's or the CPU's, into MemoryError.

    Raised after the `except` ends: its traceback would hold the tensors that filled the device.
    """
    try:
        return call()
    except torch.OutOfMemoryError as error:
        reason = str(error)
    except RuntimeError as error:
        reason = str(error)
        if not _IS_FULL.search(reason):
            raise
    torch.cuda.empty_cache()
    raise MemoryError(reason)
