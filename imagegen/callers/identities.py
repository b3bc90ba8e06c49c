"""Identities: what a request shows -> its Caller, by the ways that the settings allow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imagegen.callers.caller import Caller
from imagegen.callers.followed import Followed
from imagegen.callers.keys import PREFIX, Keys
from imagegen.callers.people import People
from imagegen.callers.tokens import GOOGLE, IAP, TokenCheck
from imagegen.errors import InvalidCallers, InvalidSettings, Unauthenticated
from imagegen.settings import Settings


@dataclass(frozen=True)
class Shown:
    """What a request shows to say who asks; "" for nothing."""

    key: str = ""  # sent as one, whatever it looks like
    bearer: str = ""
    assertion: str = ""  # of IAP

    @property
    def any_key(self) -> str:
        """openai's clients can only send a bearer token."""
        return self.key or (self.bearer if self.bearer.startswith(f"{PREFIX}_") else "")


class Identities:
    """Who asks. Plain data until the first question."""

    def __init__(
        self,
        keys: Followed[Keys] | None,
        google: TokenCheck | None,
        iap: TokenCheck | None,
        people: Followed[People] | None,
    ) -> None:
        """None: this way is not open. Without `people` everybody may use every brand."""
        self._keys = keys
        self._google = google
        self._iap = iap
        self._people = people
        self._ways = {
            "an API key (Authorization: Bearer, X-API-Key, or the password of Basic)": keys,
            "a Google ID token (Authorization: Bearer)": google,
            "the address behind Google's Identity-Aware Proxy": iap,
        }

    @classmethod
    def of(cls, settings: Settings) -> Identities | None:
        """None for IMAGEGEN_AUTH=none. Raises InvalidSettings and InvalidCallers."""
        ways = settings.auth_ways
        if not ways:
            return None
        if settings.role == "render":
            raise InvalidSettings(
                "IMAGEGEN_AUTH is for the service that callers reach: with IMAGEGEN_ROLE=render "
                "only the service with the role web may call, and the platform checks that"
            )
        if "google" in ways and settings.callers is None:
            raise InvalidSettings(
                "IMAGEGEN_AUTH=google needs IMAGEGEN_CALLERS: anybody can have a Google account, "
                "so a file must say who may come"
            )
        for way, setting in (("google", "google_audience"), ("iap", "iap_audience")):
            if way in ways and getattr(settings, setting) is None:
                raise InvalidSettings(f"IMAGEGEN_AUTH={way} needs IMAGEGEN_{setting.upper()}")
        followed = None if settings.callers is None else Path(settings.callers)
        return cls(
            _followed_keys(Path(settings.keys)) if "keys" in ways else None,
            TokenCheck(GOOGLE, settings.google_audience or "") if "google" in ways else None,
            TokenCheck(IAP, settings.iap_audience or "") if "iap" in ways else None,
            None if followed is None else Followed(followed, People.parse),
        )

    @property
    def takes_keys(self) -> bool:
        return self._keys is not None

    def start(self) -> None:
        """Fetches what the first caller would have to wait for; returns at once."""
        for check in (self._google, self._iap):
            if check is not None:
                check.prepare()

    def caller(self, shown: Shown) -> Caller:
        """Raises Unauthenticated, and ServiceUnreachable where Google's keys cannot be had."""
        try:
            caller = self._caller(shown)
        except Unauthenticated:
            caller = None
        if caller is None:
            ways = [way for way, check in self._ways.items() if check is not None]
            raise Unauthenticated(f"say who you are, with {' or '.join(ways)}")
        return caller

    def _caller(self, shown: Shown) -> Caller | None:
        if self._keys is not None and shown.any_key:
            return self._keys.now().caller_of(shown.any_key)
        if self._google is not None and shown.bearer:
            return self._who(self._google, shown.bearer)
        if self._iap is not None and shown.assertion:
            return self._who(self._iap, shown.assertion)
        return None

    def _who(self, check: TokenCheck, token: str) -> Caller | None:
        people = People.anybody() if self._people is None else self._people.now()
        return people.caller(check.person(token))


def _followed_keys(path: Path) -> Followed[Keys]:
    if not path.exists():
        raise InvalidCallers(
            f"{path}: there is no such file; `imagegen keys create --caller NAME` makes the first "
            "key, and IMAGEGEN_KEYS says where the file is"
        )
    return Followed(path, Keys.parse)
