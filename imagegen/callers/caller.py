"""Caller: on whose behalf a request is served."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    """Whoever asks. What belongs to another caller does not exist for him."""

    name: str = ""  # for turns and the log; "" is nobody in particular
    brands: frozenset[str] | None = None  # None: every brand, also those to come

    def may_use(self, brand: str) -> bool:
        return self.brands is None or brand in self.brands


NOBODY = Caller()
