"""LibraryQuery: which pictures somebody wants to see, and the page of them."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from imagegen.branding.drift import Drift
from imagegen.callers import Caller
from imagegen.generation import BRAND_PATTERN
from imagegen.library.drifts import Drifts
from imagegen.library.entries import Entry, EntryPicture, folded
from imagegen.library.mark_book import person_key
from imagegen.library.marks import Mark
from imagegen.library.shelf import Shown

State = Literal["favourite", "approved", "rejected", "none"]
_Fits = Callable[[Entry], bool]


def _written_out(said: object) -> object:
    """A number would be seconds since 1970."""
    if isinstance(said, str) and not re.fullmatch(r"\d{4}-\d\d-\d\d", said):
        raise ValueError("must be a day such as 2026-11-23")
    return said


Day = Annotated[date, BeforeValidator(_written_out)]


class LibraryQuery(BaseModel):
    """What is not said does not matter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    q: str = Field(default="", max_length=200, description="Words of the prompt, in any order.")
    brand: str | None = Field(default=None, pattern=BRAND_PATTERN)
    campaign: str | None = Field(default=None, max_length=64)
    state: State | None = Field(default=None, description="The mark; `none`: without one.")
    person: str | None = Field(
        default=None, max_length=300, description="Who asked for it or marked one of its pictures."
    )
    since: Day | None = Field(default=None, description="A day, in UTC.")
    until: Day | None = Field(default=None, description="A day, in UTC, and all of it.")
    limit: Annotated[int, Field(ge=1, le=200)] = 48
    cursor: str | None = Field(default=None, pattern=r"^[0-9]{13}\.gen_[0-9a-f]{20}$")


@dataclass(frozen=True)
class Tile:
    """A picture of a list."""

    entry: Entry
    index: int
    picture: EntryPicture
    mark: Mark


@dataclass(frozen=True)
class LibraryPage:
    """Pictures, newest first; those of one generation are never on two pages."""

    tiles: tuple[Tile, ...]
    cursor: str | None  # of the next page
    total: int  # pictures on all pages
    is_whole: bool  # False: older ones are still being read
    campaigns: tuple[str, ...]  # that there are, the newest first
    persons: tuple[str, ...]
    drifts: Mapping[str, Drift]  # of his brands, whatever is asked for


def page_of(shelves: Sequence[Shown], query: LibraryQuery, caller: Caller) -> LibraryPage:
    """Of what exists for him on these shelves."""
    tiles: list[Tile] = []
    cursor, total = None, 0
    campaigns, persons, drifts = dict[str, None](), dict[str, None](), Drifts()
    for entry, _ in _merged(shelves):
        if caller.may_use(entry.brand):
            campaigns.setdefault(entry.campaign)
            persons.setdefault(entry.person)
            drifts.add(entry)
    campaigns.pop("", None)
    for entry, shown in _found(shelves, query, caller):
        found = list(_tiles(entry, shown, query.state))
        total += len(found)
        if query.cursor is not None and entry.place <= query.cursor:
            continue
        if len(tiles) < query.limit:
            tiles += found
            last = entry.place
        elif found and cursor is None:
            cursor = last
    return LibraryPage(
        tiles=tuple(tiles),
        cursor=cursor,
        total=total,
        is_whole=all(shown.is_whole for shown in shelves),
        campaigns=tuple(campaigns),
        persons=tuple(sorted(persons)),
        drifts=drifts.by_brand(),
    )


def drift_of_brand(shelves: Sequence[Shown], brand: str) -> Drift | None:
    """As a page's `drifts` has it."""
    drifts = Drifts()
    for entry, _ in _merged(shelves):
        if entry.brand == brand:
            drifts.add(entry)
    return drifts.by_brand().get(brand)


def _merged(shelves: Sequence[Shown]) -> Iterable[tuple[Entry, Shown]]:
    pairs = [[(entry, shown) for entry in shown.entries] for shown in shelves]
    return pairs[0] if len(pairs) == 1 else heapq.merge(*pairs, key=lambda pair: pair[0].place)


def _found(
    shelves: Sequence[Shown], query: LibraryQuery, caller: Caller
) -> Iterator[tuple[Entry, Shown]]:
    fits = list(_conditions(query))
    for entry, shown in _merged(shelves):
        if (
            caller.may_use(entry.brand)
            and all(condition(entry) for condition in fits)
            and (query.person is None or _is_by(entry, shown, query.person))
        ):
            yield entry, shown


def _conditions(query: LibraryQuery) -> Iterator[_Fits]:
    """The cheapest first."""
    if query.brand is not None:
        yield lambda entry: entry.brand == query.brand
    if query.campaign is not None:
        yield lambda entry: entry.campaign == query.campaign
    if query.since is not None:
        since = _midnight(query.since)
        yield lambda entry: entry.created_at >= since
    if query.until is not None and query.until < date.max:
        until = _midnight(query.until + timedelta(days=1))
        yield lambda entry: entry.created_at < until
    for word in folded(query.q).split():
        yield lambda entry, word=word: word in entry.text  # type: ignore[misc]


def _is_by(entry: Entry, shown: Shown, person: str) -> bool:
    return entry.person == person or person_key(person) in shown.markers.get(entry.id, ())


def _tiles(entry: Entry, shown: Shown, state: State | None) -> Iterator[Tile]:
    for index, picture in enumerate(entry.pictures):
        marked = shown.marks.get((entry.id, index))
        mark: Mark = "none" if marked is None else marked.mark
        if state in (None, mark):
            yield Tile(entry, index, picture, mark)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
