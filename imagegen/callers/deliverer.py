"""Deliverer: whether it is Cloud Tasks that calls, in the name of this service's account."""

from __future__ import annotations

from imagegen.callers.tokens import GOOGLE, TokenCheck
from imagegen.errors import Unauthenticated


class Deliverer:
    """https://cloud.google.com/tasks/docs/creating-http-target-tasks#token"""

    def __init__(self, audience: str, account: str, *, checked_by_platform: bool) -> None:
        """audience: the address that is called. account: in whose name. checked_by_platform: Cloud
        Run has verified whoever gets here, and removes the signature of his token.
        """
        self._check = TokenCheck(GOOGLE, audience, checked_by_platform=checked_by_platform)
        self._account = account.lower()

    def prepare(self) -> None:
        """Fetches what is needed before somebody waits for it; returns at once."""
        self._check.prepare()

    def require(self, token: str) -> None:
        """Raises Unauthenticated, and ServiceUnreachable where Google's keys cannot be had."""
        if self._check.person(token).name != self._account:
            raise Unauthenticated("only Cloud Tasks may call this, with this service's account")
