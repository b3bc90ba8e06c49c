"""Progress: what became of a campaign's rows, as their generations' records say."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from imagegen.campaigns.record import CampaignRecord, CampaignRow
from imagegen.generations.records import Failure, GenerationRecord

RowStatus = Literal["waiting", "queued", "running", "succeeded", "failed", "cancelled"]
_READERS = 16
_AT_ONCE = 40  # rows
Find = Callable[[str], GenerationRecord | None]


@dataclass(frozen=True)
class RowState:
    """A row and what became of it."""

    index: int
    row: CampaignRow
    record: GenerationRecord | None

    @property
    def status(self) -> RowStatus:
        if self.row.refused is not None:
            return "failed"
        return "waiting" if self.record is None else self.record.status

    @property
    def is_open(self) -> bool:
        return self.status in ("queued", "running")

    @property
    def failure(self) -> Failure | None:
        """Why it came to nothing, if it did."""
        return self.row.refused or (None if self.record is None else self.record.error)

    @property
    def error(self) -> str:
        return "" if self.failure is None else self.failure.detail


@dataclass(frozen=True)
class Progress:
    """Of all rows, in their order."""

    rows: tuple[RowState, ...]

    def with_status(self, *statuses: RowStatus) -> list[RowState]:
        return [one for one in self.rows if one.status in statuses]

    @property
    def has_ended(self) -> bool:
        """Whether every row has."""
        return not self.with_status("waiting", "queued", "running")

    @property
    def failed(self) -> frozenset[int]:
        return frozenset(one.index for one in self.with_status("failed", "cancelled"))


class Ended:
    """Records of generations that have ended: they are read once."""

    def __init__(self, most: int = 5_000) -> None:
        self._most = most
        self._known: dict[str, GenerationRecord] = {}

    def get(self, generation_id: str) -> GenerationRecord | None:
        return self._known.get(generation_id)

    def keep(self, record: GenerationRecord) -> None:
        if not record.is_open:
            if len(self._known) >= self._most:
                self._known.pop(next(iter(self._known)), None)
            self._known[record.id] = record


def progress_of(campaign: CampaignRecord, find: Find, ended: Ended) -> Progress:
    """find: a generation's record as of now, None where there is none."""
    found: dict[int, GenerationRecord | None] = {}
    asked = [index for index, row in enumerate(campaign.rows) if row.refused is None]
    anew = [index for index in asked if campaign.rows[index].attempt]
    first = [index for index in asked if not campaign.rows[index].attempt]
    _look(campaign, anew, find, ended, found)
    for start in range(0, len(first), _AT_ONCE):
        chunk = first[start : start + _AT_ONCE]
        _look(campaign, chunk, find, ended, found)
        if not any(found[index] for index in chunk):
            break  # they are asked for in their order: there are none behind these
    return Progress(
        tuple(RowState(index, row, found.get(index)) for index, row in enumerate(campaign.rows))
    )


def _look(
    campaign: CampaignRecord,
    indexes: list[int],
    find: Find,
    ended: Ended,
    found: dict[int, GenerationRecord | None],
) -> None:
    def look(index: int) -> GenerationRecord | None:
        generation_id = campaign.generation_id(index)
        return ended.get(generation_id) or find(generation_id)

    with ThreadPoolExecutor(_READERS) as pool:
        for index, record in zip(indexes, pool.map(look, indexes), strict=True):
            found[index] = record
            if record is not None:
                ended.keep(record)
