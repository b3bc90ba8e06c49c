"""CampaignStore: where campaigns lie, and who goes on with them.

campaigns/{owner}/{id}.json    the record; ids sort the newest first
running/{id}.json              who submits its rows, and until when nobody else needs to. It is only
                               there while something is to be submitted
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from imagegen.campaigns.record import CampaignRecord
from imagegen.errors import StorageUnavailable
from imagegen.generations.records import inverted_ms
from imagegen.library.mark_book import ROOT, person_key
from imagegen.storage.records import RecordStore

LEASE_S = 45.0
_READERS = 8
_ID = re.compile(r"[0-9]{13}-[0-9a-f]{8}")
_TRIES = 20
_log = logging.getLogger(__name__)
Change = Callable[[CampaignRecord], CampaignRecord]


@dataclass(frozen=True)
class Mark:
    """One that is to go on, and in which folder its record lies."""

    id: str
    owner_key: str


class CampaignStore:
    """Keeps no state. Methods raise StorageUnavailable."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store

    @staticmethod
    def new_id(now: datetime) -> str:
        return f"{inverted_ms(now)}-{secrets.token_hex(4)}"

    def create(self, record: CampaignRecord) -> None:
        """It is run from now on, by whoever looks first."""
        self._store.write(_path(person_key(record.owner), record.id), _data(record), None)
        self.open(record)

    def find(self, campaign_id: str, owner: str) -> CampaignRecord | None:
        held = self._read(campaign_id, person_key(owner))
        return None if held is None else held[0]

    def marked(self, mark: Mark) -> CampaignRecord | None:
        held = self._read(mark.id, mark.owner_key)
        return None if held is None else held[0]

    def change(self, record: CampaignRecord, change: Change) -> CampaignRecord:
        """What `change` makes of it in its newest state."""
        for _ in range(_TRIES):
            held = self._read(record.id, person_key(record.owner))
            if held is None:
                break
            changed = change(held[0])
            path = _path(person_key(record.owner), record.id)
            if self._store.write(path, _data(changed), held[1]) is not None:
                return changed
        raise StorageUnavailable(f"the campaign {record.id} cannot be changed", 1.0)

    def newest(self, owner: str, most: int) -> Iterator[CampaignRecord]:
        """An owner's."""
        names = self._store.names(f"{ROOT}/campaigns/{person_key(owner)}", "", most)
        with ThreadPoolExecutor(_READERS) as pool:  # each may be of a thousand rows
            found = pool.map(lambda one: self.find(one[0].removesuffix(".json"), owner), names)
            yield from (record for record in found if record is not None)

    def open(self, record: CampaignRecord) -> None:
        """Whoever looks finds that there is something to do."""
        path = _running(record.id)
        mark = {"owner": person_key(record.owner), "holder": "", "until": 0.0}
        self._store.write(path, json.dumps(mark).encode(), None)

    def close(self, campaign_id: str) -> None:
        self._store.remove(_running(campaign_id))

    def running(self) -> list[str]:
        """Ids of all that are to go on."""
        names = (name for name, _ in self._store.names(f"{ROOT}/running"))
        return [name.removesuffix(".json") for name in names]

    def is_running(self, campaign_id: str) -> bool:
        """Whether it is to go on."""
        if _ID.fullmatch(campaign_id) is None:
            return False
        return self._store.read(_running(campaign_id)) is not None

    def give_back(self, campaign_id: str, holder: str) -> None:
        """Somebody else goes on with it, at once."""
        stored = self._store.read(_running(campaign_id))
        if stored is not None and (mark := json.loads(stored.data))["holder"] == holder:
            free = {**mark, "holder": "", "until": 0.0}
            self._store.write(_running(campaign_id), json.dumps(free).encode(), stored.version)

    def take(self, campaign_id: str, holder: str) -> Mark | None:
        """Holds it for LEASE_S; again and again for longer. None where somebody else does."""
        path = _running(campaign_id)
        stored = None if _ID.fullmatch(campaign_id) is None else self._store.read(path)
        if stored is None:
            return None
        mark, now = json.loads(stored.data), time.time()
        if mark["holder"] not in ("", holder) and mark["until"] > now:
            return None
        taken = {**mark, "holder": holder, "until": now + LEASE_S}
        if self._store.write(path, json.dumps(taken).encode(), stored.version) is None:
            return None
        return Mark(campaign_id, mark["owner"])

    def _read(self, campaign_id: str, owner_key: str) -> tuple[CampaignRecord, str] | None:
        if _ID.fullmatch(campaign_id) is None:
            return None
        stored = self._store.read(_path(owner_key, campaign_id))
        if stored is None:
            return None
        try:
            return CampaignRecord.model_validate_json(stored.data), stored.version
        except ValidationError:
            _log.warning("%s is no campaign of this version", campaign_id)
            return None


def _path(owner_key: str, campaign_id: str) -> str:
    return f"{ROOT}/campaigns/{owner_key}/{campaign_id}.json"


def _running(campaign_id: str) -> str:
    return f"{ROOT}/running/{campaign_id}.json"


def _data(record: CampaignRecord) -> bytes:
    return record.model_dump_json(exclude_defaults=True).encode()
