"""Which denoiser calls are recorded, and that a replay draws what an eager call draws.

A CUDA graph is kernels on fixed addresses. On a CPU its place is taken by torch's operators, as
they are recorded in one call and done again on the very tensors that they met, without our Python.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from company import batches, small
from reference import loaded
from tiny_models import draw
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from imagegen.diffusion import replay
from imagegen.diffusion.renderer import DiffusersRenderer
from imagegen.diffusion.replay import EAGER_CALLS, BeyondShare, ReplayedDenoiser
from imagegen.generation import AdapterUse

pytestmark = pytest.mark.torch


class Operators(TorchDispatchMode):
    """What torch did while it was on."""

    def __init__(self) -> None:
        super().__init__()
        self._done: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        self._done.append((func, args, kwargs or {}, output))
        return output

    def again(self, wanted: Tensor) -> Tensor:
        """Does the same, on its own outputs in place of those of then; returns `wanted`'s."""
        new: dict[int, Any] = {}

        def of_now(then: Any) -> Any:
            return new.get(id(then), then)

        for func, args, kwargs, output in self._done:
            done = func(*tree_map(of_now, args), **tree_map(of_now, kwargs))
            pairs = zip(tree_leaves(output), tree_leaves(done), strict=True)
            new |= {id(old): each for old, each in pairs if isinstance(old, Tensor)}
        return new[id(wanted)]


class Tape:
    """Records operators; all outputs of a call lie in the same place, as a graph's do."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0
        self.full = 0  # so many recordings run out of memory
        self.beyond = 0  # so many before them take more than their share

    def record(self, call: Callable[[], Tensor]) -> Callable[[], Tensor]:
        if self.beyond:
            self.beyond -= 1
            raise BeyondShare("graphs hold too much")
        if self.full:
            self.full -= 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.recorded += 1
        with Operators() as operators:
            output = call()
        place = torch.full_like(output, torch.nan)

        def replayed() -> Tensor:
            self.replayed += 1
            return place.copy_(operators.again(output))

        return replayed


def taped(renderer: DiffusersRenderer) -> Tape:
    tape = Tape()
    renderer._denoiser = ReplayedDenoiser(renderer._family, renderer._bank, tape)
    return tape


@pytest.mark.parametrize(
    ("shape", "options"), [("sd15", {}), ("sd15", {"distilled": True}), ("sdxl", {})]
)
def test_a_replay_draws_what_an_eager_call_draws(
    model_folder: Callable[..., Path],
    loras_for: Callable[[str], dict[str, AdapterUse]],
    shape: str,
    options: dict[str, bool],
) -> None:
    """Also after its slot was given to another brand: there are fewer slots than brands."""
    brands = list(loras_for(shape).values())
    renderer = loaded(model_folder(shape=shape, **options), *brands, adapter_slots=2)
    specs = list(batches(brands))
    wanted = [draw(renderer, *each) for each in specs]
    tape = taped(renderer)
    for each, pictures in zip(specs, wanted, strict=True):
        assert draw(renderer, *each) == pictures
    assert tape.recorded <= 2 * 3, "rows, and with LoRAs or without, are all that tells them apart"
    assert tape.replayed > len(specs), "most calls are replays"


def test_the_first_call_of_a_key_is_eager_the_second_is_recorded_the_others_are_replayed(
    model_folder: Callable[..., Path],
) -> None:
    renderer = loaded(model_folder())
    tape = taped(renderer)
    picture = renderer.begin(small(num_inference_steps=4))
    for counts in ((0, 0), (1, 0), (1, 1), (1, 2)):
        renderer.step([picture])
        assert (tape.recorded, tape.replayed) == counts


def test_what_a_replay_predicted_outlives_the_next_one(model_folder: Callable[..., Path]) -> None:
    """A preview looks at it whenever it is asked for."""
    renderer = loaded(model_folder())
    tape = taped(renderer)
    one, other = (renderer.begin(small(seed=seed, num_inference_steps=9)) for seed in (1, 2))
    for _ in range(4):
        renderer.step([one])
    before = renderer.preview(one)
    renderer.step([other])
    assert tape.replayed == 3
    assert renderer.preview(one) == before


def test_brands_that_change_other_layers_are_other_programs(
    renderer: DiffusersRenderer, loras: dict[str, AdapterUse]
) -> None:
    bank = renderer._bank
    bank.select([(loras["aurora"],)])
    assert all(bank.active("unet"))
    assert len(bank.active("unet")) > len(bank.active("text_encoder")) > 0
    bank.select([()])
    assert not any(bank.active("unet"))


def test_what_is_used_longest_ago_is_forgotten_and_more_in_turn_stay_eager(
    model_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "MOST_KEYS", 2)
    renderer = loaded(model_folder())
    tape = taped(renderer)
    sizes = [renderer.begin(small(width=width, num_inference_steps=9)) for width in (32, 40, 48)]
    for _ in range(3):
        for picture in sizes:
            renderer.step([picture])
    assert tape.recorded == 0
    for picture in (sizes[0], sizes[0], sizes[1], sizes[1]):
        renderer.step([picture])
    assert (tape.recorded, len(renderer._denoiser._known)) == (2, 2)


def test_a_call_that_keeps_the_device_busy_is_not_recorded(
    model_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    renderer = loaded(model_folder())
    tape = taped(renderer)
    ticks = iter([0.0, 0.9, 1.9])  # told, launched, done
    monkeypatch.setattr("imagegen.diffusion.replay.time.perf_counter", lambda: next(ticks))
    draw(renderer, small(num_inference_steps=6))
    assert tape.recorded == 0


def test_a_recording_that_does_not_fit_leaves_the_picture_eager(
    model_folder: Callable[..., Path],
) -> None:
    renderer = loaded(model_folder())
    [wanted] = draw(renderer, small(num_inference_steps=EAGER_CALLS + 5))
    tape = taped(renderer)
    tape.full = 1
    assert draw(renderer, small(num_inference_steps=EAGER_CALLS + 5)) == [wanted]
    assert (tape.recorded, tape.replayed) == (1, 1), "after a while it is tried again"


def test_one_too_large_for_the_share_is_not_recorded_again(
    model_folder: Callable[..., Path],
) -> None:
    renderer = loaded(model_folder())
    large, little = (
        small(num_inference_steps=2 * EAGER_CALLS),
        small(width=64, num_inference_steps=4),
    )
    wanted = [draw(renderer, spec) for spec in (large, little)]
    tape = taped(renderer)
    tape.beyond = 1
    assert [draw(renderer, spec) for spec in (large, little)] == wanted
    assert tape.beyond == 0
    assert tape.recorded == 1, "the little one: the large one had calls enough to be tried again"


def test_graphs_make_room_for_whatever_runs_out_of_memory(
    model_folder: Callable[..., Path],
) -> None:
    renderer = loaded(model_folder())
    spec = small(num_inference_steps=3)
    wanted = draw(renderer, spec)
    taped(renderer)
    draw(renderer, spec)
    assert renderer._denoiser._known

    def fills(*_: object) -> None:
        if renderer._denoiser._known:
            raise torch.OutOfMemoryError("CUDA out of memory")

    handle = renderer._family.vae.decoder.register_forward_pre_hook(fills)
    assert draw(renderer, spec) == wanted
    assert not renderer._denoiser._known
    handle.remove()


def test_without_graphs_there_is_no_room_to_make(model_folder: Callable[..., Path]) -> None:
    renderer = loaded(model_folder())
    calls = []

    def overflows() -> None:
        calls.append(None)
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(MemoryError):
        renderer._denoiser.making_room(overflows)
    assert len(calls) == 1
