"""What only a GPU can show: the same pictures there, replays, memory that runs out, processes."""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from company import batches, small
from reference import assert_equal, decibels, loaded, ours, reference
from safetensors.torch import load_file
from sent_pictures import edit
from tiny_models import draw, make_spec
from torch import Tensor

from imagegen.diffusion.device import WeightsToDevice, fitting
from imagegen.diffusion.renderer import DiffusersRenderer
from imagegen.diffusion.replay import (
    EAGER_CALLS,
    GRAPHS_SHARE,
    GraphRecorder,
    Replay,
    ReplayedDenoiser,
)
from imagegen.diffusion.row_limits import FREE_SHARE, Probe, cuda_row_limits
from imagegen.engine.process import RenderProcess
from imagegen.engine.renderer import PHASES
from imagegen.generation import AdapterUse, RenderSpec, RowLimits, Scheduler

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

Loras = Callable[[str], dict[str, AdapterUse]]
LONG_S = 120.0
CUDA = torch.device("cuda")


@pytest.fixture
def whole_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    """cuDNN rounds fp32 to TF32 unless it is told not to; two programs round differently."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture(scope="module")
def on_cuda(
    model_folder: Callable[..., Path], loras_for: Loras
) -> Callable[..., DiffusersRenderer]:
    """Renderers with a slot less than brands, but in fp32, which is compared with diffusers."""

    @functools.cache
    def load(shape: str, dtype: str, **options: bool) -> DiffusersRenderer:
        slots = {"adapter_slots": 2} if dtype == "float16" else {}
        folder = model_folder(shape=shape, **options)
        brands = loras_for(shape).values()
        return loaded(folder, *brands, dtype=dtype, device="cuda", **slots)

    return load


@pytest.fixture
def fresh(model_folder: Callable[..., Path], loras_for: Loras) -> DiffusersRenderer:
    """In fp16, for tests that leave traces."""
    return loaded(model_folder(), *loras_for("sd15").values(), dtype="float16", device="cuda")


def replays(renderer: DiffusersRenderer) -> int:
    return sum(isinstance(known, Replay) for known in renderer._denoiser._known.values())


def final_latents(renderer: DiffusersRenderer, *specs: RenderSpec) -> list[Tensor]:
    pictures = [renderer.begin(spec) for spec in specs]
    while busy := [each for each in pictures if each.step_index < each.step_count]:
        renderer.step(busy)
    return [picture.latents for picture in pictures]


def same(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


@pytest.mark.usefixtures("whole_fp32")
@pytest.mark.parametrize("shape", ["sd15", "sdxl"])
@pytest.mark.parametrize("scheduler", Scheduler)
def test_a_picture_equals_the_pipelines(
    on_cuda: Callable[..., DiffusersRenderer], model_folder: Callable[..., Path],
    loras_for: Loras, shape: str, scheduler: Scheduler,
) -> None:  # fmt: skip
    spec = make_spec(scheduler=scheduler, adapters=(loras_for(shape)["pop"],))
    theirs = reference(model_folder(shape=shape), spec, device="cuda")
    renderer = on_cuda(shape, "float32")
    for _ in range(2):  # eager and recorded; replayed
        assert_equal(ours(renderer, spec), theirs, at_most=2)
    assert replays(renderer) > 0


@pytest.mark.usefixtures("whole_fp32")
@pytest.mark.parametrize("task", ["img2img", "inpaint"])
@pytest.mark.parametrize("shape", ["sd15", "sdxl"])
@pytest.mark.parametrize("scheduler", [Scheduler.DDIM, Scheduler.EULER_A, Scheduler.UNIPC])
def test_an_edit_equals_the_pipelines(
    on_cuda: Callable[..., DiffusersRenderer], model_folder: Callable[..., Path],
    loras_for: Loras, shape: str, scheduler: Scheduler, task: str,
) -> None:  # fmt: skip
    spec = make_spec(
        scheduler=scheduler, adapters=(loras_for(shape)["pop"],), edit=edit(task),
        num_inference_steps=7,
    )  # fmt: skip
    theirs = reference(model_folder(shape=shape), spec, device="cuda")
    assert_equal(ours(on_cuda(shape, "float32"), spec), theirs, at_most=2)


@pytest.mark.usefixtures("whole_fp32")
@pytest.mark.parametrize("shape", ["sd15", "sdxl"])
def test_pictures_in_company_and_in_half_precision_are_the_pipelines_whole_ones(
    model_folder: Callable[..., Path], loras_for: Loras, shape: str
) -> None:
    whole, half = (
        torch.randn(64, generator=torch.Generator().manual_seed(0), dtype=dtype)
        for dtype in (torch.float32, torch.float16)
    )
    if not torch.equal(whole.half(), half):
        pytest.skip(f"torch {torch.__version__} draws other noise in half precision")
    loras = loras_for(shape)
    renderer = loaded(model_folder(shape=shape), *loras.values(), dtype="float16", device="cuda")
    company = [
        make_spec(scheduler=scheduler, adapters=(loras[brand],) if brand else (), seed=seed)
        for seed, (brand, scheduler) in enumerate(zip([*loras, None] * 2, Scheduler, strict=True))
    ]
    for spec, pixels in zip(company, draw(renderer, *company), strict=True):
        theirs = reference(model_folder(shape=shape), spec, device="cuda")
        assert decibels(pixels, theirs.tobytes()) >= 40, spec.scheduler


@pytest.mark.parametrize("half", [False, True])
def test_weights_arrive_bit_by_bit(half: bool) -> None:
    torch.manual_seed(0)
    dtype = torch.float16 if half else torch.float32
    weights = [
        torch.randn(40_000_003),  # pieces of 64 MiB, and a rest, in either precision
        torch.randn(3, 5, 7),
        torch.randn(64, 32).T,
        torch.full((), 1 / 3),
    ] * 2  # the buffers are used again
    to_device = WeightsToDevice(CUDA)
    carried = [to_device.carry(each.to(dtype)) for each in weights]
    to_device.arrived()
    for there, here in zip(carried, weights, strict=True):
        assert there.is_cuda
        assert torch.equal(there.cpu(), here.to(dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_models_weights_are_its_files(
    on_cuda: Callable[..., DiffusersRenderer], model_folder: Callable[..., Path], dtype: torch.dtype
) -> None:
    family = on_cuda("sd15", str(dtype).removeprefix("torch."))._family
    for part, module in (("unet", family.unet), ("vae", family.vae)):
        file = load_file(model_folder(shape="sd15") / part / "diffusion_pytorch_model.safetensors")
        for name, weight in module.state_dict().items():
            assert torch.equal(weight.cpu(), file[name].to(dtype)), name


@pytest.mark.parametrize(
    ("shape", "options"),
    [("sd15", {}), ("sd2", {}), ("sdxl", {}), ("sd15", {"distilled": True})],
    ids=str,
)
def test_replayed_steps_equal_eager_ones(
    on_cuda: Callable[..., DiffusersRenderer], loras_for: Loras, shape: str,
    options: dict[str, bool],
) -> None:  # fmt: skip
    """Across brands, row counts and slots that were given to others; nothing else is written."""
    renderer = on_cuda(shape, "float16", **options)
    modules = (*renderer._family.components.values(), renderer._family.vae)
    before = [weight.clone() for each in modules for weight in each.state_dict().values()]
    guided = {"guidance_scale": 5.0, "width": 64, "height": 64}
    specs = [*batches(list(loras_for(shape).values()))]
    specs += [*batches(list(loras_for(shape).values()), **guided)][::4]
    replayed = renderer._denoiser
    renderer._denoiser = ReplayedDenoiser(renderer._family, renderer._bank, None)
    eager = [final_latents(renderer, *each) for each in specs]
    renderer._denoiser = replayed
    for _ in range(2):
        for each, wanted in zip(specs, eager, strict=True):
            assert same(final_latents(renderer, *each), wanted)
    assert replays(renderer) >= 6
    after = [weight for each in modules for weight in each.state_dict().values()]
    assert same(after, before)


def test_the_same_exact_picture_is_the_same_bytes(
    fresh: DiffusersRenderer, model_folder: Callable[..., Path], loras_for: Loras
) -> None:
    loras = loras_for("sd15")
    spec = make_spec(
        adapters=(loras["aurora"],), scheduler=Scheduler.EULER_A, exact=True, num_inference_steps=8
    )
    first = draw(fresh, spec)
    draw(fresh, *(make_spec(adapters=(each,)) for each in loras.values()))
    assert draw(fresh, spec) == first
    assert replays(fresh) > 0
    another = loaded(model_folder(), *loras.values(), dtype="float16", device="cuda")
    assert draw(another, spec) == first


def full_but_for(free_bytes: int) -> Tensor:
    """A tensor that leaves so much of the device."""
    torch.cuda.empty_cache()
    return torch.empty(torch.cuda.mem_get_info()[0] - free_bytes, dtype=torch.uint8, device=CUDA)


def test_out_of_memory_is_told_and_passes(fresh: DiffusersRenderer) -> None:
    large = [small(width=512, height=512, seed=seed) for seed in range(64)]
    wanted = draw(fresh, small())
    draw(fresh, small())
    assert replays(fresh) > 0
    pictures = [fresh.begin(spec) for spec in large]
    ballast = full_but_for(64 << 20)
    with pytest.raises(MemoryError):
        fresh.step(pictures)
    assert {picture.step_index for picture in pictures} == {0}
    assert replays(fresh) == 0, "graphs go first"
    assert draw(fresh, small()) == wanted, "what is small fits still"
    del ballast
    torch.cuda.empty_cache()
    fresh.step(pictures)
    assert {picture.step_index for picture in pictures} == {1}
    again = draw(fresh, small(num_inference_steps=EAGER_CALLS + 5))
    assert replays(fresh) > 0, "after a while graphs are back"
    assert draw(fresh, small(num_inference_steps=EAGER_CALLS + 5)) == again


def test_a_capture_that_runs_out_of_memory_leaves_no_trace(fresh: DiffusersRenderer) -> None:
    """Torch cannot free what it has cached in a capture: its own way to fail."""
    recorder = GraphRecorder(CUDA)
    numbers = torch.ones(8, device=CUDA)

    def swells() -> Tensor:
        capturing = torch.cuda.is_current_stream_capturing()
        return torch.cat([2 * numbers, torch.empty(1 << 50 if capturing else 8, device=CUDA)])

    with pytest.raises(MemoryError):
        fitting(lambda: recorder.record(swells))
    double = recorder.record(lambda: 2 * numbers)
    with pytest.raises(MemoryError):  # beside a graph that stays
        fitting(lambda: recorder.record(swells))
    numbers.fill_(3)
    assert double().tolist() == [6] * 8


def test_graphs_that_hold_more_than_their_share_are_given_up(fresh: DiffusersRenderer) -> None:
    recorder = fresh._denoiser._recorder
    assert isinstance(recorder, GraphRecorder)
    recorder._most_bytes = -1
    wanted = draw(fresh, small(num_inference_steps=6))
    assert replays(fresh) == 0
    assert draw(fresh, small(num_inference_steps=6)) == wanted


def test_graphs_give_their_memory_back(fresh: DiffusersRenderer) -> None:
    def held() -> int:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        return torch.cuda.memory_reserved()

    for size in (32, 256, 512):
        draw(fresh, small(width=size, height=size))
    with_graphs, count = held(), replays(fresh)
    assert count == 3
    fresh._denoiser._give_up_graphs()
    assert held() < with_graphs
    draw(fresh, small(num_inference_steps=EAGER_CALLS + 5))  # in a new pool
    assert replays(fresh) == 1


def test_row_limits_hold_and_leave_their_share(
    on_cuda: Callable[..., DiffusersRenderer], loras_for: Loras
) -> None:
    renderer = on_cuda("sd15", "float16")
    probe = Probe(renderer._family, renderer._bank, (loras_for("sd15")["aurora"],))
    total = torch.cuda.mem_get_info()[1]
    kept = int(total * (FREE_SHARE + GRAPHS_SHARE))
    ballast = full_but_for(kept + (200 << 20))  # so that memory is what bounds
    limits = cuda_row_limits(512, partial(probe._cuda_step_s, CUDA))
    assert limits.probes[-1][1] < RowLimits.MOST
    for pixels, rows in limits.probes:
        torch.cuda.empty_cache()
        px = int(pixels**0.5)
        probe.step(px, rows)
        probe.decode(px)
        assert torch.cuda.mem_get_info()[0] >= FREE_SHARE * total
    del ballast
    torch.cuda.empty_cache()


def test_all_phases_of_a_start_are_told(model_folder: Callable[..., Path]) -> None:
    phases: list[str] = []
    info = DiffusersRenderer(str(model_folder()), [], "auto", "auto").load(phases.append)
    assert tuple(phases) == PHASES
    assert (info.device, info.dtype) == (torch.cuda.get_device_name(), "float16")


@pytest.fixture
def engine(model_folder: Callable[..., Path], loras_for: Loras) -> Iterator[RenderProcess]:
    brands = [(adapter,) for adapter in loras_for("sd15").values()]
    make = partial(DiffusersRenderer, str(model_folder()), brands, "cuda", "float16")
    engine = RenderProcess(make, max_queue=16)
    engine.start()
    yield engine
    engine.stop(0)


def test_a_process_draws_brands_together_and_after_it_was_killed(
    engine: RenderProcess, fresh: DiffusersRenderer, loras_for: Loras
) -> None:
    specs = [
        make_spec(adapters=(adapter,), brand=brand, num_inference_steps=20)
        for brand, adapter in loras_for("sd15").items()
    ]
    engine.wait_ready(LONG_S)
    assert set(PHASES) <= set(engine.status().start_s)
    drawn = [each.result(LONG_S) for each in engine.submit(specs, deadline_s=LONG_S)]
    for picture, pixels in zip(drawn, draw(fresh, *specs), strict=True):
        assert decibels(picture.pixels, pixels) >= 40

    moves = threading.Event()
    long = [make_spec(num_inference_steps=300, scheduler=Scheduler.DDIM)]
    futures = engine.submit(long, deadline_s=LONG_S, on_event=lambda _: moves.set())
    assert moves.wait(LONG_S)
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    assert futures[0].result(LONG_S).pixels
    assert engine.status().deaths == 1
    again = [each.result(LONG_S) for each in engine.submit(specs, deadline_s=LONG_S)]
    for picture, before in zip(again, drawn, strict=True):
        assert decibels(picture.pixels, before.pixels) >= 40
        assert np.frombuffer(picture.pixels, np.uint8).std() > 4
