"""Orders: verdicts without processes, above all when messages and departures cross."""

from __future__ import annotations

import pytest
from sent_pictures import half_mask, scene, sent

from imagegen.edits import edit_of
from imagegen.engine import orders as orders_module
from imagegen.engine.fake import FakeRenderer
from imagegen.engine.messages import (
    Done,
    Drop,
    Dropped,
    Failed,
    Heartbeat,
    Move,
    Previewed,
    Ready,
    Render,
    Stepped,
)
from imagegen.engine.order import Audience, Preview, Progress
from imagegen.engine.orders import Orders
from imagegen.engine.renderer import Picture
from imagegen.errors import (
    Cancelled,
    DeadlineExceeded,
    Draining,
    Quarantined,
    QueueFull,
    RenderFailed,
)
from imagegen.generation import RowLimits
from imagegen.tracing import Trace

TWO_PICTURES = RowLimits(((1_024, 4),))
MODEL = FakeRenderer(row_limits=TWO_PICTURES).load(lambda _: None)
LOOK = Picture(pixels=b"rgb", width=1, height=1)


def done(number: int) -> Done:
    return Done(number, pixels=b"rgb", warnings=("w",), render_s=2.0, gpu_s=1.5)


@pytest.fixture
def orders() -> Orders:
    orders = Orders(max_queue=8)
    orders.hear(Ready(MODEL), 0.0)
    return orders


def submit(orders: Orders, *specs, now: float = 0.0, on_event=None, previews=False, caller=""):
    futures = orders.submit(specs, caller, now, 10.0, Audience(on_event, previews))
    orders.admit(now + 1.0)
    return futures


def tell(verdicts) -> None:
    for verdict in verdicts:
        verdict.tell()


def hear(orders: Orders, *messages, now: float = 0.0) -> None:
    for message in messages:
        for call in orders.hear(message, now):
            call()


def step(*numbers: int, step: int, of: int = 3) -> Stepped:
    moves = tuple(Move(number, step, of) for number in numbers)
    return Stepped(moves, rows=2, pixels=384, seconds=0.1)


def test_what_is_admitted_is_sent_and_what_is_done_is_measured(orders, make_spec):
    [future] = submit(orders, make_spec())
    assert list(orders.outbox) == [
        Render(1, make_spec(), share=0, deadline_at=10.0, previews=False)
    ]
    hear(orders, done(1))
    rendering = future.result(0)
    assert (rendering.queue_s, rendering.render_s, rendering.gpu_s) == (1.0, 2.0, 1.5)
    assert (rendering.pixels, rendering.warnings, rendering.model) == (b"rgb", ("w",), MODEL)
    assert not orders
    assert orders.abandoned_gpu_s == 0.0


def test_callers_are_numbers_to_the_render_process(orders, make_spec):
    for caller, seed in (("10.0.0.1", 1), ("10.0.0.2", 2), ("10.0.0.1", 3)):
        submit(orders, make_spec(seed=seed, guidance_scale=1.0), caller=caller)
    assert [render.share for render in orders.outbox] == [0, 1, 0]
    assert "10.0.0." not in repr(orders.outbox)


def test_progress_names_the_place_and_the_time_left_at_the_picture_s_own_pace(orders, make_spec):
    seen: list[Progress] = []
    submit(orders, make_spec(seed=1), make_spec(seed=2), on_event=seen.append)
    hear(orders, step(1, 2, step=1), now=5.0)
    hear(orders, step(2, step=2), now=7.0)  # the first one waited a turn
    hear(orders, step(1, step=2), now=9.0)
    hear(orders, step(2, step=3), now=9.5)
    assert seen == [
        Progress(0, 1, 3, eta_s=None),
        Progress(1, 1, 3, eta_s=None),
        Progress(1, 2, 3, eta_s=2.0),
        Progress(0, 2, 3, eta_s=4.0),
        Progress(1, 3, 3, eta_s=0.0),
    ]


def test_the_pace_is_measured_anew_after_a_death(orders, make_spec):
    seen: list[Progress] = []
    submit(orders, make_spec(), on_event=seen.append)
    hear(orders, step(1, step=1), now=2.0)
    orders.lost()
    orders.admit(50.0)
    hear(orders, step(1, step=1), now=51.0)
    hear(orders, step(1, step=2), now=52.0)
    assert [event.eta_s for event in seen] == [None, None, 1.0]


@pytest.mark.parametrize(
    ("listens", "previews", "wanted"),
    [(True, True, True), (True, False, False), (False, True, False)],
)
def test_previews_are_made_only_for_somebody_who_asked_and_listens(
    orders, make_spec, listens, previews, wanted
):
    seen = []
    submit(orders, make_spec(), on_event=seen.append if listens else None, previews=previews)
    assert orders.outbox[-1].previews is wanted
    hear(orders, Previewed(1, LOOK))
    assert seen == ([Preview(0, LOOK)] if listens else [])


def test_news_that_cross_a_departure_are_ignored(orders, make_spec):
    seen = []
    specs = [make_spec(seed=seed) for seed in range(3)]
    futures = submit(orders, *specs, on_event=seen.append)
    tell(orders.cancel(futures[:2]))
    assert list(orders.outbox)[2:] == [Drop(1), Drop(2)]
    hear(orders, step(1, 2, step=1), Previewed(1, LOOK))
    assert seen == []
    assert orders.running == 2, "their rows are in use until the step ends"
    hear(orders, done(1), Dropped(2, gpu_s=0.25))
    assert orders.abandoned_gpu_s == 1.75, "what they had cost was in vain"
    orders.admit(2.0)
    assert orders.outbox[-1].spec == specs[2]
    assert all(isinstance(future.exception(0), Cancelled) for future in futures[:2])


