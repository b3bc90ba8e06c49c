"""Marks: histories that only grow, of which several people make one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from imagegen.errors import InvalidRequest, MarkedMeanwhile, StorageUnavailable
from imagegen.generations import register
from imagegen.library import marks
from imagegen.library.mark_book import MarkBook, person_key
from imagegen.library.marks import MarkHistory, Marking
from imagegen.storage.record_folder import FolderRecords

NOW = datetime(2026, 11, 27, tzinfo=UTC)
ID = "gen_" + "1" * 20


@pytest.fixture
def book(store: FolderRecords) -> MarkBook:
    return MarkBook(store)


def test_a_picture_is_what_was_said_last_and_remembers_the_rest() -> None:
    history = MarkHistory()
    for minute, (mark, by) in enumerate(
        [("favourite", "anna"), ("approved", "ben"), ("none", "anna"), ("rejected", None)]
    ):
        history = history.marked(
            1, Marking(mark=mark), by, NOW + timedelta(minutes=minute)  # type: ignore[arg-type]
        )  # fmt: skip
    found = history.of(1)
    assert (found.mark, found.revision) == ("rejected", 4)
    assert [(one.mark, one.by) for one in found.history] == [
        ("favourite", "anna"), ("approved", "ben"), ("none", "anna"), ("rejected", None),
    ]  # fmt: skip
    assert history.of(0) == MarkHistory().of(0)


def test_to_say_it_twice_changes_nothing_but_another_persons_word_counts() -> None:
    once = MarkHistory().marked(0, Marking(mark="approved"), "anna", NOW)
    assert once.marked(0, Marking(mark="approved", revision=0), "anna", NOW) is once
    assert once.marked(0, Marking(mark="approved"), "ben", NOW).of(0).revision == 2
    assert MarkHistory().marked(0, Marking(mark="none"), "anna", NOW) == MarkHistory()


def test_who_saw_an_older_state_is_told_whose_word_came_first() -> None:
    once = MarkHistory().marked(0, Marking(mark="approved", revision=0), "anna", NOW)
    with pytest.raises(MarkedMeanwhile, match="approved by anna"):
        once.marked(0, Marking(mark="rejected", revision=0), "ben", NOW)
    assert once.marked(0, Marking(mark="rejected", revision=1), "ben", NOW).of(0).revision == 2


def test_time_does_not_run_backwards_where_clocks_differ() -> None:
    once = MarkHistory().marked(0, Marking(mark="approved"), "anna", NOW)
    twice = once.marked(0, Marking(mark="none"), "ben", NOW - timedelta(hours=1))
    assert [one.at for one in twice.of(0).history] == [NOW, NOW]


def test_a_history_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "MOST_ENTRIES", 1)
    once = MarkHistory().marked(0, Marking(mark="approved"), "anna", NOW)
    with pytest.raises(InvalidRequest, match="no room"):
        once.marked(1, Marking(mark="approved"), "anna", NOW)


def test_of_many_at_once_nobodys_word_is_lost(book: MarkBook) -> None:
    def say(number: int) -> None:
        book.mark(ID, number % 2, "", Marking(mark="approved"), f"person {number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(say, range(16)))
    found = [book.history(ID).of(index) for index in (0, 1)]
    assert [one.revision for one in found] == [8, 8]
    assert {one.by for marks in found for one in marks.history} == {
        f"person {number}" for number in range(16)
    }


def test_the_list_says_it_all_without_reading_a_history(book: MarkBook) -> None:
    book.mark(ID, 0, "anna", Marking(mark="favourite"), "anna")
    book.mark(ID, 0, "anna", Marking(mark="rejected"), "bén@example.com")
    book.mark(ID, 3, "ben", Marking(mark="approved"), None)
    found = sorted(book.newest("anna"), key=lambda one: one.revision)
    assert [(one.generation_id, one.index, one.revision, one.mark, one.by) for one in found] == [
        (ID, 0, 1, "favourite", person_key("anna")),
        (ID, 0, 2, "rejected", person_key("bén@example.com")),
    ]
    assert [one.mark for one in book.newest("ben")] == ["approved"]
    assert list(book.newest("")) == []


def test_the_list_is_read_in_pages(book: MarkBook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(register, "_FIRST_NAMES", 1)
    monkeypatch.setattr(register, "_NAMES_A_CALL", 2)
    for number in range(5):
        book.mark(ID, number, "", Marking(mark="approved"), None)
    assert {one.index for one in book.newest("")} == set(range(5))


def test_whoever_died_between_history_and_list_mends_it_by_asking_again(
    book: MarkBook, store: FolderRecords
) -> None:
    history = MarkHistory().marked(0, Marking(mark="approved"), "anna", NOW)
    path = f"imagegen-library/marks/{ID}.json"
    assert store.write(path, history.model_dump_json().encode(), None)
    assert list(book.newest("")) == []
    book.mark(ID, 0, "", Marking(mark="approved"), "anna")
    [found] = book.newest("")
    assert (found.mark, found.revision) == ("approved", 1)


def test_what_is_no_history_is_left_alone(book: MarkBook, store: FolderRecords) -> None:
    store.write(f"imagegen-library/marks/{ID}.json", b"[]", None)
    with pytest.raises(StorageUnavailable, match="no history"):
        book.mark(ID, 0, "", Marking(mark="approved"), "anna")
