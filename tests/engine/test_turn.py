"""Turns, in this process: admit, step, retire, report, also when a picture misbehaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from queue import SimpleQueue

import pytest

from imagegen.engine.fake import FakeDenoising, FakeRenderer
from imagegen.engine.messages import (
    Done,
    Drop,
    Dropped,
    Failed,
    FromChild,
    Heartbeat,
    Render,
    Stepped,
    ToChild,
)
from imagegen.engine.turn import PoisonedRenderer, Turns
from imagegen.generation import RenderSpec


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

    def __init__(self, *specs: RenderSpec, rows_that_fit: int | None = None, max_rows: int = 8):
        self.renderer = RecordingRenderer(rows_that_fit)
        self.inbox: SimpleQueue[ToChild] = SimpleQueue()
        self.said: list[FromChild] = []
        self.turns = Turns(self.renderer, self.inbox, self.said.append, max_rows)
        self.expected = len(specs)
        for number, spec in enumerate(specs):
            self.inbox.put(Render(number, spec))

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
        *(Heartbeat, Heartbeat, Stepped, Done),  # step, finish
    ]
    steps = [message.step for message in bench.said if isinstance(message, Stepped)]
    assert steps == [1, 2, 3]
    done = bench.said[-1]
    assert len(done.pixels) == 24 * 16 * 3
    assert "past the text encoder" in done.warnings[0]
    assert 0 < done.gpu_s < done.render_s


def test_pictures_join_and_leave_between_steps(make_spec):
    long, short = make_spec(seed=0, num_inference_steps=5), make_spec(seed=1)
    bench = Bench(long)
    bench.turns.turn()
    bench.inbox.put(Render(1, short))
    bench.expected = 2
    bench.run()
    assert bench.renderer.steps[0] == [0]
    assert sorted(bench.renderer.steps[1]) == [0, 1]
    assert bench.numbers(Done) == [1, 0]


def test_exact_pictures_and_other_sizes_take_turns(make_spec):
    bench = Bench(
        make_spec(seed=0), make_spec(seed=1, exact=True), make_spec(seed=2, width=64),
        make_spec(seed=3),
    )  # fmt: skip
    bench.run()
    assert {tuple(sorted(step)) for step in bench.renderer.steps} == {(0, 3), (1,), (2,)}
    assert bench.renderer.steps[:3] == [[0, 3], [1], [2]]


def test_out_of_memory_is_tried_again_once_with_half_the_rows(specs):
    bench = Bench(*specs("a", "b", "c", "d"), rows_that_fit=2)
    bench.run()
    assert [len(step) for step in bench.renderer.steps][:2] == [4, 2]
    assert max(len(step) for step in bench.renderer.steps[1:]) == 2, "the lesson is kept"
    assert sorted(bench.numbers(Done)) == [0, 1, 2, 3]


def test_out_of_memory_also_with_half_the_rows_fails_those(specs):
    bench = Bench(*specs("!oom"))
    bench.run()
    assert bench.numbers(Failed) == [0]
    assert bench.renderer.steps == [[0], [0]]
    assert "memory" in bench.said[-1].text


def test_the_memory_lesson_is_forgotten_when_idle(specs):
    bench = Bench(*specs("!oom"))
    bench.run()
    for number in (1, 2):
        bench.inbox.put(Render(number, specs("", "a", "b")[number]))
    bench.expected = 3
    bench.run()
    assert bench.renderer.steps[-1] == [1, 2]


def test_a_pictures_own_failure_fails_only_itself(specs):
    bench = Bench(*specs("a", "!nan", "b", "!misfit"))
    bench.run()
    assert sorted(bench.numbers(Failed)) == [1, 3]
    assert sorted(bench.numbers(Done)) == [0, 2]


def test_an_unexpected_failure_fails_the_step_and_ends_the_renderer(specs, make_spec):
    bench = Bench(*specs("a", "!boom"), make_spec("elsewhere", width=64))
    with pytest.raises(PoisonedRenderer, match="RuntimeError: the prompt asked"):
        bench.run()
    assert bench.numbers(Failed) == [0, 1], "the picture of another step is not told a failure"


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
    bench.inbox.put(Render(1, specs("", "b")[1]))
    bench.expected = 2
    bench.run()
    assert bench.numbers(Dropped) == []


def test_the_share_of_a_step_is_divided_by_its_rows(specs):
    bench = Bench(*specs("!slow", "b"))
    bench.run()
    shares = [message.gpu_s for message in bench.said if isinstance(message, Done)]
    assert shares[0] == shares[1]
    assert shares[0] >= 3 * 0.25 / 2
