"""Shelf: all that an owner has made, in memory, kept up with Storage by listing what is new."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from imagegen.errors import StorageUnavailable
from imagegen.generations.records import GenerationRecord
from imagegen.generations.register import Register
from imagegen.library.digests import LINES, Digests
from imagegen.library.entries import Entry
from imagegen.library.mark_book import MarkBook, Marked

FRESH_S = 1.0  # so long a look at Storage counts
MOST = 50_000  # generations; older ones are listed by the API alone
_AT_ONCE = 100  # records that somebody waits for; older ones are read meanwhile
_READERS = 16  # at a time
_LATE_S = 4_500  # a generation is listed under its arrival, as late as it may wait and some more
_SKEW_S = 600  # of clocks, for marks
Clock = Callable[[], float]


@dataclass(frozen=True)
class Shown:
    """The shelf as it is now; never changed, so it is read without a lock."""

    entries: tuple[Entry, ...] = ()  # the newest first
    marks: dict[tuple[str, int], Marked] = field(default_factory=dict)
    markers: dict[str, frozenset[str]] = field(default_factory=dict)  # id -> keys of persons
    is_whole: bool = False  # False: older ones are still being read


class Shelf:
    """Who looks waits for what is new; what is old is read once, by a thread of its own."""

    def __init__(
        self,
        owner: str,
        register: Register,
        book: MarkBook,
        digests: Digests,
        clock: Clock = time.time,
    ) -> None:
        self._owner = owner
        self._register = register
        self._book = book
        self._digests = digests
        self._clock = clock
        self._lock = threading.Lock()  # of who looks at Storage; guards all that follows
        self._looked_at = float("-inf")
        self._known: dict[str, Entry | None] = {}  # None: nothing will ever be shown of it
        self._digested: set[str] = set()
        self._waiting: dict[str, float] = {}  # id -> when it arrived; nobody knows what it will be
        self._tried: dict[str, float] = {}  # those of them whose record was looked for, and when
        self._open: set[str] = set()  # those that are under way, as their record said
        self._marked_at = float("-inf")
        self._marks: dict[tuple[str, int], Marked] = {}
        self._markers: dict[str, frozenset[str]] = {}
        self._reader: threading.Thread | None = None
        self.shown = Shown()

    def look(self) -> Shown:
        """As of now, or of a second ago. Raises StorageUnavailable."""
        with self._lock:
            now = self._clock()
            if now - self._looked_at >= FRESH_S:
                if self._looked_at < 0:
                    self._learn(self._digests.news())
                self._list(now)
                changed = self._read_some(_AT_ONCE)
                changed = self._look_at_marks(now) or changed
                self._looked_at = now
                if changed or not self.shown.is_whole:
                    self._show()
                self._read_on()
            return self.shown

    def _list(self, now: float) -> None:
        """What arrived since the last look, or may have been listed late, is new."""
        until = self._looked_at - _LATE_S
        for place, *_ in itertools.islice(self._register.names(self._owner), MOST):
            inverted, _, generation_id = place.partition(".")
            arrived = (9_999_999_999_999 - int(inverted)) / 1_000
            if arrived < until:
                return
            if generation_id not in self._known:
                self._waiting.setdefault(generation_id, arrived)

    def _read_some(self, most: int) -> bool:
        """Reads the newest of those that may have ended. Whether there is something to show."""
        now = self._clock()
        asked = self._due(now)[:most]
        found = self._records(asked)
        self._tried.update(dict.fromkeys(asked, now))
        known = dict[str, Entry | None]()
        for generation_id, record in zip(asked, found, strict=True):
            if record is None:
                if self._waiting[generation_id] < now - _LATE_S:
                    known[generation_id] = None  # it was refused, or died unrecorded
            elif record.is_open:
                self._open.add(generation_id)
            else:
                known[generation_id] = Entry.of(record) if record.images else None
        self._learn(known, digested=False)
        return any(known.values())

    def _due(self, now: float) -> list[str]:
        """The newest first. Of those under way, one list says which have ended."""
        under_way = self._register.all_open() if self._open else {}
        self._open &= under_way.keys()
        due = [
            one
            for one in self._waiting.keys() - self._open
            if now - self._tried.get(one, float("-inf")) >= FRESH_S
        ]
        return sorted(due, key=lambda one: -self._waiting[one])

    def _records(self, ids: Iterable[str]) -> list[GenerationRecord | None]:
        def read(generation_id: str) -> GenerationRecord | None:
            held = self._register.find(generation_id)
            return None if held is None else held.record

        with ThreadPoolExecutor(_READERS) as pool:
            return list(pool.map(read, ids))

    def _learn(self, known: dict[str, Entry | None], *, digested: bool = True) -> None:
        self._known.update(known)
        if digested:
            self._digested.update(known)
        for generation_id in known:
            self._waiting.pop(generation_id, None)
            self._tried.pop(generation_id, None)
            self._open.discard(generation_id)

    def _look_at_marks(self, now: float) -> bool:
        """Whether there are new ones. The lists of both are replaced, never changed."""
        until, changed = self._marked_at - _SKEW_S, False
        marks, markers = dict(self._marks), dict(self._markers)
        for one in self._book.newest(self._owner):
            if (9_999_999_999_999 - int(one.place)) / 1_000 < until:
                break
            key = (one.generation_id, one.index)
            if key not in marks or marks[key].revision < one.revision:
                marks[key], changed = one, True
            known = markers.get(one.generation_id, frozenset())
            if one.by not in known:
                markers[one.generation_id], changed = known | {one.by}, True
        self._marked_at, self._marks, self._markers = now, marks, markers
        return changed

    def _show(self) -> None:
        entries = [entry for entry in self._known.values() if entry is not None]
        entries.sort(key=lambda entry: entry.place)
        is_whole = self._waiting.keys() == self._tried.keys()
        self.shown = Shown(tuple(entries), self._marks, self._markers, is_whole)

    def _read_on(self) -> None:
        """Older ones, and a digest of what was read one by one, while nobody waits."""
        has_old = not self.shown.is_whole
        has_new = len(self._known) - len(self._digested) >= LINES
        if (has_old or has_new) and (self._reader is None or not self._reader.is_alive()):
            self._reader = threading.Thread(target=self._work, name="library", daemon=True)
            self._reader.start()

    def _work(self) -> None:
        try:
            while not self.shown.is_whole:
                with self._lock:
                    self._read_some(_AT_ONCE)
                    self._show()
            with self._lock:
                self._digest()
        except StorageUnavailable:
            return  # whoever looks next begins again

    def _digest(self) -> None:
        self._learn(self._digests.news())  # another instance may have been quicker
        new = [one for one in self._known if one not in self._digested]
        if len(new) >= LINES:
            self._digests.write(self._known, new)
            self._digested.update(new)
