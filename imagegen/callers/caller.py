"""Caller: on whose behalf a request is served, and what exists for him."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    """Whoever asks. What belongs to another caller does not exist for him."""

    name: str = ""  # whose turn it is: who he is, or else the address he came from
    brands: frozenset[str] | None = None  # None: every brand, also those to come
    owner: str = ""  # whom what he makes belongs to; "" where nobody knows who asks

    def may_use(self, brand: str) -> bool:
        return self.brands is None or brand in self.brands

    def may_see(self, owner: str) -> bool:
        """Whether a thing of `owner` exists for him. What is nobody's is everybody's."""
        return owner in ("", self.owner)


NOBODY = Caller()
