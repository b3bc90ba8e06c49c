"""API keys: what one looks like, what is kept of it, and whose it is. No files, no clock."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime
from typing import Annotated

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from imagegen.callers.caller import Caller, owner_of
from imagegen.errors import InvalidCallers
from imagegen.generation import BRAND_PATTERN

PREFIX = "ig"
MOST_LIVE = 2  # keys of one caller: the new one is handed out before the old one goes
CALLER_PATTERN = r"^[a-z0-9][a-z0-9@._+-]{0,99}$"  # teams are called so, too
_SECRET_BYTES = 32
_ID_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # none that looks like another
_ID_LENGTH = 8
_NO_HASH = "0" * 64

Brand = Annotated[str, StringConstraints(pattern=BRAND_PATTERN)]


class StoredKey(BaseModel):
    """One key, without what opens anything.

    Its SHA-256 is enough, and fast: a slow hash makes guessing dear where secrets are guessable,
    and nobody guesses 32 random bytes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=rf"^[{_ID_LETTERS}]{{{_ID_LENGTH}}}$")
    caller: str = Field(pattern=CALLER_PATTERN)
    brands: frozenset[Brand] | None = None  # None: all
    team: str | None = Field(default=None, pattern=CALLER_PATTERN)  # whose is what he makes
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    created_at: AwareDatetime


class Keys(BaseModel):
    """All live keys. Never changed: who adds or revokes one gets others."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[StoredKey, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> Keys:
        """Raises InvalidCallers."""
        try:
            return cls.model_validate_json(data, strict=True)
        except ValidationError as error:
            fault = error.errors(include_input=False)[0]  # the file may hold more than it should
            place = ".".join(map(str, fault["loc"]))
            raise InvalidCallers(f"not a file of API keys: {place}: {fault['msg']}") from None

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Keys:
        if len(self._by_id()) < len(self.keys):
            raise ValueError("two keys have the same id")
        return self

    def caller_of(self, key: str) -> Caller | None:
        """Whose key it is; None for one that is unknown or revoked. Takes as long either way."""
        stored = self._by_id().get(id_of(key))
        expected = _NO_HASH if stored is None else stored.sha256
        if not hmac.compare_digest(_sha256(key), expected) or stored is None:
            return None
        owner = owner_of(stored.caller, stored.team)
        return Caller(stored.caller, stored.brands, owner=owner)

    def with_new(
        self,
        caller: str,
        brands: frozenset[str] | None,
        now: datetime,
        team: str | None = None,
    ) -> tuple[Keys, StoredKey, str]:
        """The keys with one more, what is kept of it, and the key itself. Raises InvalidCallers."""
        live = [key.id for key in self.keys if key.caller == caller]
        if len(live) >= MOST_LIVE:
            raise InvalidCallers(
                f"{caller} has {len(live)} keys already ({', '.join(live)}): revoke the one "
                "that is not used any more with `imagegen keys revoke ID`"
            )
        taken = self._by_id()
        id_ = next(new for new in iter(_new_id, "") if new not in taken)
        key = f"{PREFIX}_{id_}_{secrets.token_urlsafe(_SECRET_BYTES)}"
        stored = StoredKey(
            id=id_,
            caller=caller,
            brands=brands,
            team=team,
            sha256=_sha256(key),
            created_at=now,
        )
        return Keys(keys=(*self.keys, stored)), stored, key

    def without(self, id_: str) -> tuple[Keys, StoredKey]:
        """The keys without this one, and what is gone. Raises InvalidCallers."""
        try:
            gone = self._by_id()[id_]
        except KeyError:
            raise InvalidCallers(f"no key has the id {id_!r}: see `imagegen keys list`") from None
        return Keys(keys=tuple(key for key in self.keys if key is not gone)), gone

    def _by_id(self) -> dict[str, StoredKey]:
        return {key.id: key for key in self.keys}


def id_of(key: str) -> str:
    """The part by which it is known, which opens nothing; "" where it is no key of ours."""
    prefix, _, rest = key.partition("_")
    return rest.partition("_")[0] if prefix == PREFIX else ""


def _new_id() -> str:
    return "".join(secrets.choice(_ID_LETTERS) for _ in range(_ID_LENGTH))


def _sha256(key: str) -> str:
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()
