"""What was acknowledged outlives its caller and its instance: two instances on one store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sample_brands import write_brands
from sent_pictures import scene, text_of

from imagegen.application import Application
from imagegen.bootstrap import build
from imagegen.callers import NOBODY, Caller
from imagegen.errors import (
    Cancelled,
    Draining,
    IdempotencyConflict,
    NotCancellable,
    QueueFull,
    RenderFailed,
    StorageUnavailable,
    UnknownGeneration,
)
from imagegen.generation import GenerationRequest
from imagegen.generations import books, watch
from imagegen.generations.books import KeptThroughout
from imagegen.generations.records import GenerationRecord
from imagegen.generations.register import ListQuery
from imagegen.settings import Settings
from imagegen.storage.record_folder import FolderRecords

Start = Callable[[], Application]
ANNA = Caller("anna", owner="anna")


def asked(**fields: object) -> GenerationRequest:
    return GenerationRequest.model_validate({"brand": "aurora", "prompt": "a mug"} | fields)


SLOW = {"prompt": "!slow", "num_inference_steps": 4}


def until(condition: Callable[[], bool], within_s: float = 15) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within_s
        time.sleep(0.02)


@pytest.fixture(scope="module")
def brands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_brands(tmp_path_factory.mktemp("brands"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def start(brands: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Another instance on the same folder; everything is quicker than it would be."""
    monkeypatch.setattr(books, "LEASE_S", 1.0)
    monkeypatch.setattr(books, "RENEW_S", 0.2)
    monkeypatch.setattr(watch, "LOOK_S", 0.1)
    monkeypatch.setattr(watch, "IDLE_LOOK_S", 0.1)
    made: list[Application] = []

    def another() -> Application:
        application = build(
            Settings(model="fake", presets=str(brands), storage=f"file:{folder}", max_queue=8)
        )
        application.start()
        application.engine.wait_ready(20)
        made.append(application)
        return application

    yield another
    for application in made:
        application.stop()


def kill(application: Application) -> None:
    """As kill -9 would: nothing is renewed, nothing is written any more."""

    def dead(*_: object) -> None:
        raise StorageUnavailable("dead", 1.0)

    application.generations.watch.close()
    register = application.generations._register
    for name in ("create", "change", "replace", "close", "ring", "open"):
        setattr(register, name, dead)


def stored(application: Application, generation_id: str) -> GenerationRecord:
    held = application.generations._register.find(generation_id)
    assert held is not None
    return held.record


def pictures(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.rglob("*.png"))


def test_it_is_in_storage_before_it_is_acknowledged(start: Start, folder: Path) -> None:
    one = start()
    started = one.generations.start(asked(**SLOW, num_images=2), NOBODY, lives_on=True)
    record = stored(one, started.id)
    assert (record.status, record.attempt) == ("queued", 1)
    assert record.lease is not None
    assert one.generations._register.all_open().keys() == {started.id}
    assert started.result().status == "succeeded"
    ended = stored(one, started.id)
    assert (ended.status, ended.lease) == ("succeeded", None)
    assert ended.generation() == one.generations.record(started.id, NOBODY).generation()
    assert one.generations._register.all_open() == {}
    assert len(pictures(folder)) == 2


def test_it_lives_on_though_nobody_waits(start: Start) -> None:
    one = start()
    started = one.generations.start(asked(**SLOW), NOBODY, lives_on=True)
    with pytest.raises(Cancelled):
        started.result(wanted=lambda: False)
    until(lambda: stored(one, started.id).status == "succeeded")


def test_any_instance_says_what_is_known(start: Start) -> None:
    one, two = start(), start()
    started = one.generations.start(asked(**SLOW), NOBODY, lives_on=True)
    assert two.generations.record(started.id, NOBODY).status == "queued"
    until(lambda: two.generations.record(started.id, NOBODY).status == "running")
    followed = two.generations.find(started.id, NOBODY)
    assert [event.kind for event in followed.events()] == ["queued", "image", "done"]
    assert followed.result() == started.result()
    assert followed.files() == started.files()
    [event] = list(followed.events())[-1:]
    assert followed.is_over(event.number)
    assert not followed.is_over(3)


def test_a_dead_instances_generation_is_adopted_and_made_once(start: Start, folder: Path) -> None:
    one, two = start(), start()
    started = one.generations.start(asked(**SLOW, num_images=2), ANNA, lives_on=True)
    until(lambda: len(pictures(folder)) == 0 and stored(one, started.id).status == "running")
    kill(one)
    until(lambda: stored(two, started.id).status == "succeeded")
    record = stored(two, started.id)
    assert (record.attempt, record.term) == (2, 1)
    assert two.generations.watch.adopted == 1
    until(lambda: len(one.generations) == 0)
    assert len(pictures(folder)) == 2, "both instances stored the same ones"
    seeds = [image.seed for image in record.images]
    assert seeds == [record.request.seed, (record.request.seed or 0) + 1]
    until(lambda: two.generations.record(started.id, ANNA).images == record.images)
    with pytest.raises(UnknownGeneration):
        two.generations.record(started.id, NOBODY)
    assert [one.id for one in two.generations.list(ANNA, ListQuery()).records] == [started.id]


