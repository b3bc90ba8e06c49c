"""Orders: verdicts without processes, above all when messages and departures cross."""

from __future__ import annotations

import pytest

from imagegen.engine import orders as orders_module
from imagegen.engine.fake import FakeRenderer
from imagegen.engine.messages import Done, Drop, Dropped, Failed, Ready, Render, Stepped
from imagegen.engine.orders import Orders, Progress
from imagegen.errors import Cancelled, DeadlineExceeded, Draining, Quarantined, RenderFailed

MODEL = FakeRenderer().load(lambda _: None)


def done(number: int) -> Done:
    return Done(number, pixels=b"rgb", warnings=("w",), render_s=2.0, gpu_s=1.5)


@pytest.fixture
def orders() -> Orders:
    orders = Orders(max_queue=8, max_rows=2)
    orders.hear(Ready(MODEL))
    return orders


def submit(orders: Orders, *specs, now: float = 0.0, on_event=None):
    futures = orders.submit(specs, "", now, 10.0, on_event)
    orders.admit(now + 1.0)
    return futures


def tell(verdicts) -> None:
    for verdict in verdicts:
        verdict.tell()


def test_what_is_admitted_is_sent_and_what_is_done_is_measured(orders, make_spec):
    [future] = submit(orders, make_spec())
    assert list(orders.outbox) == [Render(1, make_spec())]
    [verdict] = orders.hear(done(1))
    verdict()
    rendering = future.result(0)
    assert (rendering.queue_s, rendering.render_s, rendering.gpu_s) == (1.0, 2.0, 1.5)
    assert (rendering.pixels, rendering.warnings, rendering.model) == (b"rgb", ("w",), MODEL)
    assert not orders


def test_progress_names_the_place_in_the_submission(orders, make_spec):
    seen: list[Progress] = []
    submit(orders, make_spec(seed=1), make_spec(seed=2), on_event=seen.append)
    for call in orders.hear(Stepped(2, step=1, of=3)):
        call()
    assert seen == [Progress(index=1, step=1, of=3)]


def test_news_that_cross_a_departure_are_ignored(orders, make_spec):
    futures = submit(orders, *(make_spec(seed=seed) for seed in range(3)))
    tell(orders.cancel(futures[:2]))
    assert list(orders.outbox)[2:] == [Drop(1), Drop(2)]
    assert orders.hear(Stepped(1, 1, 3)) == []
    assert orders.running == 2, "their rows are in use until the step ends"
    assert orders.hear(done(1)) == []
    assert orders.hear(Dropped(2)) == []
    orders.admit(2.0)
    assert orders.outbox[-1] == Render(3, make_spec(seed=2))
    assert all(isinstance(future.exception(0), Cancelled) for future in futures[:2])


def test_expired_orders_are_told_how_long_they_had(orders, make_spec):
    [future] = submit(orders, make_spec())
    assert orders.due() == 10.0
    assert orders.expire(9.9) == []
    tell(orders.expire(10.0))
    with pytest.raises(DeadlineExceeded, match="within 10 s"):
        future.result(0)


def test_a_lost_process_is_forgiven_once_and_unsent_words_to_it_are_dropped(orders, make_spec):
    [future] = submit(orders, make_spec())
    assert orders.lost(blame=True) == []
    assert not orders.outbox
    orders.admit(5.0)
    tell(orders.lost(blame=True))
    assert isinstance(future.exception(0), Quarantined)
    with pytest.raises(Quarantined):
        submit(orders, make_spec())
    assert submit(orders, make_spec(seed=99))


def test_the_quarantine_is_bounded(orders, make_spec, monkeypatch):
    monkeypatch.setattr(orders_module, "QUARANTINE_SIZE", 1)
    for seed in (1, 2):
        submit(orders, make_spec(seed=seed))
        orders.lost(blame=True)
        orders.admit(0.0)
        orders.lost(blame=True)
    assert submit(orders, make_spec(seed=1))
    with pytest.raises(Quarantined):
        submit(orders, make_spec(seed=2))


def test_closing_gives_each_open_order_an_error_of_its_own(orders, make_spec):
    failed, *rest = submit(orders, *(make_spec(seed=seed) for seed in range(4)))
    for call in orders.hear(Failed(1, "not finite")):
        call()
    tell(orders.close(lambda: Draining("shutting down", 1.0)))
    assert isinstance(failed.exception(0), RenderFailed)
    errors = [future.exception(0) for future in rest]
    assert all(isinstance(error, Draining) for error in errors)
    assert len(set(map(id, errors))) == 3, "raising one error in many threads mixes tracebacks"
    assert orders.waiting == 0
