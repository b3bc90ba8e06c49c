"""ReplayedDenoiser: the denoiser's kernels launched as one, where launching them takes longest.

A UNet is more than a thousand kernels. Launched one by one they take the CPU longer than a fast GPU
takes to run them at few rows; captured in a CUDA graph they are launched at once, the same kernels
on the same memory, so that a replay equals an eager call to the last bit.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar
from weakref import WeakSet

import torch
from torch import Tensor

from imagegen.diffusion.device import fitting, free_bytes, wait_for

if TYPE_CHECKING:
    from imagegen.diffusion.adapters import AdapterBank
    from imagegen.diffusion.families.conditioning import Conditioning
    from imagegen.diffusion.families.family import Family

T = TypeVar("T")

MOST_KEYS = 32  # the row counts of a few sizes; the driver keeps some megabytes for each graph
GRAPHS_SHARE = 1 / 32  # of the device's memory, beside what eager calls use; row_limits leaves it
EAGER_CALLS = 50  # after graphs were given up for want of memory: capturing takes about three
# Of a call's time: who waits longer for the device at its end has kept it busy. On an H200 a step
# of SD 1.5's shape at 8 rows waited over a tenth, and gaps between launches were still a fifth.
WAITING_SHARE = 1 / 2


class BeyondShare(MemoryError):
    """Graphs would hold more than their share of the device."""


class Recorder(Protocol):
    """Makes of a call one that does the same on the same tensors, and leaves its output there."""

    def record(self, call: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """Raises BeyondShare, MemoryError, or torch's own errors, where it does not fit."""
        ...


@dataclass(frozen=True)
class DenoiserInputs:
    """What a call reads besides weights and slots."""

    latents: Tensor
    timesteps: Tensor
    condition: Conditioning

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.latents, self.timesteps, *self.condition.tensors

    def clone(self) -> DenoiserInputs:
        return DenoiserInputs(self.latents.clone(), self.timesteps.clone(), self.condition.clone())


@dataclass(frozen=True)
class Replay:
    """A recorded call and the tensors it reads, whose addresses it knows by heart."""

    inputs: DenoiserInputs
    recorded: Callable[[], Tensor]

    def __call__(self, inputs: DenoiserInputs) -> Tensor:
        """Cloned: the next replay of any graph may write where this one's output lies."""
        for kept, new in zip(self.inputs.tensors, inputs.tensors, strict=True):
            kept.copy_(new)
        return self.recorded().clone()


class Met(Enum):
    """What is known of a key without a replay."""

    ONCE = auto()
    BUSY = auto()  # its kernels take far longer to run than to launch: nothing to gain
    TOO_LARGE = auto()  # for the graphs' share: smaller ones gain more


