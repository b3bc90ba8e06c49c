"""Whether brands' pictures have become less their own, as far as the shelves know."""

from __future__ import annotations

from imagegen.branding.drift import Drift, drift_of
from imagegen.library.entries import Entry

_GENERATIONS = 100  # as many as GET /brands/{brand}/drift looks at


class Drifts:
    """Fed with entries, the newest first."""

    def __init__(self) -> None:
        self._newest: dict[str, list[Entry]] = {}  # by brand

    def add(self, entry: Entry) -> None:
        """Cheap: it is called for every entry of a library."""
        of_brand = self._newest.setdefault(entry.brand, [])
        if len(of_brand) < _GENERATIONS:
            of_brand.append(entry)

    def by_brand(self) -> dict[str, Drift]:
        """Of brands with pictures."""
        return {brand: drift_of(_scores(newest)) for brand, newest in self._newest.items()}


def _scores(newest: list[Entry]) -> list[float]:
    pictures = (picture for entry in reversed(newest) for picture in entry.pictures)
    return [picture.score for picture in pictures if picture.score is not None]
