"""StartTimes: how long a start takes is known from those before it, and never stands in its way."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from sample_brands import write_brands

from imagegen.application import Application
from imagegen.bootstrap import build
from imagegen.engine.fake import FakeRenderer
from imagegen.engine.process import RenderProcess
from imagegen.engine.renderer import PHASES
from imagegen.errors import StorageUnavailable
from imagegen.generation import ModelInfo
from imagegen.settings import Settings
from imagegen.start_times import KEPT, StartTimes
from imagegen.storage.local import LocalStorage

START = {"container": 0.5, "import": 2.0, "fetch": 0.0, "load": 1.0, "adapters": 0.25, "warmup": 3}
START_WITH = '{"import": 2, "fetch": 0, "load": %s, "adapters": 0.25, "warmup": 3}'
SETTINGS = Settings(model="fake")


def times(folder: Path, revision: str = "", settings: Settings = SETTINGS) -> StartTimes:
    return StartTimes(LocalStorage(folder), settings, revision)


def until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def test_the_next_start_knows_what_the_last_took(tmp_path: Path) -> None:
    assert times(tmp_path).usual() == {}
    times(tmp_path).keep(START)
    assert times(tmp_path).usual() == {phase: START[phase] for phase in PHASES}


def test_an_odd_start_among_others_does_not_count(tmp_path: Path) -> None:
    for load_s in (1.0, 99.0, 1.2):
        times(tmp_path).keep(START | {"load": load_s})
    assert times(tmp_path).usual()["load"] == 1.2


def test_a_few_starts_are_enough(tmp_path: Path) -> None:
    for _ in range(KEPT + 2):
        times(tmp_path).keep(START)
    assert len(list(tmp_path.rglob("*.json"))) == KEPT


def test_an_application_learns_from_its_start_for_the_next_one(
    tmp_path: Path,
) -> None:
    brands = write_brands(tmp_path / "brands")

    def starting() -> Application:
        built = build(
            Settings(model="fake", presets=str(brands), storage=f"file:{tmp_path}/output")
        )
        engine = RenderProcess(partial(FakeRenderer, load_s=2.0), max_queue=8)
        application = replace(built, engine=engine)
        application.start(container_s=0.5)
        return application

    first = starting()
    try:
        assert first.engine.status().eta_s is None
        until(lambda: len(list(tmp_path.glob("output/imagegen-starts/*/0.json"))) == 1)
    finally:
        first.stop()
    second = starting()
    try:
        until(lambda: second.engine.status().eta_s is not None)
        assert 0 < (second.engine.status().eta_s or 0.0) < 30
    finally:
        second.stop()


@pytest.mark.parametrize("missing", PHASES)
def test_a_start_that_is_not_whole_is_not_kept(tmp_path: Path, missing: str) -> None:
    times(tmp_path).keep({phase: START[phase] for phase in PHASES if phase != missing})
    assert list(tmp_path.rglob("*.json")) == []


class _DiesOnceReady(RenderProcess):
    """As may happen between two looks at it."""

    def wait_ready(self, timeout_s: float) -> ModelInfo:
        model = super().wait_ready(timeout_s)
        assert self.pid is not None
        os.kill(self.pid, signal.SIGKILL)
        until(lambda: not self.status().ready)
        return model


def test_nothing_is_learned_from_a_process_that_is_gone(tmp_path: Path) -> None:
    brands = write_brands(tmp_path / "brands")
    built = build(Settings(model="fake", presets=str(brands), storage=f"file:{tmp_path}/output"))
    engine = _DiesOnceReady(partial(FakeRenderer, load_s=0.5), max_queue=8)
    application = replace(built, engine=engine)
    application.start()
    try:
        application._learn_from_start()
    finally:
        application.stop()
    assert list(tmp_path.glob("output/imagegen-starts/**/*.json")) == []


@pytest.mark.parametrize(
    ("revision", "settings"),
    [("imagegen-00002", SETTINGS), ("", Settings(model="starter")), ("", Settings(device="cpu"))],
)
def test_another_kind_of_start_is_not_compared(
    tmp_path: Path, revision: str, settings: Settings
) -> None:
    times(tmp_path).keep(START)
    assert times(tmp_path, revision, settings).usual() == {}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"load": 1}', START_WITH % '"long"', START_WITH % "-1", START_WITH % "1e999"],
)
def test_what_no_start_left_is_passed_over(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    times(tmp_path).keep(START)
    [kept] = tmp_path.rglob("*.json")
    kept.write_text(text)
    times(tmp_path).keep(START)
    assert times(tmp_path).usual()["load"] == START["load"]
    assert "is passed over" in caplog.text


def test_a_store_out_of_reach_is_a_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_reach(*_: object) -> None:
        raise StorageUnavailable("no way to the bucket", 1.0)

    for method in ("read", "create"):
        monkeypatch.setattr(LocalStorage, method, out_of_reach)
    caplog.set_level(logging.WARNING)
    assert times(tmp_path).usual() == {}
    times(tmp_path).keep(START)
    assert len([record for record in caplog.records if "no way" in record.getMessage()]) == 2