class ReplayedDenoiser:
    """`Family.denoise`, for the rows that the bank selected last. To be used in inference mode.

    The first call of a key loads kernels and makes plans, the second is timed and recorded if that
    pays, all others are replayed. Keys that were used longest ago are forgotten; so more keys in
    turn than are kept stay eager, instead of being recorded again and again.
    """

    def __init__(self, family: Family, bank: AdapterBank, recorder: Recorder | None) -> None:
        """recorder: None where there is nothing to gain, as on a CPU: then all is eager."""
        self._family, self._bank, self._recorder = family, bank, recorder
        self._known: OrderedDict[Hashable, Replay | Met] = OrderedDict()
        self._eager_calls = 0  # to come

    def denoise(self, latents: Tensor, timesteps: Tensor, condition: Conditioning) -> Tensor:
        inputs = DenoiserInputs(latents, timesteps, condition)
        if self._recorder is None:
            return self._eager(inputs)
        if self._eager_calls:
            self._eager_calls -= 1
            return self._eager(inputs)
        key = self._key(inputs)
        known = self._known.pop(key, None)
        self._known[key] = known or Met.ONCE
        if len(self._known) > MOST_KEYS:
            self._known.popitem(last=False)
        if isinstance(known, Replay):
            return known(inputs)
        if known is Met.ONCE:
            return self._timed(key, inputs, self._recorder)
        return self._eager(inputs)

    def making_room(self, call: Callable[[], T]) -> T:
        """As `fitting`, but graphs go first: they only save time. Calls twice then."""
        try:
            return fitting(call)
        except MemoryError:
            if not self._give_up_graphs():
                raise
        return fitting(call)

    def _eager(self, inputs: DenoiserInputs) -> Tensor:
        return self._family.denoise(inputs.latents, inputs.timesteps, inputs.condition)

    def _key(self, inputs: DenoiserInputs) -> Hashable:
        """All that decides which kernels run, and on tensors of what sizes."""
        signatures = tuple((tensor.shape, tensor.dtype) for tensor in inputs.tensors)
        return self._bank.active("unet"), signatures

    def _timed(self, key: Hashable, inputs: DenoiserInputs, recorder: Recorder) -> Tensor:
        """An eager call after which the next ones may be replays."""
        began_at = time.perf_counter()
        prediction = self._eager(inputs)
        launched_at = time.perf_counter()
        wait_for(prediction.device)
        done_at = time.perf_counter()
        if done_at - launched_at > WAITING_SHARE * (done_at - began_at):
            self._known[key] = Met.BUSY
            return prediction
        try:
            self._known[key] = fitting(partial(self._recorded, inputs, recorder))
        except MemoryError as error:
            beyond_share = isinstance(error, BeyondShare)
        else:
            return prediction
        self._give_up_graphs()  # after the clause: its traceback holds the recorder's tensors
        if beyond_share:
            self._known[key] = Met.TOO_LARGE
        return prediction

    def _recorded(self, inputs: DenoiserInputs, recorder: Recorder) -> Replay:
        kept = inputs.clone()
        return Replay(kept, recorder.record(partial(self._eager, kept)))

    def _give_up_graphs(self) -> bool:
        """Returns whether there were any."""
        if self._recorder is None:
            return False
        self._eager_calls = EAGER_CALLS
        replays = [known for known in self._known.values() if isinstance(known, Replay)]
        if replays:
            wait_for(replays[0].inputs.latents.device)  # for one that may still run
        there_were = bool(replays)
        del replays
        self._known.clear()
        torch.cuda.empty_cache()
        return there_were


class GraphRecorder:
    """Captures CUDA graphs, all in one memory pool: they are replayed one at a time.

    The pool is beside the memory that eager calls use, as large as the largest call that is
    recorded and what lies fallow between its blocks.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._most_bytes = GRAPHS_SHARE * torch.cuda.mem_get_info(device)[1]
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._graphs: WeakSet[torch.cuda.CUDAGraph] = WeakSet()
        self._taken_bytes = 0.0  # by the pool and the driver, since the pool is there

    def record(self, call: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """Raises BeyondShare where graphs would hold more than theirs, MemoryError otherwise."""
        self._warm_up(call)
        torch.cuda.empty_cache()  # blocks of eager calls are of no use to the pool
        free_before = free_bytes(self._device)
        # a pool ends with its last graph, and must not be named again
        pool = next((graph.pool() for graph in self._graphs), None)
        if pool is None:
            self._taken_bytes = 0.0
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(
            graph, pool=pool, stream=self._stream, capture_error_mode="thread_local"
        ):
            output = call()
        self._graphs.add(graph)
        self._taken_bytes += free_before - free_bytes(self._device)
        if self._taken_bytes > self._most_bytes:
            raise BeyondShare(f"graphs hold {int(self._taken_bytes) >> 20} MiB")
        return partial(_replay, graph, output)

    def _warm_up(self, call: Callable[[], Tensor]) -> None:
        """One call on the stream of the capture, as PyTorch wants it before.

        Libraries get their workspaces for the stream outside the pool, and memory that is short
        runs out here: in a capture, torch cannot free what it has cached.
        """
        here = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            call()
        here.wait_stream(self._stream)


def recorder_for(device: torch.device) -> Recorder | None:
    return GraphRecorder(device) if device.type == "cuda" else None


def _replay(graph: torch.cuda.CUDAGraph, output: Tensor) -> Tensor:
    graph.replay()
    return output
