"""Caller: on whose behalf a request is served, and what exists for him."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    """Whoever asks. What belongs to others, he and his team aside, does not exist for him."""

    name: str = ""  # whose turn it is: who he is, or else the address he came from
    brands: frozenset[str] | None = None  # None: every brand, also those to come
    owner: str = ""  # he or his team, whose is what he makes; "" where nobody knows who asks

    @property
    def signature(self) -> str:
        """What he is called by where something is his doing; "" where nobody knows who asks."""
        return self.name if self.owner else ""

    def may_use(self, brand: str) -> bool:
        return self.brands is None or brand in self.brands

    def may_see(self, owner: str) -> bool:
        """Whether a thing of `owner` exists for him. What is nobody's is everybody's."""
        return owner in ("", self.owner)


NOBODY = Caller()


def owner_of(name: str, team: str | None) -> str:
    """Whose is what somebody makes. No caller can be called as a team's owner is."""
    return name if team is None else f"team:{team}"
