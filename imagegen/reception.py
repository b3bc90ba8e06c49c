"""Reception: a generation gets its name, and whoever asked hears that there is a place for it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class Identity:
    """What a generation is called, and since when it is one: its pictures' names derive from it."""

    id: str
    created_at: datetime

    @classmethod
    def new(cls) -> Identity:
        return cls(f"gen_{secrets.token_hex(10)}", datetime.now(UTC))


class Reception:
    """Tells once that there is a place: in the queue, or among those who await the model."""

    def __init__(
        self,
        identity: Identity | None = None,
        on_accepted: Callable[[str], None] = lambda _preset_version: None,
    ) -> None:
        """on_accepted: hears the preset's version before any picture is there.

        The pictures are in the queue meanwhile; what it raises takes them out again.
        """
        self.identity = identity or Identity.new()
        self._on_accepted: Callable[[str], None] | None = on_accepted

    def accept(self, preset_version: str) -> None:
        on_accepted, self._on_accepted = self._on_accepted, None
        if on_accepted is not None:
            on_accepted(preset_version)
