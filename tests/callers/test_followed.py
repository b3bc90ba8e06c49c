"""A file whose changes are noticed, and whose faults change nothing."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from imagegen.callers import followed
from imagegen.callers.followed import Followed
from imagegen.errors import InvalidCallers


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(followed, "time", clock)
    return clock


def parse(data: bytes) -> str:
    if data == b"faulty":
        raise InvalidCallers("faulty")
    return data.decode()


def write(path: Path, text: str) -> None:
    beside = path.with_name("beside")
    beside.write_text(text)
    beside.replace(path)


def test_a_change_is_noticed_within_a_second(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    file = Followed(path, parse)
    write(path, "two")
    assert file.now() == "one"
    clock.now += followed.LOOK_S
    assert file.now() == "two"


def test_a_change_that_does_not_show_is_noticed_within_a_minute(
    clock: Clock, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    file = Followed(path, parse)
    seen = path.stat()
    path.write_text("two")
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    clock.now += followed.LOOK_S
    assert file.now() == "one"
    clock.now += followed.REREAD_S
    assert file.now() == "two"


def test_what_it_said_holds_while_it_is_faulty_or_gone(
    clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    file = Followed(path, parse)
    for change in (lambda: write(path, "faulty"), path.unlink):
        change()
        with caplog.at_level(logging.ERROR):
            for _ in range(3):
                clock.now += followed.LOOK_S
                assert file.now() == "one"
        assert len(caplog.messages) == 1, "told once"
        caplog.clear()
    write(path, "two")
    clock.now += followed.LOOK_S
    assert file.now() == "two"


def test_at_the_start_it_must_be_in_order(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(InvalidCallers, match="No such file"):
        Followed(path, parse)
    path.write_text("faulty")
    with pytest.raises(InvalidCallers, match=f"{path}: faulty"):
        Followed(path, parse)
