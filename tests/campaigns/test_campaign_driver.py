"""A campaign goes on, whoever dies; a row is rendered once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sample_brands import write_brands
from sample_records import new_record

from imagegen.application import Application
from imagegen.bootstrap import build
from imagegen.callers import Caller
from imagegen.campaigns import driver as driver_module
from imagegen.campaigns.campaigns import Campaigns
from imagegen.campaigns.driver import Driver
from imagegen.campaigns.plan import Pasted
from imagegen.campaigns.progress import Progress
from imagegen.campaigns.record import CampaignRecord, Wish
from imagegen.campaigns.store import CampaignStore
from imagegen.errors import (
    Draining,
    QueueFull,
    StorageUnavailable,
    UnknownCampaign,
    UnknownGeneration,
)
from imagegen.generation import GenerationRequest
from imagegen.generations.records import GenerationRecord
from imagegen.generations.register import ListQuery
from imagegen.settings import Settings
from imagegen.storage.records import open_records

ANNA, BEN = Caller("anna", owner="anna"), Caller("ben", owner="ben")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    brands = write_brands(tmp_path / "brands")
    return Settings(
        model="fake", presets=str(brands), storage=f"file:{tmp_path}/output", max_queue=16
    )


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "STEP_S", 0.05)
    monkeypatch.setattr(driver_module, "LOOK_S", 0.2)


@pytest.fixture
def application(settings: Settings) -> object:
    application = build(settings)
    application.start()
    application.engine.wait_ready(20)
    yield application
    application.stop()


def wait(check: Callable[[], object], timeout_s: float = 30.0) -> None:
    until = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < until, "it takes too long"
        time.sleep(0.05)


def pasted(*prompts: str) -> Pasted:
    return Pasted("spring", "\n".join(prompts), "aurora")


def now(campaigns: Campaigns, record: CampaignRecord, caller: Caller = ANNA) -> Progress:
    return campaigns.progress(campaigns.find(record.id, caller), caller)


def test_one_thread_of_an_instance_looks_for_campaigns(settings: Settings) -> None:
    before = set(threading.enumerate())
    application = build(settings)
    application.start()
    try:
        begun = set(threading.enumerate()) - before
        assert [thread.name for thread in begun].count("campaigns") == 1
    finally:
        application.stop()


def test_all_rows_are_rendered_once_and_failures_told(application: Application) -> None:
    campaigns = application.campaigns
    record = campaigns.begin(pasted(*(f"mug {n}" for n in range(20)), "!nan"), ANNA)
    wait(lambda: now(campaigns, record).has_ended)
    progress = now(campaigns, record)
    assert [one.status for one in progress.rows] == ["succeeded"] * 20 + ["failed"]
    assert progress.rows[20].error
    listed = application.generations.list(ANNA, ListQuery(campaign="spring", limit=100))
    assert len(listed.records) == 21
    wait(lambda: application.campaigns._store.running() == [])


def test_it_is_there_for_its_owner_alone(application: Application) -> None:
    campaigns = application.campaigns
    record = campaigns.begin(pasted("a mug"), ANNA)
    assert [one.id for one in campaigns.list(ANNA)] == [record.id]
    assert campaigns.list(BEN) == []
    for act in (campaigns.find, campaigns.stop, campaigns.resume, campaigns.retry):
        with pytest.raises(UnknownCampaign):
            act(record.id, BEN)
        with pytest.raises(UnknownCampaign):
            act("../" + record.id, ANNA)
    other_brand = Caller("anna", frozenset({"pop"}), "anna")
    assert campaigns.list(other_brand) == []
    with pytest.raises(UnknownCampaign):
        campaigns.find(record.id, other_brand)


def test_rows_of_brands_that_are_not_his_are_not_there_for_him(application: Application) -> None:
    campaigns = application.campaigns
    text = "brand,prompt\naurora,!nan\npop,a lamp\npop,!nan\nnobody,x"
    record = campaigns.begin(Pasted("both", text), ANNA)
    wait(lambda: now(campaigns, record).has_ended)
    less = Caller("anna", frozenset({"pop"}), "anna")
    shown = campaigns.progress(campaigns.find(record.id, less), less)
    assert [(one.row.line, one.status) for one in shown.rows] == [(3, "succeeded"), (4, "failed")]
    assert campaigns.find(record.id, less).bad_lines == ()
    assert [len(one.rows) for one in campaigns.list(less)] == [2]
    campaigns.retry(record.id, less)
    asked = [row.attempt for row in campaigns.find(record.id, ANNA).rows]
    assert asked == [0, 0, 1], "the failed row of the other brand is not his"
    wait(lambda: now(campaigns, record).has_ended)


def test_stopped_and_resumed(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    campaigns = application.campaigns
    record = campaigns.begin(pasted(*(f"!slow mug {n}" for n in range(20))), ANNA)
    wait(lambda: now(campaigns, record).with_status("running", "succeeded"))
    campaigns.stop(record.id, ANNA)
    wait(lambda: not now(campaigns, record).with_status("queued", "running"))
    stopped = now(campaigns, record)
    assert stopped.with_status("waiting"), "it was stopped before its end"
    time.sleep(0.5)
    assert len(now(campaigns, record).with_status("waiting")) == len(stopped.with_status("waiting"))
    campaigns.resume(record.id, ANNA)
    wait(lambda: now(campaigns, record).has_ended, 60)
    assert len(now(campaigns, record).with_status("succeeded")) == 20


def test_two_who_stop_and_resume_at_once_lose_no_row(application: Application) -> None:
    campaigns = application.campaigns
    record = campaigns.begin(pasted(*(f"!slow mug {n}" for n in range(8))), ANNA)

    def press() -> None:
        for act in (campaigns.stop, campaigns.resume, campaigns.retry) * 4:
            act(record.id, ANNA)

    people = [threading.Thread(target=press) for _ in "12"]
    for one in people:
        one.start()
    for one in people:
        one.join()
    campaigns.resume(record.id, ANNA)
    wait(lambda: now(campaigns, record).has_ended)
    assert len(now(campaigns, record).with_status("succeeded")) == 8
    listed = application.generations.list(ANNA, ListQuery(campaign="spring", limit=100))
    assert len(listed.records) == 8


def test_failed_rows_are_asked_for_again(application: Application) -> None:
    campaigns = application.campaigns
    record = campaigns.begin(pasted("a mug", "!nan", "a lamp"), ANNA)
    wait(lambda: now(campaigns, record).has_ended)
    before = [one.record and one.record.id for one in now(campaigns, record).rows]
    campaigns.retry(record.id, ANNA)
    wait(lambda: now(campaigns, record).has_ended)
    after = [one.record and one.record.id for one in now(campaigns, record).rows]
    assert (before[0], before[2]) == (after[0], after[2])
    assert before[1] != after[1]


class Desk:
    """Renders nothing: it notes what is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.records: dict[str, GenerationRecord] = {}
        self.refuses: Exception | None = None
        self.lock = threading.Lock()

    def start(
        self, request: GenerationRequest, caller: Caller, *, key: str | None = None,
        lives_on: bool = False,
    ) -> Desk:  # fmt: skip
        if self.refuses is not None:
            raise self.refuses
        assert lives_on
        with self.lock:
            self.asked.append(str(key))
        return self

    def leave(self) -> None:
        pass

    def record(self, generation_id: str, caller: Caller) -> GenerationRecord:
        if generation_id not in self.records:
            raise UnknownGeneration("none")
        return self.records[generation_id]


