"""What is asked for is found, on pages that do not cut a generation in two."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from imagegen.callers import Caller
from imagegen.errors import InvalidRequest
from imagegen.library.entries import Entry, EntryPicture
from imagegen.library.mark_book import Marked, person_key
from imagegen.library.query import LibraryQuery, page_of
from imagegen.library.shelf import Shown
from imagegen.parsing import read_strings

DAY = datetime(2026, 11, 20, tzinfo=UTC)
ANYBODY = Caller()


def entry(number: int, prompt: str = "a mug", pictures: int = 1, **said: str) -> Entry:
    fields = {"brand": "aurora", "campaign": "", "person": "anna"} | said
    return Entry(
        id=f"gen_{number:020x}",
        created_at=DAY + timedelta(hours=number),
        prompt=prompt,
        pictures=tuple(EntryPicture(f"x-{n}.png", n, 64, 64) for n in range(pictures)),
        **fields,
    )


def shown(*entries: Entry, marks: dict[tuple[int, int], str] | None = None) -> Shown:
    marked = {
        (f"gen_{number:020x}", index): Marked("0" * 13, f"gen_{number:020x}", index, 1, mark, "b")  # type: ignore[arg-type]
        for (number, index), mark in (marks or {}).items()
    }
    markers = {key[0]: frozenset({person_key("ben")}) for key in marked}
    ordered = tuple(sorted(entries, key=lambda one: one.place))
    return Shown(ordered, marked, markers, is_whole=True)


def found(shelf: Shown, caller: Caller = ANYBODY, **said: str) -> list[tuple[int, int]]:
    page = page_of([shelf], read_strings(LibraryQuery, said), caller)
    tiles = [(int(tile.entry.id[4:], 16), tile.index) for tile in page.tiles]
    assert page.total >= len(tiles)
    return tiles


SHELF = shown(
    entry(1, "A red mug on a table", campaign="spring"),
    entry(2, "un café con leche", brand="pop", person="ben"),
    entry(30, "Straße 🍺", pictures=3),
    marks={(1, 0): "approved", (30, 1): "rejected", (30, 2): "none"},
)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, [(30, 0), (30, 1), (30, 2), (2, 0), (1, 0)]),
        ({"q": "MUG red"}, [(1, 0)]),
        ({"q": "mug blue"}, []),
        ({"q": "cafe"}, [(2, 0)]),
        ({"q": "CAFÉ"}, [(2, 0)]),
        ({"q": "strasse 🍺"}, [(30, 0), (30, 1), (30, 2)]),
        ({"q": "spring"}, [(1, 0)]),
        ({"q": "  "}, [(30, 0), (30, 1), (30, 2), (2, 0), (1, 0)]),
        ({"brand": "pop"}, [(2, 0)]),
        ({"campaign": "spring"}, [(1, 0)]),
        ({"campaign": "Spring"}, []),
        ({"state": "approved"}, [(1, 0)]),
        ({"state": "none"}, [(30, 0), (30, 2), (2, 0)]),
        ({"state": "favourite"}, []),
        ({"person": "anna"}, [(30, 0), (30, 1), (30, 2), (1, 0)]),
        ({"person": "ben"}, [(30, 0), (30, 1), (30, 2), (2, 0), (1, 0)]),
        ({"since": "2026-11-21"}, [(30, 0), (30, 1), (30, 2)]),
        ({"until": "2026-11-20"}, [(2, 0), (1, 0)]),
        ({"since": "2026-11-21", "until": "2026-11-20"}, []),
        ({"until": "9999-12-31", "q": "red"}, [(1, 0)]),
    ],
)
def test_what_is_asked_for_is_found(said: dict[str, str], expected: list[tuple[int, int]]) -> None:
    assert found(SHELF, **said) == expected


def test_brands_of_others_do_not_exist() -> None:
    page = page_of([SHELF], LibraryQuery(), Caller("x", frozenset({"pop"}), "x"))
    assert [tile.entry.brand for tile in page.tiles] == ["pop"]
    assert (page.total, page.campaigns, page.persons) == (1, (), ("ben",))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("brand", "../x"), ("state", "nice"), ("since", "yesterday"), ("limit", "0"),
        ("limit", "201"), ("cursor", "x"), ("q", "x" * 201), ("colour", "red"),
    ],
)  # fmt: skip
def test_a_question_is_checked(name: str, text: str) -> None:
    with pytest.raises(InvalidRequest) as told:
        read_strings(LibraryQuery, {name: text})
    assert [fault.field for fault in told.value.fields] == [name]


def test_pages_follow_each_other_and_end() -> None:
    shelf = shown(*(entry(number, pictures=number % 3 + 1) for number in range(40)))
    everything, cursor, pages = list[tuple[str, int]](), None, 0
    while pages == 0 or cursor is not None:
        page = page_of([shelf], LibraryQuery(limit=7, cursor=cursor), ANYBODY)
        assert page.tiles
        everything += [(tile.entry.id, tile.index) for tile in page.tiles]
        cursor, pages = page.cursor, pages + 1
    expected = [(one.id, n) for one in shelf.entries for n in range(len(one.pictures))]
    assert everything == expected
    assert page.total == len(expected)
    assert pages > 5


def test_several_shelves_are_one_list() -> None:
    one, other = shown(entry(1), entry(3)), shown(entry(2), entry(4))
    page = page_of([one, other], LibraryQuery(), ANYBODY)
    assert [int(tile.entry.id[4:]) for tile in page.tiles] == [4, 3, 2, 1]
