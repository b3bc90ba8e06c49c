"""Entry: what a list of thousands of pictures must know of a generation; plain data."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from imagegen.generations.records import GenerationRecord, inverted_ms
from imagegen.keeping import Order


@dataclass(frozen=True, slots=True)
class EntryPicture:
    """One of its pictures: where it lies in the store, and how much it is the brand's."""

    path: str
    seed: int
    width: int
    height: int
    score: float | None = None  # the total


@dataclass(frozen=True, slots=True)
class Entry:
    """A generation that has pictures."""

    id: str
    created_at: datetime
    brand: str
    campaign: str
    prompt: str
    person: str  # who asked for it; his address where nobody has to say who he is
    pictures: tuple[EntryPicture, ...]
    place: str = field(init=False, repr=False)  # sorts the newest first
    text: str = field(init=False, repr=False)  # what is searched

    def __post_init__(self) -> None:
        """Worked out once: they are looked at for every question."""
        said = f"{self.prompt}\n{self.campaign}\n{self.brand}\n{self.id}"
        object.__setattr__(self, "place", f"{inverted_ms(self.created_at)}.{self.id}")
        object.__setattr__(self, "text", folded(said))

    @classmethod
    def of(cls, record: GenerationRecord) -> Entry:
        """record: one that has succeeded."""
        request = record.request
        order = Order(record.id, request, record.preset_version, record.created_at, record.owner)
        pictures = tuple(
            EntryPicture(
                order.path(index, image.seed),
                image.seed,
                image.width,
                image.height,
                None if image.score is None else image.score.total,
            )
            for index, image in enumerate(record.images)
        )
        said = (request.brand, request.campaign or "", request.prompt, record.caller)
        return cls(record.id, record.created_at, *said, pictures)

    def line(self) -> str:
        """JSON, for `read_entries`."""
        pictures = [[one.path, one.seed, one.width, one.height, one.score] for one in self.pictures]
        return json.dumps(
            [
                self.id, self.created_at.timestamp(), self.brand, self.campaign, self.prompt,
                self.person, pictures,
            ],
            ensure_ascii=False, separators=(",", ":"),
        )  # fmt: skip


def none_line(generation_id: str) -> str:
    """For `read_entries`: nothing is to be shown of it, now and for ever."""
    return json.dumps([generation_id])


def read_entries(data: bytes) -> Iterable[tuple[str, Entry | None]]:
    """Ids and what they are. Raises ValueError for what was not written by `line`."""
    for line in data.splitlines():
        yield _read(json.loads(line))


def _read(said: list[Any]) -> tuple[str, Entry | None]:
    if len(said) == 1:
        return said[0], None
    generation_id, seconds, brand, campaign, prompt, person, pictures = said
    created_at = datetime.fromtimestamp(seconds, UTC)
    made = tuple(EntryPicture(*one) for one in pictures)
    return generation_id, Entry(generation_id, created_at, brand, campaign, prompt, person, made)


def folded(text: str) -> str:
    """As it is compared: `Café` is found by `cafe`."""
    if text.isascii():
        return text.casefold()
    split = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in split if not unicodedata.combining(letter))
