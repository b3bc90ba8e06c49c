"""Digests: generations that have ended, many in an object, so that a list reads few of them.

digests/{owner}/{…}.jsonl    lines of `Entry`. Nothing but a shorter way: what a generation is, its
                             record says, and that there is one, the register's list. So two
                             instances may write the same twice, and any digest may be deleted.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from imagegen.library.entries import Entry, none_line, read_entries
from imagegen.library.mark_book import ROOT, person_key
from imagegen.storage.records import RecordStore

LINES = 500  # of a digest; so many records at most are read one by one
_NAMES_A_CALL = 1_000
_READERS = 8
_log = logging.getLogger(__name__)


class Digests:
    """Of one owner. Methods raise StorageUnavailable; not for several threads."""

    def __init__(self, store: RecordStore, owner: str) -> None:
        self._store = store
        self._folder = f"{ROOT}/digests/{person_key(owner)}"
        self._read: set[str] = set()

    def news(self) -> dict[str, Entry | None]:
        """What is in those that were not read before: id -> entry, None where there is nothing."""
        names = [name for name in self._names() if name not in self._read]
        found: dict[str, Entry | None] = {}
        if names:
            with ThreadPoolExecutor(_READERS) as pool:
                for content in pool.map(self._content, names):
                    found.update(content)
            self._read.update(names)
        return found

    def write(self, known: Mapping[str, Entry | None], ids: Sequence[str]) -> None:
        """Those of `ids`, of which everything is known that will ever be."""
        for start in range(0, len(ids), LINES):
            name = f"{secrets.token_hex(10)}.jsonl"
            lines = (_line(one, known[one]) for one in ids[start : start + LINES])
            self._store.write(f"{self._folder}/{name}", "\n".join(lines).encode(), None)
            self._read.add(name)

    def _names(self) -> list[str]:
        names: list[str] = []
        while True:
            page = self._store.names(self._folder, names[-1] if names else "", _NAMES_A_CALL)
            names += [name for name, _ in page]
            if len(page) < _NAMES_A_CALL:
                return names

    def _content(self, name: str) -> dict[str, Entry | None]:
        stored = self._store.read(f"{self._folder}/{name}")
        try:
            return {} if stored is None else dict(read_entries(stored.data))
        except (ValueError, TypeError, IndexError):
            _log.warning("%s/%s is no digest of this version", self._folder, name)
            return {}


def _line(generation_id: str, entry: Entry | None) -> str:
    return none_line(generation_id) if entry is None else entry.line()
