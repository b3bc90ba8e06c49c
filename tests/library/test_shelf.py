"""The shelf: in memory, and always what Storage says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from sample_records import NOW

from imagegen.generations.records import GenerationRecord
from imagegen.generations.register import Register
from imagegen.library import digests, shelf
from imagegen.library.digests import Digests
from imagegen.library.mark_book import MarkBook
from imagegen.library.marks import Marking
from imagegen.library.shelf import Shelf, Shown
from imagegen.storage.record_folder import FolderRecords

Make = Callable[..., GenerationRecord]


class CountingRegister(Register):
    reads = 0

    def find(self, generation_id: str):  # type: ignore[no-untyped-def]
        self.reads += 1
        return super().find(generation_id)


@pytest.fixture
def now() -> list[float]:
    return [NOW.timestamp() + 100]


@pytest.fixture
def another(store: FolderRecords, now: list[float]) -> Callable[..., Shelf]:
    """The same shelf, as another instance has it."""

    def new(owner: str = "") -> Shelf:
        register = CountingRegister(store)
        made = Shelf(owner, register, MarkBook(store), Digests(store, owner), lambda: now[0])
        made.register = register  # type: ignore[attr-defined]
        return made

    return new


def look(one: Shelf, now: list[float]) -> Shown:
    """At once, and until all is read."""
    now[0] += shelf.FRESH_S
    shown = one.look()
    until = time.monotonic() + 20
    while one._reader is not None and one._reader.is_alive():
        assert time.monotonic() < until
        time.sleep(0.01)
    return one.shown if not shown.is_whole else shown


def ids(shown: Shown) -> list[int]:
    return [int(entry.id[4:], 16) for entry in shown.entries]


def test_it_shows_what_has_pictures_the_newest_first(
    another: Callable[..., Shelf], make: Make, now: list[float]
) -> None:
    for number in range(3):
        make(number)
    make(3, pictures=0, status="failed")
    make(4, owner="anna")
    make(5, recorded=False)
    assert ids(look(another(), now)) == [2, 1, 0]
    assert ids(look(another("anna"), now)) == [4]


def test_what_is_new_is_there_at_the_next_look_and_nothing_is_read_twice(
    another: Callable[..., Shelf], make: Make, now: list[float]
) -> None:
    for number in range(5):
        make(number)
    one = another()
    look(one, now)
    make(9)
    assert ids(look(one, now)) == [9, 4, 3, 2, 1, 0]
    look(one, now)
    assert one.register.reads == 6  # type: ignore[attr-defined]


def test_what_was_listed_late_is_found(
    another: Callable[..., Shelf], make: Make, now: list[float]
) -> None:
    one = another()
    make(50)
    look(one, now)
    make(10)
    assert ids(look(one, now)) == [50, 10]


def test_one_under_way_is_shown_once_it_has_ended(
    another: Callable[..., Shelf], make: Make, now: list[float], register: Register
) -> None:
    record = make(1, status="queued", pictures=0)
    register.open(record.id)
    one = another()
    assert ids(look(one, now)) == []
    for _ in range(3):
        look(one, now)
    assert one.register.reads == 1, "while it is open nobody reads it"  # type: ignore[attr-defined]
    held = register.find(record.id)
    assert held is not None
    done = make(2)
    ended = held.record.model_copy(update={"status": "succeeded", "images": done.images})
    assert register.replace(held, ended) is not None
    register.close(record.id)
    assert ids(look(one, now)) == [2, 1]


def test_what_never_got_a_record_is_forgotten_in_time(
    another: Callable[..., Shelf], make: Make, now: list[float]
) -> None:
    make(1, recorded=False)
    one = another()
    look(one, now)
    now[0] += 2 * 3600
    look(one, now)
    reads = one.register.reads  # type: ignore[attr-defined]
    look(one, now)
    assert one.register.reads == reads  # type: ignore[attr-defined]


def test_many_are_read_while_nobody_waits_and_never_again_by_anybody(
    another: Callable[..., Shelf],
    make: Make,
    now: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shelf, "_AT_ONCE", 10)
    monkeypatch.setattr(shelf, "LINES", 20)
    monkeypatch.setattr(digests, "LINES", 20)
    for number in range(45):
        make(number, prompt="Café — 5€ 🍺\u2028next", campaign="spring")
    make(45, pictures=0, status="failed")
    first = another()
    now[0] += 1
    shown = first.look()
    assert len(shown.entries) >= 9
    assert ids(shown)[0] == 44, "the newest come first"
    assert ids(look(first, now)) == list(range(44, -1, -1))
    second = another()
    shown = look(second, now)
    assert ids(shown) == list(range(44, -1, -1))
    assert second.register.reads == 0  # type: ignore[attr-defined]
    assert shown.entries == first.shown.entries


def test_many_that_never_end_do_not_hide_what_is_older(
    another: Callable[..., Shelf], make: Make, now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "_AT_ONCE", 5)
    make(0)
    for number in range(1, 20):
        make(number, recorded=False)
    assert ids(look(another(), now)) == [0]


def test_a_broken_digest_costs_time_and_nothing_else(
    another: Callable[..., Shelf], make: Make, now: list[float], store: FolderRecords
) -> None:
    make(1)
    folder = Digests(store, "")._folder
    for number, data in enumerate([b"{", b"[1,2]", b'["gen_1", "x"]', b"\xff"]):
        store.write(f"{folder}/{number}.jsonl", data, None)
    assert ids(look(another(), now)) == [1]


def test_marks_of_others_are_there_at_the_next_look(
    another: Callable[..., Shelf], make: Make, now: list[float], store: FolderRecords
) -> None:
    record = make(1, pictures=2)
    one, book = another(), MarkBook(store)
    book.mark(record.id, 1, "", Marking(mark="favourite"), "anna")
    key = (record.id, 1)
    assert look(one, now).marks[key].mark == "favourite"
    before = one.shown
    book.mark(record.id, 1, "", Marking(mark="none"), "ben")
    assert look(one, now).marks[key].mark == "none"
    assert before.marks[key].mark == "favourite", "what somebody looks at does not change"
    assert len(one.shown.markers[record.id]) == 2


def test_many_may_look_at_once(another: Callable[..., Shelf], make: Make, now: list[float]) -> None:
    for number in range(30):
        make(number)
    one, seen = another(), list[int]()
    threads = [
        threading.Thread(target=lambda: seen.append(len(one.look().entries))) for _ in "12345"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [30] * 5
    assert one.register.reads == 30  # type: ignore[attr-defined]