@pytest.fixture
def store(tmp_path: Path) -> CampaignStore:
    return CampaignStore(open_records(f"file:{tmp_path}/store"))


def campaign(store: CampaignStore, rows: int) -> CampaignRecord:
    request = GenerationRequest(brand="aurora", prompt="a mug", seed=1)
    record = CampaignRecord.model_validate(
        {
            "id": store.new_id(datetime.now(UTC)), "name": "x", "owner": "anna", "caller": "anna",
            "created_at": datetime.now(UTC),
            "rows": [{"line": n, "request": request} for n in range(rows)],
        }
    )  # fmt: skip
    store.create(record)
    return record


def test_no_more_is_asked_for_at_a_time_than_there_is_room(store: CampaignStore) -> None:
    desk, record = Desk(), campaign(store, 10)
    driver = Driver(store, desk, 3)  # type: ignore[arg-type]
    mark = store.take(record.id, "me")
    assert mark is not None
    driver._step(mark, set())
    assert desk.asked == [record.key(index) for index in range(3)]


def test_busy_is_waited_for(store: CampaignStore) -> None:
    desk, record = Desk(), campaign(store, 2)
    desk.refuses = QueueFull("full", 7.0)
    driver = Driver(store, desk, 3)  # type: ignore[arg-type]
    mark = store.take(record.id, "me")
    assert mark is not None
    assert driver._step(mark, set()) == 7.0
    assert store.running() == [record.id]