def test_the_time_of_a_step_is_learned_by_rows_and_pixels(make_spec):
    orders = Orders(max_queue=1)
    submit(orders, make_spec(width=32))
    hear(orders, Stepped((), rows=2, pixels=24 * 16, seconds=0.75))
    with pytest.raises(QueueFull) as refused:
        submit(orders, *(make_spec(width=32) for _ in range(2)))
    assert refused.value.retry_after_s == pytest.approx(3 * 1.0)


def test_expired_orders_are_told_how_long_they_had(orders, make_spec):
    [future] = submit(orders, make_spec())
    assert orders.due() == 10.0
    assert orders.expire(9.9) == []
    tell(orders.expire(10.0))
    with pytest.raises(DeadlineExceeded, match="within 10 s"):
        future.result(0)


def kill(orders: Orders, *numbers: int) -> list:
    """The process dies in a call for these."""
    orders.hear(Heartbeat(numbers), 0.0)
    return orders.lost()


def test_a_lost_process_is_forgiven_once_and_unsent_words_to_it_are_dropped(orders, make_spec):
    [future] = submit(orders, make_spec())
    assert kill(orders, 1) == []
    assert not orders.outbox
    orders.admit(5.0)
    tell(kill(orders, 1))
    assert isinstance(future.exception(0), Quarantined)
    with pytest.raises(Quarantined):
        submit(orders, make_spec())
    assert submit(orders, make_spec(seed=99))


def test_only_whom_the_last_call_was_for_is_suspected(orders, make_spec):
    submit(orders, make_spec(seed=1), make_spec(seed=2, width=16))
    for _ in range(5):
        assert orders.lost() == [], "it died before any call"
        orders.admit(0.0)
    assert kill(orders, 1) == []
    orders.outbox.clear()
    orders.admit(0.0)
    assert [render.number for render in orders.outbox] == [1], "the suspect first, alone"
    [verdict] = kill(orders, 1)
    assert isinstance(verdict.outcome, Quarantined)
    orders.admit(0.0)
    assert orders.outbox[-1].number == 2


def test_the_quarantine_is_bounded(orders, make_spec, monkeypatch):
    monkeypatch.setattr(orders_module, "QUARANTINE_SIZE", 1)
    for seed in (1, 2):
        submit(orders, make_spec(seed=seed))
        kill(orders, seed)
        orders.admit(0.0)
        kill(orders, seed)
    assert submit(orders, make_spec(seed=1))
    with pytest.raises(Quarantined):
        submit(orders, make_spec(seed=2))


def test_closing_gives_each_open_order_an_error_of_its_own(orders, make_spec):
    failed, *rest = submit(orders, *(make_spec(seed=seed) for seed in range(4)))
    hear(orders, Failed(1, "not finite", gpu_s=0.5))
    assert orders.abandoned_gpu_s == 0.5
    tell(orders.close(lambda: Draining("shutting down", 1.0)))
    assert isinstance(failed.exception(0), RenderFailed)
    errors = [future.exception(0) for future in rest]
    assert all(isinstance(error, Draining) for error in errors)
    assert len(set(map(id, errors))) == 3, "raising one error in many threads mixes tracebacks"
    assert orders.waiting == 0


def draining() -> Draining:
    return Draining("shutting down", 30.0)


def test_who_cannot_be_ready_in_time_is_told_the_furthest_first_and_one_a_step(orders, make_spec):
    near, far = submit(orders, make_spec(seed=1), make_spec(seed=2))
    assert orders.cut(5.0, draining) == [], "nothing is known of a picture that never moved"
    hear(orders, step(1, step=1, of=20), step(2, step=1, of=90), now=1.0)  # 0.1 s a step
    assert orders.cut(9.9, draining) == [], "both have the time"
    tell(orders.cut(2.0, draining))
    assert isinstance(far.exception(0), Draining)
    assert Drop(2) in orders.outbox
    assert orders.cut(2.0, draining) == [], "without it the other may move faster"
    assert not near.done()
    hear(orders, step(1, step=2, of=20), now=1.1)
    tell(orders.cut(2.0, draining))
    assert isinstance(near.exception(0), Draining)


def test_what_is_known_of_a_pace_dies_with_the_process(orders, make_spec):
    submit(orders, make_spec())
    hear(orders, step(1, step=1, of=90), now=1.0)
    tell(orders.lost())
    orders.admit(2.0)
    assert orders.cut(3.0, draining) == []


def test_a_trace_goes_along(orders, make_spec):
    trace = Trace("1" * 32, "2" * 16, sampled=False, request_id="ask-1")
    orders.submit([make_spec()], "", 0.0, 10.0, Audience(None, previews=False, trace=trace))
    orders.admit(1.0)
    assert orders.outbox[0].trace is trace


def test_the_quarantine_knows_an_edit_and_forgets_its_pixels(orders, make_spec):
    edit = edit_of(sent(scene()), sent(half_mask()), 0.7, 24, 16)
    spec = make_spec(edit=edit)
    [future] = submit(orders, spec)
    for _ in range(2):
        number = next(message.number for message in orders.outbox if isinstance(message, Render))
        hear(orders, Heartbeat((number,)))
        tell(orders.lost())
        orders.admit(2.0)
    with pytest.raises(Quarantined):
        future.result(0)
    [known] = orders._quarantine
    assert known.edit.init_image.rows == known.edit.mask.rows == b""
    with pytest.raises(Quarantined):
        submit(orders, spec)
    submit(orders, make_spec(edit=edit_of(sent(scene()), None, 0.7, 24, 16)))