def test_events_go_on_with_higher_numbers_where_it_is_adopted(start: Start) -> None:
    one, two = start(), start()
    started = one.generations.start(asked(**SLOW, num_images=2), NOBODY, lives_on=True)
    heard = started.heard(0, 5)
    until(lambda: stored(one, started.id).status == "running")
    kill(one)
    until(lambda: len(two.generations) == 1)
    events = list(two.generations.find(started.id, NOBODY).events(after=heard[-1].number))
    assert [event.kind for event in events][-1] == "done"
    assert min(event.number for event in events) > max(event.number for event in heard)


def test_pictures_that_were_sent_go_along(start: Start) -> None:
    one, two = start(), start()
    request = asked(**SLOW, init_image=text_of(scene(64, 40)), strength=1.0)
    started = one.generations.start(request, NOBODY, lives_on=True)
    assert stored(one, started.id).request.init_image is None, "a record is small"
    kill(one)
    until(lambda: stored(two, started.id).status == "succeeded")
    store = FolderRecords(two.settings.storage.removeprefix("file:"))
    until(lambda: store.names("imagegen-generations/inputs") == [])  # nobody needs them any more


def test_one_that_ends_its_instances_ends_as_failed(start: Start) -> None:
    instances = [start() for _ in range(3)]
    last = instances[-1]
    started = instances[0].generations.start(asked(**SLOW), NOBODY, lives_on=True)
    for attempt in range(1, 4):
        until(lambda attempt=attempt: stored(last, started.id).attempt == attempt)  # type: ignore[misc]
        lease = stored(last, started.id).lease
        assert lease is not None
        [holder] = [one for one in instances if one.generations._holder == lease.holder]
        kill(holder)
    last = start()
    until(lambda: stored(last, started.id).status == "failed")
    with pytest.raises(RenderFailed, match="3 instances"):
        last.generations.find(started.id, NOBODY).result()


def test_draining_gives_back_what_has_not_begun(start: Start) -> None:
    one = start()
    first = one.generations.start(asked(**SLOW, num_images=4), NOBODY, lives_on=True)
    second = one.generations.start(asked(num_images=4), NOBODY, key="k")
    until(lambda: stored(one, first.id).status == "running")
    two = start()
    began = time.monotonic()
    drain = threading.Thread(target=one.drain, args=(8.0, 8.4))
    drain.start()
    with pytest.raises(Draining):
        second.result()
    with pytest.raises(Draining):
        list(second.events())
    until(lambda: stored(two, second.id).status == "succeeded")
    assert time.monotonic() - began < 5
    record = stored(two, second.id)
    assert (record.attempt, record.term) == (1, 1), "it was not its fault"
    assert two.generations.start(asked(num_images=4), NOBODY, key="k").result().id == second.id
    assert first.result().status == "succeeded", "what can be made in time is"
    drain.join()


def test_draining_ends_the_wait_for_what_another_instance_makes(start: Start) -> None:
    one, two = start(), start()
    long = asked(prompt="!slow", num_inference_steps=90)
    started = one.generations.start(long, NOBODY, key="k")
    again = two.generations.start(long, NOBODY, key="k")
    with ThreadPoolExecutor() as pool:
        waits = pool.submit(again.result)
        two.drain(1.0, 2.0)
        with pytest.raises(Draining):
            waits.result(1.0)
    assert not started.is_over(0)


def test_draining_gives_back_what_cannot_be_ready(start: Start) -> None:
    one, two = start(), start()
    long = asked(prompt="!slow", num_inference_steps=20)
    started = one.generations.start(long, NOBODY, lives_on=True)
    until(lambda: stored(one, started.id).status == "running")
    one.drain(1.0, 2.0)
    assert len(one.generations) == 0
    until(lambda: stored(two, started.id).status == "succeeded")


# Keys


def test_the_same_key_is_the_same_generation_at_any_instance(start: Start, folder: Path) -> None:
    one, two = start(), start()
    request = asked(**SLOW, num_images=2)
    instances = [one, two] * 8

    def ask(application: Application) -> tuple[str, str]:
        started = application.generations.start(request, NOBODY, key="order 66")
        generation = started.result()
        return generation.id, generation.images[0].sha256

    with ThreadPoolExecutor(16) as pool:
        answers = set(pool.map(ask, instances))
    assert len(answers) == 1
    assert len(pictures(folder)) == 2
    assert len(one.generations.list(NOBODY, ListQuery()).records) == 1
    assert ask(start()) in answers, "after a restart, too"