def test_a_store_that_is_away_is_waited_for(
    store: CampaignStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, record = Desk(), campaign(store, 3)
    driver = Driver(store, desk, 1)  # type: ignore[arg-type]
    assert driver.go_on(record.id)
    wait(lambda: desk.asked)

    def away(_: object) -> None:
        raise StorageUnavailable("away", 0.1)

    with monkeypatch.context() as patched:
        patched.setattr(store, "marked", away)
        patched.setattr(desk, "record", away)
        time.sleep(0.5)
        asked = len(desk.asked)
    wait(lambda: len(desk.asked) > asked, 5)
    driver.close()


def test_only_one_holds_it_until_he_is_silent(
    store: CampaignStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = campaign(store, 1)
    assert store.take(record.id, "one") is not None
    assert store.take(record.id, "one") is not None
    assert store.take(record.id, "another") is None
    monkeypatch.setattr("time.time", lambda: time.monotonic() + 1e10)
    assert store.take(record.id, "another") is not None


def test_an_instance_that_ends_gives_its_campaigns_back(store: CampaignStore) -> None:
    record, desk = campaign(store, 2), Desk()
    driver = Driver(store, desk, 1)  # type: ignore[arg-type]
    assert driver.go_on(record.id)
    wait(lambda: desk.asked)
    assert store.take(record.id, "another") is None
    driver.close()
    wait(lambda: store.take(record.id, "another"), 5)
    with pytest.raises(Draining):
        driver.go_on(record.id)


def test_what_has_ended_is_not_called_for_again(store: CampaignStore) -> None:
    record = campaign(store, 1)
    driver = Driver(store, Desk(), 1)  # type: ignore[arg-type]
    assert driver.go_on(record.id)
    store.change(record, lambda one: one.wished("stop"))
    wait(lambda: not driver.go_on(record.id), 5)
    for unknown in ("x", "../x", "8237000000000-01234567"):
        assert not driver.go_on(unknown)


def test_another_instance_goes_on_where_one_died(store: CampaignStore) -> None:
    desk, record = Desk(), campaign(store, 2)
    dead, alive = (Driver(store, desk, 1) for _ in "12")  # type: ignore[arg-type]
    mark = store.take(record.id, dead._holder)
    assert mark is not None
    dead._step(mark, set())
    alive._step(mark, set())
    assert set(desk.asked) == {record.key(0)}, "the same key: the same generation"


@pytest.mark.parametrize("wish", ["run", "stop"])
def test_what_nobody_was_called_for_is_asked_for_again(store: CampaignStore, wish: Wish) -> None:
    desk, record = Desk(), campaign(store, 2)
    dead, alive = (Driver(store, desk, 1) for _ in "12")  # type: ignore[arg-type]
    mark = store.take(record.id, dead._holder)
    assert mark is not None
    by_dead: set[str] = set()
    dead._step(mark, by_dead)
    id_ = record.generation_id(0)
    desk.records[id_] = new_record(id=id_)  # and nobody has it
    dead._step(mark, by_dead)
    assert desk.asked == [record.key(0)]
    store.change(record, lambda one: one.wished(wish))
    by_alive: set[str] = set()
    desk.refuses = StorageUnavailable("away", 0.1)
    alive._step(mark, by_alive)
    desk.refuses = None
    alive._step(mark, by_alive)
    alive._step(mark, by_alive)
    assert desk.asked == [record.key(0)] * 2, "once, by him who goes on"


def test_a_wish_at_the_same_moment_is_not_lost(store: CampaignStore) -> None:
    record = campaign(store, 1)
    driver = Driver(store, Desk(), 1)  # type: ignore[arg-type]
    mark = store.take(record.id, "me")
    assert mark is not None
    stopped = store.change(record, lambda one: one.wished("stop"))
    store.change(record, lambda one: one.wished("run"))
    driver._leave(mark, stopped)
    assert store.running() == [record.id]
