"""Reader: JSON of a service becomes what a client's kind of generation and picture is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic

from imagegen.client.answers import FETCH, G, P, Page
from imagegen.generation import GeneratedImage


class Reader(Generic[G, P]):
    """Raises pydantic's ValidationError, a ValueError, where something is none of it."""

    def __init__(
        self,
        kinds: tuple[type[G], type[Page[G]], type[P]],
        fetch: Callable[[GeneratedImage], Any],
    ) -> None:
        """kinds: a generation, a page of them, a picture. fetch: how pictures get their files."""
        self._generation: type[G] = kinds[0]
        self._page: type[Page[G]] = kinds[1]
        self._picture: type[P] = kinds[2]
        self._context = {FETCH: fetch}

    def generation(self, said: bytes | Mapping[str, Any]) -> G:
        if isinstance(said, bytes):
            return self._generation.model_validate_json(said, context=self._context)
        return self._generation.model_validate(said, context=self._context)

    def page(self, said: bytes) -> Page[G]:
        return self._page.model_validate_json(said, context=self._context)

    def picture(self, said: Mapping[str, Any]) -> P:
        return self._picture.model_validate(said, context=self._context)
