"""Generations with a real render process that draws gradients: what is waited for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sample_brands import write_brands

from imagegen.application import Application
from imagegen.bootstrap import build
from imagegen.callers import NOBODY, Caller
from imagegen.errors import (
    BannedTerm,
    Cancelled,
    Draining,
    QueueFull,
    RenderFailed,
    StorageUnavailable,
    UnknownGeneration,
)
from imagegen.generation import GenerationRequest
from imagegen.generations import Generations
from imagegen.generations.register import ListQuery
from imagegen.settings import Settings

Make = Callable[..., Application]


def asked(**fields: object) -> GenerationRequest:
    return GenerationRequest.model_validate({"brand": "aurora", "prompt": "a mug"} | fields)


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    brands = write_brands(tmp_path_factory.mktemp("brands"))
    made: list[Application] = []

    def start(folder: Path) -> Application:
        settings = Settings(
            model="fake", presets=str(brands), storage=f"file:{folder}", max_queue=8
        )
        application = build(settings)
        application.start()
        application.engine.wait_ready(20)
        made.append(application)
        return application

    yield start
    for application in made:
        application.stop()


@pytest.fixture(scope="module")
def application(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Application:
    return make(tmp_path_factory.mktemp("output"))


@pytest.fixture
def generations(application: Application) -> Iterator[Generations]:
    yield application.generations
    until = time.monotonic() + 10
    while len(application.generations):  # whoever left has not left the batch yet
        assert time.monotonic() < until
        time.sleep(0.02)


def test_what_is_answered_is_what_is_kept(generations: Generations) -> None:
    started = generations.start(asked(num_images=2, seed=0, campaign="spring"), NOBODY)
    generation = started.result()
    record = generations.record(started.id, NOBODY)
    assert record.generation() == generation
    assert [image.seed for image in record.images] == [0, 1]
    assert started.files() == generations.find(started.id, NOBODY).files()
    listed = generations.list(NOBODY, ListQuery(campaign="spring"))
    assert [one.id for one in listed.records] == [started.id]


def test_a_plain_request_writes_its_record_once(
    generations: Generations, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    store = generations._register._store
    for name in ("read", "write", "remove", "names"):
        call = getattr(store, name)

        def counted(path: str, *said: Any, name: str = name, call: Any = call) -> Any:
            if threading.current_thread().name.startswith("gen_"):
                calls.append(f"{name} {path.split('/')[1]}")
            return call(path, *said)

        monkeypatch.setattr(store, name, counted)
    generations.start(asked(num_images=3), NOBODY).result()
    assert calls == ["write index", "write records"]
    calls.clear()
    generations.start(asked(num_images=3), NOBODY, lives_on=True).result()
    assert calls == [
        "write open", "write records", "write index", "write records", "remove open",
    ]  # fmt: skip


def test_every_event_is_there_in_order_also_later(generations: Generations) -> None:
    started = generations.start(asked(num_images=2, num_inference_steps=3), NOBODY, previews=True)
    events = list(started.events())
    kinds = [event.kind for event in events]
    assert kinds[0] == "queued"
    assert kinds[-1] == "done"
    assert kinds.count("step") == 6
    assert kinds.count("image") == 2
    numbers = [event.number for event in events]
    assert numbers == sorted(set(numbers))
    again = list(generations.find(started.id, NOBODY).events(after=numbers[2]))
    assert again == [event for event in events if event.number > numbers[2]]


def test_a_number_that_nobody_gave_is_told_the_end(make: Make, tmp_path: Path) -> None:
    one, two = make(tmp_path), make(tmp_path)
    request = asked(prompt="!slow", num_inference_steps=4)
    started = one.generations.start(request, NOBODY, lives_on=True)
    heard = [
        list(application.generations.find(started.id, NOBODY).events(after=10**14))
        for application in (one, two)
    ]
    assert [[event.kind for event in events] for events in heard] == [["done"], ["done"]]


def test_what_is_refused_leaves_nothing(generations: Generations) -> None:
    before = generations.list(NOBODY, ListQuery(limit=100)).records
    with pytest.raises(BannedTerm):
        generations.start(asked(prompt="a casino"), NOBODY)
    assert generations.list(NOBODY, ListQuery(limit=100)).records == before
    assert len(generations) == 0


def test_a_failure_is_kept_with_its_reason(generations: Generations) -> None:
    started = generations.start(asked(prompt="!nan"), NOBODY)
    with pytest.raises(RenderFailed, match=started.id):
        started.result()
    record = generations.record(started.id, NOBODY)
    assert record.status == "failed"
    assert record.error is not None
    assert record.error.code == "render_failed"
    with pytest.raises(RenderFailed, match=started.id):
        generations.find(started.id, NOBODY).result()


def test_a_caller_who_leaves_ends_it(application: Application, generations: Generations) -> None:
    started = generations.start(asked(prompt="!slow", num_inference_steps=50), NOBODY)
    with pytest.raises(Cancelled):
        started.result(wanted=lambda: False)
    with pytest.raises(Cancelled):
        started.result()
    assert generations.record(started.id, NOBODY).status == "cancelled"
    assert application.engine.status().queued == 0
    assert [event.kind for event in started.events()][-1] == "error"


def test_somebody_elses_does_not_exist(generations: Generations) -> None:
    anna, bert = Caller("anna", owner="anna"), Caller("bert", owner="bert")
    started = generations.start(asked(prompt="!slow", num_inference_steps=2), anna)
    for _ in range(2):  # while it is rendered, and after
        with pytest.raises(UnknownGeneration) as theirs:
            generations.record(started.id, bert)
        with pytest.raises(UnknownGeneration) as nobodys:
            generations.record("gen_" + "0" * 20, bert)
        assert theirs.value.detail.replace(started.id, "") == nobodys.value.detail.replace(
            "gen_" + "0" * 20, ""
        )
        with pytest.raises(UnknownGeneration):
            generations.find(started.id, bert)
        with pytest.raises(UnknownGeneration):
            generations.record(started.id, Caller("anna", frozenset({"pop"}), owner="anna"))
        started.result()
    assert generations.list(bert, ListQuery()).records == ()
    assert [one.id for one in generations.list(anna, ListQuery()).records] == [started.id]


def test_the_same_seed_in_flight_is_rendered_once(generations: Generations) -> None:
    joined = generations.joined
    request = asked(prompt="!slow", seed=5, num_inference_steps=2)
    first, second = (generations.start(request, NOBODY) for _ in range(2))
    assert first.id == second.id
    assert generations.joined == joined + 1
    with pytest.raises(Cancelled):
        second.result(wanted=lambda: False)
    assert first.result().status == "succeeded", "one of two who waited has left"
    assert generations.start(request, NOBODY).id != first.id, "it has ended"


def test_without_a_seed_only_whoever_says_so_asks_again(generations: Generations) -> None:
    request = asked(prompt="!slow", num_inference_steps=2)
    first, second = (generations.start(request, NOBODY) for _ in range(2))
    assert first.id != second.id, "two are wanted"
    again = generations.start(request, NOBODY, is_retry=True)
    assert again.id == second.id
    assert generations.start(request, Caller("other"), is_retry=True).id != second.id
    assert {one.result().status for one in (first, second, again)} == {"succeeded"}


def test_a_full_queue_refuses_before_anything_is_kept(generations: Generations) -> None:
    slow = asked(prompt="!slow", num_images=8, num_inference_steps=90)
    first = generations.start(slow, NOBODY)
    with pytest.raises(QueueFull):
        generations.start(asked(num_images=8), NOBODY)
    assert generations.position(first.id) is None or generations.position(first.id) == 0
    with pytest.raises(Cancelled):
        first.result(wanted=lambda: False)


def test_positions_are_pictures_that_came_before(generations: Generations) -> None:
    slow = asked(prompt="!slow", num_images=2, num_inference_steps=9)
    started = [generations.start(slow, NOBODY) for _ in range(3)]
    deadline = time.monotonic() + 5
    while generations.position(started[0].id) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert generations.position(started[2].id) == 2
    for one in started:
        with pytest.raises(Cancelled):
            one.result(wanted=lambda: False)


def test_a_store_that_fails_is_told_and_forgotten(make: Make, tmp_path: Path) -> None:
    application = make(tmp_path / "store")
    (tmp_path / "store").rename(tmp_path / "moved")
    (tmp_path / "store").write_text("no folder")
    started = application.generations.start(asked(), NOBODY)
    with pytest.raises(StorageUnavailable):
        started.result()
    assert len(application.generations) == 0


def test_eight_at_once(generations: Generations) -> None:
    def ask(seed: int) -> int:
        return generations.start(asked(seed=seed), NOBODY).result().images[0].seed

    with ThreadPoolExecutor(8) as callers:
        assert list(callers.map(ask, range(8))) == list(range(8))


def test_draining_refuses_the_new(make: Make, tmp_path: Path) -> None:
    application = make(tmp_path)
    application.service.door.close()
    with pytest.raises(Draining):
        application.generations.start(asked(), NOBODY)
