"""TokenCheck: a JWT that Google signed -> the Person it is about."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imagegen.callers.certificates import Certificates
from imagegen.callers.people import Person
from imagegen.errors import Unauthenticated

CLOCK_SKEW_S = 30  # what Google's own instructions for IAP allow for
_LONGEST = 8_000  # characters; theirs have some 800
_SIGNATURE_REMOVED = ".SIGNATURE_REMOVED_BY_GOOGLE"
_SERVICE_ACCOUNTS = ".gserviceaccount.com"


@dataclass(frozen=True)
class Issuer:
    """Who signs, and how: an issuer has one algorithm, whatever a token's header says."""

    names: frozenset[str]
    algorithm: str
    certificates_url: str
    tells_verified: bool  # whether it has addresses that nobody has confirmed, and says so


# https://developers.google.com/identity/openid-connect/openid-connect#validatinganidtoken
GOOGLE = Issuer(
    frozenset({"https://accounts.google.com", "accounts.google.com"}),
    "RS256",
    "https://www.googleapis.com/oauth2/v1/certs",
    tells_verified=True,
)
# https://cloud.google.com/iap/docs/signed-headers-howto
IAP = Issuer(
    frozenset({"https://cloud.google.com/iap"}),
    "ES256",
    "https://www.gstatic.com/iap/verify/public_key",
    tells_verified=False,
)


class TokenCheck:
    """Signature, issuer, audience and time. Google's library is imported with the first token."""

    def __init__(self, issuer: Issuer, audience: str, *, checked_by_platform: bool = False) -> None:
        """audience: for whom a token must be meant; one for somebody else opens nothing here.
        checked_by_platform: nobody gets here but whom Cloud Run has verified, so that a token whose
        signature it has removed is good.
        """
        self._checked_by_platform = checked_by_platform
        self._issuer = issuer
        self._audience = audience
        self._certificates = Certificates(issuer.certificates_url)

    def prepare(self) -> None:
        """Fetches what is needed before somebody waits for it; returns at once."""
        self._certificates.renew()

    def person(self, token: str) -> Person:
        """Raises Unauthenticated, which never says what was wrong, and ServiceUnreachable."""
        if len(token) > _LONGEST:
            raise Unauthenticated
        return _person(self._claims(token), self._issuer)

    def _claims(self, token: str) -> Mapping[str, Any]:
        from google.auth.exceptions import GoogleAuthError

        try:
            if self._checked_by_platform and token.endswith(_SIGNATURE_REMOVED):
                claims = self._unsigned(token)
            else:
                claims = self._signed(token)
        # What is not JSON, JSON that is nested too deep, and what Google's library trips over.
        except (GoogleAuthError, ValueError, TypeError, RecursionError):
            raise Unauthenticated from None
        if claims.get("iss") not in self._issuer.names:
            raise Unauthenticated
        return claims

    def _signed(self, token: str) -> Mapping[str, Any]:
        from google.auth import jwt

        header = jwt.decode_header(token)
        name = header.get("kid")
        if header.get("alg") != self._issuer.algorithm or not isinstance(name, str) or not name:
            raise Unauthenticated
        pem = self._certificates.get(name)
        if pem is None:
            raise Unauthenticated
        claims: Mapping[str, Any] = jwt.decode(
            token, {name: pem}, audience=self._audience, clock_skew_in_seconds=CLOCK_SKEW_S
        )
        return claims

    def _unsigned(self, token: str) -> Mapping[str, Any]:
        """https://cloud.google.com/run/docs/troubleshooting#signature-removed"""
        from google.auth import jwt

        claims: Mapping[str, Any] = jwt.decode(token, verify=False)
        ends_at = float(claims.get("exp", 0))
        if claims.get("aud") != self._audience or ends_at + CLOCK_SKEW_S < time.time():
            raise Unauthenticated
        return claims


def _person(claims: Mapping[str, Any], issuer: Issuer) -> Person:
    """Who it is about: by e-mail address where Google says that it is his.

    An account's domain is what Google calls hosted (`hd`): anybody can have a private account in
    the name of an address that was his once. Service accounts have none, and Google owns theirs.
    """
    email, subject = claims.get("email"), claims.get("sub")
    if (
        isinstance(email, str)
        and email
        and claims.get("email_verified", not issuer.tells_verified) is True
    ):
        name = email.lower()
        address_domain = name.rpartition("@")[2]
        hosted = claims.get("hd")
        if isinstance(hosted, str):
            return Person(name, hosted.lower())
        return Person(name, address_domain if address_domain.endswith(_SERVICE_ACCOUNTS) else "")
    if isinstance(subject, str) and subject:
        return Person(subject)
    raise Unauthenticated