def test_another_body_under_a_key_is_refused(start: Start) -> None:
    one = start()
    one.generations.start(asked(**SLOW), NOBODY, key="k")
    for _ in range(2):  # while it is rendered, and after
        with pytest.raises(IdempotencyConflict):
            one.generations.start(asked(prompt="a cup"), NOBODY, key="k")
        one.generations.start(asked(**SLOW), NOBODY, key="k").result()
    said = asked(**SLOW, num_images=1, output_format="png", exact=False, deadline_s=9.0)
    assert one.generations.start(said, NOBODY, key="k").result(), "what is not said is the same"
    theirs = one.generations.start(asked(prompt="a cup"), ANNA, key="k")
    assert theirs.result().status == "succeeded", "another caller has keys of his own"


def test_a_keys_failure_is_told_again(start: Start) -> None:
    one = start()
    ids = set()
    for _ in range(2):
        started = one.generations.start(asked(prompt="!nan"), NOBODY, key="k")
        ids.add(started.id)
        with pytest.raises(RenderFailed):
            started.result()
    assert len(ids) == 1


def test_a_key_that_was_refused_is_free(start: Start) -> None:
    one = start()
    blocking = one.generations.start(
        asked(prompt="!slow", num_inference_steps=90, num_images=8), NOBODY
    )
    with pytest.raises(QueueFull):
        one.generations.start(asked(num_images=8), NOBODY, key="k")
    assert one.generations._register.all_open() == {}
    with pytest.raises(Cancelled):
        blocking.result(wanted=lambda: False)
    until(lambda: len(one.generations) == 0)
    assert one.generations.start(asked(num_images=1), NOBODY, key="k").result()


def test_a_keys_generation_whose_mark_was_lost_is_taken_up(start: Start) -> None:
    one = start()
    started = one.generations.start(asked(**SLOW), NOBODY, key="k")
    kill(one)
    FolderRecords(one.settings.storage.removeprefix("file:")).remove(
        f"imagegen-generations/open/{started.id}"
    )
    two = start()
    time.sleep(1.5)
    assert stored(two, started.id).is_open, "nobody knows of it"
    again = two.generations.start(asked(**SLOW), NOBODY, key="k")
    assert again.id == started.id
    assert again.result().status == "succeeded"


# Cancelling


def test_who_holds_it_cancels_within_a_step(start: Start) -> None:
    one = start()
    long = asked(prompt="!slow", num_inference_steps=90)
    started = one.generations.start(long, NOBODY, lives_on=True)
    assert one.generations.cancel(started.id, NOBODY).status == "cancelled"
    with pytest.raises(Cancelled):
        started.result()
    assert stored(one, started.id).status == "cancelled"
    until(lambda: one.engine.status().running == 0)
    with pytest.raises(NotCancellable):
        one.generations.cancel(started.id, NOBODY)


def test_another_instance_hears_that_it_is_not_wanted(start: Start, folder: Path) -> None:
    one, two = start(), start()
    long = asked(prompt="!slow", num_inference_steps=90)
    started = one.generations.start(long, ANNA, lives_on=True)
    with pytest.raises(UnknownGeneration):
        two.generations.cancel(started.id, NOBODY)
    began = time.monotonic()
    assert two.generations.cancel(started.id, ANNA).status == "cancelled"
    assert time.monotonic() - began < 2
    with pytest.raises(Cancelled):
        started.result()
    assert one.generations._register.all_open() == {}
    assert pictures(folder) == []


def test_a_wish_is_heard_though_it_came_before_the_first_look(start: Start) -> None:
    one, two = start(), start()
    one.generations.watch.close()
    long = asked(prompt="!slow", num_inference_steps=90)
    started = one.generations.start(long, NOBODY, lives_on=True)
    one.generations.watch._renew_at = time.monotonic() + 60
    two.generations._archive.cancel(started.id, NOBODY, 0.0)
    one.generations.watch.look()
    with pytest.raises(Cancelled):
        started.result()


def test_what_nobody_holds_is_cancelled_at_once(start: Start) -> None:
    one = start()
    started = one.generations.start(asked(**SLOW), NOBODY, lives_on=True)
    kill(one)
    kept = one.generations._running[started.id].books
    assert isinstance(kept, KeptThroughout)
    time.sleep(1.1)
    two = start()
    two.generations.watch.rest()
    try:
        assert two.generations.cancel(started.id, NOBODY).status == "cancelled"
    except NotCancellable:  # adopted and made before it could rest
        assert stored(two, started.id).status == "succeeded"


def test_what_has_ended_cannot_be_cancelled(start: Start) -> None:
    one, two = start(), start()
    started = one.generations.start(asked(), NOBODY)
    started.result()
    for application in (one, two):
        with pytest.raises(NotCancellable, match="succeeded"):
            application.generations.cancel(started.id, NOBODY)


def test_marks_that_stand_for_nothing_go(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_FORGOTTEN_S", 0.2)
    one = start()
    started = one.generations.start(asked(), NOBODY)
    started.result()
    one.generations._register.open(started.id)  # as if its instance had died just before
    one.generations._register.open("gen_" + "f" * 20)  # and this one before it was recorded
    until(lambda: one.generations._register.all_open() == {})
