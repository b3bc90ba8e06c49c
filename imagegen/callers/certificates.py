"""Certificates: an issuer's public keys, fetched now and then, and seldom while somebody waits."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from imagegen.errors import ServiceUnreachable

FETCH_S = 5.0  # an issuer that is silent for so long is not there
_AGAIN_S = 10.0  # after a failure
_UNKNOWN_AGAIN_S = 60.0  # an unknown key's name makes us ask once in so long, whoever makes it up
_SHORTEST_S, _LONGEST_S = 300.0, 86_400.0  # of what an issuer may say about how long they hold
_STALE_S = 86_400.0  # past that: an issuer who cannot be asked does not stop us at once
_MAX_AGE = re.compile(r"max-age=(\d{1,9})")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fetched:
    """An issuer's answer: PEM by the key's name, and how long it holds."""

    pems: Mapping[str, str]
    holds_s: float


@dataclass
class _Known:
    pems: Mapping[str, str] = field(default_factory=dict)
    fresh_until: float = 0.0  # monotonic, as are all here
    asked_at: float = -_LONGEST_S
    failed: bool = False

    def hold(self, now: float) -> bool:
        return bool(self.pems) and now <= self.fresh_until + _STALE_S


class Certificates:
    """Used by any thread. Renewed on a thread of its own before they end."""

    def __init__(self, url: str, fetch: Callable[[str], Fetched] | None = None) -> None:
        self._url = url
        self._fetch = fetch or fetch_certificates
        self._known = _Known()
        self._asking = threading.Lock()  # one question at a time

    def renew(self) -> None:
        """Returns at once."""
        threading.Thread(target=self._renew, name="certificates", daemon=True).start()

    def get(self, name: str) -> str | None:
        """The PEM of this key. Raises ServiceUnreachable where there are none at all."""
        known, now = self._known, time.monotonic()
        asked_s = now - known.asked_at
        if not known.hold(now) or (name not in known.pems and asked_s >= _UNKNOWN_AGAIN_S):
            self._renew()
        elif now >= known.fresh_until and asked_s >= _AGAIN_S and not self._asking.locked():
            self.renew()
        known = self._known
        if not known.hold(now):
            raise ServiceUnreachable("Google's public keys cannot be fetched just now", _AGAIN_S)
        return known.pems.get(name)

    def _renew(self) -> None:
        """Who comes while another asks waits for that one's answer."""
        before = self._known
        with self._asking:
            now = time.monotonic()
            if self._known is not before or (before.failed and now - before.asked_at < _AGAIN_S):
                return
            try:
                got = self._fetch(self._url)
            except Exception as error:  # whatever a network or an answer can be at fault
                _log.warning("no certificates from %s: %s", self._url, error)
                self._known = _Known(before.pems, before.fresh_until, now, failed=True)
            else:
                self._known = _Known(got.pems, now + got.holds_s, now)


def fetch_certificates(url: str) -> Fetched:
    """As Google's issuers give them: `{"name": "PEM", …}`. Raises GoogleAuthError, ValueError."""
    from google.auth.transport.requests import Request

    response = Request()(url, method="GET", timeout=FETCH_S)
    if response.status != 200:
        raise ValueError(f"HTTP {response.status}")
    pems = json.loads(response.data)
    if not isinstance(pems, dict) or not all(isinstance(pem, str) for pem in pems.values()):
        raise ValueError("not a table of keys")
    said = _MAX_AGE.search(response.headers.get("Cache-Control", ""))
    holds_s = float(said[1]) if said else _SHORTEST_S
    return Fetched(pems, min(max(holds_s, _SHORTEST_S), _LONGEST_S))
