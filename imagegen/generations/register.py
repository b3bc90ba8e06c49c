"""Register: where generations are kept, so that any instance answers for any of them.

records/{id}.json      the record; its state is the truth
open/{id}              there is something to do: written before a generation is acknowledged,
                       taken away after its end. Writing it again rings: look at the record
index/{owner}/{…}      an empty object whose name says when, which, what brand and campaign
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagegen.errors import StorageUnavailable
from imagegen.generation import BRAND_PATTERN, GenerationRequest
from imagegen.generations.records import GenerationRecord, inverted_ms
from imagegen.storage.records import RecordStore

ROOT = "imagegen-generations"
_ID = re.compile(r"gen_[0-9a-f]{20}")
_INDEX_NAME = re.compile(r"([0-9]{13})\.(gen_[0-9a-f]{20})\.([a-z0-9-]{1,63})\.([0-9a-f]*)")
_NAMES_A_CALL = 1_000
_FIRST_NAMES = 100
_NAMES_A_PAGE = 10_000  # looked at; a filter that finds little gives a short page with a cursor
_TRIES = 20  # of a change that somebody else was quicker with
Change = Callable[[GenerationRecord], GenerationRecord]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Held:
    """A record and the version in which it was seen."""

    record: GenerationRecord
    version: str


class ListQuery(BaseModel):
    """Which of his generations somebody wants to see."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    brand: str | None = Field(default=None, pattern=BRAND_PATTERN, description="Of this brand.")
    campaign: str | None = Field(
        default=None, max_length=64, description="Of this campaign, to the letter."
    )
    limit: int = Field(default=20, ge=1, le=100, description="At most so many.")
    cursor: str | None = Field(
        default=None,
        pattern=r"^[0-9]{13}\.gen_[0-9a-f]{20}$",
        description="What an earlier page ended with: this one begins there.",
    )


@dataclass(frozen=True)
class Page:
    """Ids, newest first; `cursor` is None on the last page."""

    ids: tuple[str, ...]
    cursor: str | None


class Register:
    """Keeps no state. Methods raise StorageUnavailable."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store

    def find(self, generation_id: str) -> Held | None:
        """None for an id that nobody has, and for a record that is none."""
        if _ID.fullmatch(generation_id) is None:
            return None
        path = _record_path(generation_id)
        stored = self._store.read(path)
        if stored is None:
            return None
        try:
            return Held(GenerationRecord.model_validate_json(stored.data), stored.version)
        except ValidationError:
            _log.warning("%s is no record of this version; it is passed over", path)
            return None

    def create(self, record: GenerationRecord) -> Held | None:
        """None where there is one of that id already."""
        version = self._store.write(_record_path(record.id), _data(record), None)
        return None if version is None else Held(record, version)

    def keep_inputs(self, generation_id: str, request: GenerationRequest) -> None:
        """Pictures that were sent: who takes it over needs them too."""
        if request.init_image is not None:
            self._store.write(_inputs_path(generation_id), request.model_dump_json().encode(), None)

    def inputs(self, record: GenerationRecord) -> GenerationRequest:
        """The request as it was made, its seed said."""
        stored = self._store.read(_inputs_path(record.id)) if record.has_inputs else None
        if stored is None:
            return record.request
        request = GenerationRequest.model_validate_json(stored.data)
        return request.model_copy(update={"seed": record.request.seed})

    def change(self, seen: Held, change: Change) -> Held:
        """What `change` makes of the record in its newest state. Raises what `change` raises."""
        held: Held | None = seen
        for _ in range(_TRIES):
            if held is None:
                break
            changed = self.replace(held, change(held.record))
            if changed is not None:
                return changed
            held = self.find(seen.record.id)
        raise StorageUnavailable(f"the record of {seen.record.id} cannot be changed", 1.0)

    def replace(self, seen: Held, record: GenerationRecord) -> Held | None:
        """None where it has been changed since it was seen."""
        version = self._store.write(_record_path(record.id), _data(record), seen.version)
        return None if version is None else Held(record, version)

    def index(self, record: GenerationRecord) -> None:
        """From now on it is in its owner's list; what has no record yet is passed over there."""
        campaign = "" if record.request.campaign is None else _hash(record.request.campaign)
        name = f"{_place(record)}.{record.request.brand}.{campaign}"
        self._store.write(f"{_list_of(record.owner)}/{name}", b"", None)

    def open(self, generation_id: str) -> None:
        """Before it is acknowledged: whoever looks for something to do finds it."""
        self._store.write(_open_path(generation_id), _ring(), None)

    def ring(self, generation_id: str) -> None:
        """Whoever holds or seeks it looks at its record again. Nothing to tell: nothing happens."""
        seen = self._store.read(_open_path(generation_id))
        if seen is not None:
            self._store.write(_open_path(generation_id), _ring(), seen.version)

    def close(self, generation_id: str, *, has_inputs: bool = False) -> None:
        """It has ended: there is nothing to do for it, and nobody needs what was sent with it."""
        if has_inputs:
            self._store.remove(_inputs_path(generation_id))
        self._store.remove(_open_path(generation_id))

    def all_open(self) -> dict[str, str]:
        """Id to version; a ring changes the version."""
        found: dict[str, str] = {}
        while True:
            page = self._store.names(f"{ROOT}/open", max(found, default=""), _NAMES_A_CALL)
            found.update(page)
            if len(page) < _NAMES_A_CALL:
                return {name: version for name, version in found.items() if _ID.fullmatch(name)}

    def page(self, owner: str, query: ListQuery) -> Page:
        """An owner's newest."""
        wanted = None if query.campaign is None else _hash(query.campaign)
        ids: list[str] = []
        for count, (place, *found) in enumerate(self.names(owner, query.cursor), 1):
            if query.brand in (None, found[0]) and wanted in (None, found[1]):
                ids.append(place.partition(".")[2])
            if len(ids) == query.limit or count == _NAMES_A_PAGE:
                return Page(tuple(ids), place)
        return Page(tuple(ids), None)

    def names(self, owner: str, cursor: str | None = None) -> Iterator[tuple[str, str, str]]:
        """(place in the list, brand, campaign's hash)."""
        after = "" if cursor is None else f"{cursor}.~"  # past every brand
        for name in newest_names(self._store, _list_of(owner), after):
            if match := _INDEX_NAME.fullmatch(name):
                yield f"{match[1]}.{match[2]}", match[3], match[4]


def newest_names(store: RecordStore, folder: str, after: str = "") -> Iterator[str]:
    """Those past `after`, in order; at first few, as most look for what is new."""
    limit = _FIRST_NAMES
    while True:
        page = store.names(folder, after, limit)
        yield from (name for name, _ in page)
        if len(page) < limit:
            return
        after, limit = page[-1][0], _NAMES_A_CALL


def _record_path(generation_id: str) -> str:
    return f"{ROOT}/records/{generation_id}.json"


def _inputs_path(generation_id: str) -> str:
    return f"{ROOT}/inputs/{generation_id}.json"


def _open_path(generation_id: str) -> str:
    return f"{ROOT}/open/{generation_id}"


def _list_of(owner: str) -> str:
    return f"{ROOT}/index/{_hash(owner)}"


def _place(record: GenerationRecord) -> str:
    return f"{inverted_ms(record.created_at)}.{record.id}"


def _hash(text: str) -> str:
    """For names: what callers write is not theirs to choose."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _data(record: GenerationRecord) -> bytes:
    return record.model_dump_json(exclude_defaults=True).encode()


def _ring() -> bytes:
    return secrets.token_hex(8).encode()
