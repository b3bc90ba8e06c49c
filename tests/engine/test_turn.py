"""Turns, in this process: admit, step, retire, report, also when a picture misbehaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue

import pytest

from imagegen.engine import turn as turn_module
from imagegen.engine.calls import PoisonedRenderer
from imagegen.engine.fake import SLOW_STEP_S, FakeDenoising, FakeRenderer, draw
from imagegen.engine.lineup import GOOD_STEPS_TO_GROW
from imagegen.engine.messages import (
    Done,
    Drop,
    Dropped,
    Failed,
    FromChild,
    Heartbeat,
    Move,
    Previewed,
    Render,
    Stepped,
    ToChild,
)
from imagegen.engine.renderer import Picture
from imagegen.engine.turn import Turns
from imagegen.generation import RenderSpec, RowLimits


class RecordingRenderer(FakeRenderer):
    """Also keeps which pictures each step moved, by seed, whether it succeeded or not."""

    def __init__(self, rows_that_fit: int | None = None) -> None:
        super().__init__(rows_that_fit=rows_that_fit)
        self.steps: list[list[int]] = []

    def step(self, pictures: Sequence[FakeDenoising]) -> None:
        self.steps.append([picture.spec.seed for picture in pictures])
        super().step(pictures)


class Bench:
    """Turns with a full inbox; `said` is what the parent would hear."""

    def __init__(
        self, *specs: RenderSpec, rows_that_fit: int | None = None, previews: bool = False
    ):
        self.renderer = RecordingRenderer(rows_that_fit)
        self.inbox: SimpleQueue[ToChild] = SimpleQueue()
        self.said: list[FromChild] = []
        limits = RowLimits(((1_024, 16),))
        self.turns = Turns(self.renderer, limits, self.inbox, self.said.append)
        self.expected = 0
        for number, spec in enumerate(specs):
            self.put(number, spec, previews=previews)

    def put(self, number: int, spec: RenderSpec, *, previews: bool = False) -> None:
        self.inbox.put(Render(number, spec, share=0, deadline_at=0.0, previews=previews))
        self.expected += 1

    def run(self) -> None:
        """Until each picture has its last word; the bound is a test's, not the engine's."""
        for _ in range(100):
            if len(self.numbers(Done, Failed, Dropped)) == self.expected:
                return
            self.turns.turn()
        pytest.fail(f"no end after 100 turns: {self.said}")

    def numbers(self, *kinds: type) -> list[int]:
        return [message.number for message in self.said if isinstance(message, kinds)]


@pytest.fixture
def specs(make_spec) -> Callable[..., list[RenderSpec]]:
    def make(*prompts: str) -> list[RenderSpec]:
        return [make_spec(prompt, seed=number) for number, prompt in enumerate(prompts)]

    return make


def test_one_picture_from_admission_to_report(make_spec):
    bench = Bench(make_spec("mug " * 80))
    bench.run()
    kinds = [type(message) for message in bench.said]
    assert kinds == [
        *(Heartbeat, Heartbeat, Stepped),  # begin, step
        *(Heartbeat, Stepped),
        *(Heartbeat, Stepped, Heartbeat, Done),  # step, finish: which may take long
    ]
    steps = [message.moves for message in bench.said if isinstance(message, Stepped)]
    assert steps == [(Move(0, step, 3),) for step in (1, 2, 3)]
    done = bench.said[-1]
    assert len(done.pixels) == 24 * 16 * 3
    assert "past the text encoder" in done.warnings[0]
    assert 0 < done.gpu_s < done.render_s


def test_pictures_join_and_leave_between_steps(make_spec):
    long, short = make_spec(seed=0, num_inference_steps=5), make_spec(seed=1)
    bench = Bench(long)
    bench.turns.turn()
    bench.put(1, short)
    bench.run()
    assert bench.renderer.steps[0] == [0]
    assert sorted(bench.renderer.steps[1]) == [0, 1]
    assert bench.numbers(Done) == [1, 0]


def test_pictures_that_arrive_together_land_at_once_where_decoding_is_quick(make_spec):
    bench = Bench(*(make_spec(seed=seed) for seed in range(6)))
    for _ in range(3):
        bench.turns.turn()
    assert bench.numbers(Done) == [0, 1, 2, 3, 4, 5]


def test_slow_decoding_and_encoding_leave_room_for_a_step_between(make_spec, monkeypatch):
    monkeypatch.setattr(turn_module, "PAUSE_S", 0.0)  # as if a step took long against it
    long = make_spec(seed=9, num_inference_steps=9)
    bench = Bench(make_spec(seed=0), make_spec(seed=1), make_spec(seed=2), long)
    bench.turns._renderer = CostlyRenderer()
    for _ in range(6):  # one of those who wait begins in each turn, one that has arrived lands
        bench.turns.turn()
    calls = [tuple(sorted(m.numbers)) for m in bench.said if isinstance(m, Heartbeat)]
    assert calls == [
        *((0,), (0,)),
        *((1,), (0, 1)),
        *((2,), (0, 1, 2), (0,)),
        *((3,), (1, 2, 3), (1,)),
        *((2, 3), (2,)),
        (3,),
    ]


def test_landing_goes_in_turn_among_callers(make_spec, monkeypatch):
    monkeypatch.setattr(turn_module, "PAUSE_S", 0.0)
    bench = Bench(*(make_spec(seed=seed, num_inference_steps=2) for seed in range(6)))
    bench.inbox.put(Render(6, make_spec(seed=6, num_inference_steps=2), 1, 0.0, previews=False))
    bench.turns._renderer = SlowLanding()
    bench.expected += 1
    bench.run()
    assert bench.numbers(Done).index(6) <= 1, "one of the other caller's before it, not six"


def test_a_picture_that_leaves_before_it_has_begun_costs_nothing(make_spec, monkeypatch):
    monkeypatch.setattr(turn_module, "PAUSE_S", 0.0)
    bench = Bench(make_spec(), make_spec(seed=1))
    bench.turns._renderer = CostlyRenderer()
    bench.turns.turn()
    bench.inbox.put(Drop(1))
    bench.run()
    assert [m for m in bench.said if isinstance(m, Dropped)] == [Dropped(1, 0.0)]
    assert (1,) not in [m.numbers for m in bench.said if isinstance(m, Heartbeat)]


def test_of_those_that_have_arrived_the_first_is_decoded_first(make_spec):
    bench = Bench(*(make_spec(seed=seed, num_inference_steps=2) for seed in range(3)))
    bench.put(3, make_spec(seed=3, num_inference_steps=1))
    bench.put(4, make_spec(seed=4, num_inference_steps=1))
    bench.run()
    assert bench.numbers(Done) == [3, 4, 0, 1, 2]


def test_exact_pictures_and_other_sizes_take_turns(make_spec):
    bench = Bench(
        make_spec(seed=0), make_spec(seed=1, exact=True), make_spec(seed=2, width=64),
        make_spec(seed=3),
    )  # fmt: skip
    bench.run()
    assert {tuple(sorted(step)) for step in bench.renderer.steps} == {(0, 3), (1,), (2,)}
    assert bench.renderer.steps[:3] == [[0, 3], [1], [2]]


def test_out_of_memory_is_tried_again_once_with_half_the_rows(specs):
    bench = Bench(*specs("a", "b", "c", "d"), rows_that_fit=4)
    bench.run()
    assert [len(step) for step in bench.renderer.steps][:2] == [4, 2]
    assert max(len(step) for step in bench.renderer.steps[1:]) == 2, "the lesson is kept"
    assert sorted(bench.numbers(Done)) == [0, 1, 2, 3]


@pytest.mark.parametrize("place", range(5))
def test_out_of_memory_fails_only_the_picture_that_does_not_fit_alone(specs, place):
    prompts = ["a", "b", "c", "d", "e"]
    prompts[place] = "!oom"
    bench = Bench(*specs(*prompts))
    bench.run()
    assert bench.numbers(Failed) == [place]
    assert sorted([*bench.numbers(Done), place]) == list(range(5))
    tried = [step for step in bench.renderer.steps if place in step]
    assert tried[-1] == [place], "company does not prove its own fault"
    assert tried.count([place]) <= 2, "alone it is tried again once at most"


def test_a_single_picture_too_is_tried_again_once(specs):
    bench = Bench(*specs("!oom"))
    bench.run()
    assert bench.numbers(Failed) == [0]
    assert bench.renderer.steps == [[0], [0]]
    assert "memory" in bench.said[-1].text


def test_the_memory_lesson_is_forgotten_when_idle(specs):
    bench = Bench(*specs("!oom"))
    bench.run()
    for number in (1, 2):
        bench.put(number, specs("", "a", "b")[number])
    bench.run()
    assert bench.renderer.steps[-1] == [1, 2]


def test_an_instance_that_is_never_idle_recovers_from_the_memory_lesson(make_spec):
    bench = Bench(*(make_spec(seed=n, num_inference_steps=200) for n in range(4)), rows_that_fit=4)
    bench.turns.turn()
    bench.renderer._rows_that_fit = None
    for _ in range(GOOD_STEPS_TO_GROW):
        bench.turns.turn()
    assert {len(step) for step in bench.renderer.steps[1:GOOD_STEPS_TO_GROW]} == {2}
    assert len(bench.renderer.steps[-1]) == 4


def test_a_pictures_own_failure_fails_only_itself(specs):
    bench = Bench(*specs("a", "!nan", "b", "!misfit"))
    bench.run()
    assert sorted(bench.numbers(Failed)) == [1, 3]
    assert sorted(bench.numbers(Done)) == [0, 2]


def test_an_unexpected_failure_names_the_suspects_and_ends_the_renderer(specs, make_spec):
    bench = Bench(*specs("a", "!boom"), make_spec("elsewhere", width=64))
    with pytest.raises(PoisonedRenderer, match="RuntimeError: the prompt asked"):
        bench.run()
    assert bench.numbers(Done, Failed) == [], "the guilty one is found out when they run alone"
    assert [m for m in bench.said if isinstance(m, Heartbeat)][-1] == Heartbeat((0, 1))


def test_dropped_pictures_leave_before_the_next_step(specs):
    bench = Bench(*specs("a", "b"))
    bench.turns.turn()
    bench.inbox.put(Drop(0))
    bench.run()
    assert bench.numbers(Dropped) == [0]
    assert bench.renderer.steps == [[0, 1], [1], [1]]


def test_a_drop_that_comes_too_late_is_not_answered(specs):
    bench = Bench(*specs("a"))
    bench.run()
    bench.inbox.put(Drop(0))
    bench.put(1, specs("", "b")[1])
    bench.run()
    assert bench.numbers(Dropped) == []


def test_the_time_of_a_step_is_divided_by_rows(make_spec):
    guided, bare = make_spec("!slow"), make_spec(seed=1, guidance_scale=1.0)
    bench = Bench(guided, bare)
    bench.run()
    shares = {message.number: message.gpu_s for message in bench.said if isinstance(message, Done)}
    assert shares[0] == pytest.approx(2 * shares[1], rel=0.1)
    assert sum(shares.values()) >= 3 * SLOW_STEP_S
    [first, *_] = (message for message in bench.said if isinstance(message, Stepped))
    assert (first.rows, first.pixels) == (3, 24 * 16)
    assert first.seconds >= SLOW_STEP_S


class CostlyRenderer(RecordingRenderer):
    """Everything but a step takes its time."""

    def begin(self, spec: RenderSpec) -> FakeDenoising:
        time.sleep(0.1)
        return super().begin(spec)

    def finish(self, pictures: Sequence[FakeDenoising]) -> list[Picture]:
        time.sleep(0.1)
        return super().finish(pictures)

    def preview(self, picture: FakeDenoising) -> Picture:
        time.sleep(0.1)
        return super().preview(picture)


class SlowLanding(RecordingRenderer):
    def finish(self, pictures: Sequence[FakeDenoising]) -> list[Picture]:
        time.sleep(0.02)
        return super().finish(pictures)


class OnceFull(RecordingRenderer):
    """There is no memory for the first text that is read."""

    full = True

    def begin(self, spec: RenderSpec) -> FakeDenoising:
        if self.full:
            self.full = False
            raise MemoryError("no room for a text")
        return super().begin(spec)


def test_a_beginning_that_ran_out_of_memory_is_tried_again_once(make_spec):
    bench = Bench(make_spec())
    bench.turns._renderer = OnceFull()
    bench.run()
    assert bench.numbers(Done) == [0]


def test_encoding_previews_and_decoding_are_paid_for_too(make_spec):
    bench = Bench(make_spec(), previews=True)
    bench.turns._renderer = CostlyRenderer()
    bench.run()
    assert bench.said[-1].gpu_s >= 0.3


@pytest.mark.parametrize("prompt", ["!misfit", "!oom", "!nan"])
def test_failures_say_what_they_cost(make_spec, prompt):
    bench = Bench(make_spec(prompt))
    bench.turns._renderer = CostlyRenderer()
    bench.run()
    [failed] = (message for message in bench.said if isinstance(message, Failed))
    assert failed.gpu_s > (0.0 if prompt == "!misfit" else 0.1)


def test_leaving_says_what_it_cost(specs):
    bench = Bench(*specs("!slow"))
    bench.turns.turn()
    bench.inbox.put(Drop(0))
    bench.put(1, specs("", "b")[1])
    bench.run()
    [dropped] = (message for message in bench.said if isinstance(message, Dropped))
    assert SLOW_STEP_S <= dropped.gpu_s < 2 * SLOW_STEP_S


def test_previews_go_to_those_who_asked_after_steps_but_not_too_often(make_spec, monkeypatch):
    spec = make_spec(num_inference_steps=5, width=64, height=8)
    bench = Bench(spec, previews=True)
    bench.put(1, make_spec(seed=1))
    bench.run()
    looks = [message for message in bench.said if isinstance(message, Previewed)]
    assert looks == [Previewed(0, draw(spec, 8, 1))], (
        "one in a fifth of a second, none of picture 1"
    )
    kinds = [type(message) for message in bench.said]
    assert kinds.index(Stepped) < kinds.index(Previewed)
    monkeypatch.setattr(turn_module, "PREVIEW_EVERY_S", 0.0)
    often = Bench(spec, previews=True)
    often.run()
    assert len(often.numbers(Previewed)) == 4, "the last step is followed by the picture itself"


class BlindRenderer(RecordingRenderer):
    def preview(self, picture: FakeDenoising) -> Picture:
        raise MemoryError("no room for a look")


def test_a_preview_that_fails_harms_nobody(make_spec):
    bench = Bench(make_spec(), previews=True)
    bench.turns._renderer = BlindRenderer()
    bench.run()
    assert bench.numbers(Done) == [0]
    assert bench.numbers(Previewed) == []
