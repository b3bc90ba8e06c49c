"""People: which brands whoever comes with a Google account may use, and with whom he shares what he
makes, as a file says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from imagegen.callers.caller import Caller, owner_of
from imagegen.callers.keys import CALLER_PATTERN, Brand
from imagegen.errors import InvalidCallers

_EVERYBODY = "*"


@dataclass(frozen=True)
class Person:
    """Somebody, or a service account, whose identity Google vouches for."""

    name: str  # the e-mail address in small letters, or Google's number where none was told
    domain: str = ""  # the organisation that the account belongs to; "" for private ones


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_to_lower=True)

    who: str = Field(min_length=1)  # an address, an organisation's domain, or everybody
    brands: frozenset[Brand] | Literal["all"]
    team: str | None = Field(default=None, pattern=CALLER_PATTERN)

    @property
    def some_brands(self) -> frozenset[str] | None:
        return None if self.brands == "all" else self.brands


_ENTRIES = TypeAdapter(list[_Entry])


class People:
    """Who may use what. An address comes before its domain, a domain before everybody."""

    def __init__(self, entries: list[_Entry]) -> None:
        self._entries = {one.who: one for one in entries}

    @classmethod
    def anybody(cls) -> People:
        """Whoever Google vouches for may use every brand."""
        return cls([_Entry(who=_EVERYBODY, brands="all")])

    @classmethod
    def parse(cls, data: bytes) -> People:
        """Raises InvalidCallers."""
        try:
            entries = _ENTRIES.validate_python(yaml.safe_load(data))
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidCallers(f"not YAML: {error}") from None
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(map(str, fault["loc"]))
            raise InvalidCallers(f"not a list of who and brands: {place}: {fault['msg']}") from None
        people = cls(entries)
        if len(people._entries) < len(entries):
            raise InvalidCallers("somebody stands there twice")
        return people

    def caller(self, person: Person) -> Caller | None:
        """None for somebody who may not ask at all."""
        for who in (person.name, person.domain, _EVERYBODY):
            entry = self._entries.get(who)
            if who and entry is not None:
                owner = owner_of(person.name, entry.team)
                return Caller(person.name, entry.some_brands, owner=owner)
        return None
