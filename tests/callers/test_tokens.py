"""Tokens that Google signed, or did not; its keys, and what happens when they cannot be had."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from google_issuer import (
    KeyServer,
    Signer,
    claims_of,
    key_server,
    signed_with_public_key,
    unsigned,
)

from imagegen.callers import certificates
from imagegen.callers.certificates import Certificates, Fetched
from imagegen.callers.people import People, Person
from imagegen.callers.tokens import GOOGLE, IAP, Issuer, TokenCheck
from imagegen.errors import InvalidCallers, ServiceUnreachable, Unauthenticated

AUDIENCE = "https://ours.example"
ISSUERS = {"RS256": GOOGLE, "ES256": IAP}


@pytest.fixture(scope="module", params=["RS256", "ES256"])
def signer(request: pytest.FixtureRequest) -> Signer:
    return Signer(request.param, "k1")


@pytest.fixture(scope="module")
def stranger(signer: Signer) -> Signer:
    """Another key under the same name."""
    return Signer(signer.algorithm, signer.name)


@pytest.fixture
def server(signer: Signer) -> Iterator[KeyServer]:
    with key_server(signer) as server:
        yield server


@pytest.fixture
def issuer(signer: Signer, server: KeyServer) -> Issuer:
    return replace(ISSUERS[signer.algorithm], certificates_url=server.url)


@pytest.fixture
def check(issuer: Issuer) -> TokenCheck:
    return TokenCheck(issuer, AUDIENCE)


def claims(issuer: Issuer, **more: Any) -> dict[str, Any]:
    return claims_of(max(issuer.names, key=len), AUDIENCE, **more)


def test_a_right_token_is_about_somebody(
    check: TokenCheck, issuer: Issuer, signer: Signer, server: KeyServer
) -> None:
    said = claims(issuer, email="Ann@Example.com", email_verified=True, hd="Example.com")
    for _ in range(3):
        assert check.person(signer.token(said)) == Person("ann@example.com", "example.com")
    assert server.asked == 1, "the keys are kept"


def test_who_has_no_address_is_a_number(check: TokenCheck, issuer: Issuer, signer: Signer) -> None:
    assert check.person(signer.token(claims(issuer))) == Person("107")
    unverified = claims(issuer, email="ann@example.com", email_verified=False)
    assert check.person(signer.token(unverified)) == Person("107")


def test_a_private_account_in_a_company_s_name_is_not_the_company_s(
    check: TokenCheck, issuer: Issuer, signer: Signer
) -> None:
    private = claims(issuer, email="ann@example.com", email_verified=True)
    assert check.person(signer.token(private)).domain == ""
    robot = claims(issuer, email="web@p.iam.gserviceaccount.com", email_verified=True)
    assert check.person(signer.token(robot)).domain == "p.iam.gserviceaccount.com"


Forge = Callable[[dict[str, Any], Signer, Signer], str]
FORGERIES: dict[str, Forge] = {
    "another key": lambda said, _, stranger: stranger.token(said),
    "no signature": lambda said, signer, _: unsigned(said, signer.name),
    "alg none, signed": lambda said, signer, _: signer.token(said, alg="none"),
    "the public key as a secret": lambda said, signer, _: signed_with_public_key(said, signer),
    "the other algorithm": lambda said, signer, _: signer.token(
        said, alg="ES256" if signer.algorithm == "RS256" else "RS256"
    ),
    "no key's name": lambda said, signer, _: signer.token(said, kid=None),
    "an unknown key": lambda said, signer, _: signer.token(said, kid="k2"),
    "a list for a name": lambda said, signer, _: signer.token(said, kid=["k1"]),
    "another audience": lambda said, signer, _: signer.token(said | {"aud": "https://other"}),
    "no audience": lambda said, signer, _: signer.token({**said, "aud": None}),
    "another issuer": lambda said, signer, _: signer.token(said | {"iss": "https://evil.example"}),
    "expired": lambda said, signer, _: signer.token(said | {"exp": int(time.time()) - 31}),
    "of the future": lambda said, signer, _: signer.token(said | {"iat": int(time.time()) + 60}),
    "no end": lambda said, signer, _: signer.token({k: v for k, v in said.items() if k != "exp"}),
    "an end in words": lambda said, signer, _: signer.token(said | {"exp": "never"}),
    "about nobody": lambda said, signer, _: signer.token(said | {"sub": "", "email": ""}),
    "a claim changed": lambda said, signer, _: _with_payload_of(
        signer.token(said), signer.token(said | {"sub": "1"})
    ),
    "cut": lambda said, signer, _: signer.token(said)[:-5],
    "no token": lambda *_: "abc",
    "two dots": lambda *_: "..",
    "deep": lambda *_: f"{_deep()}.{_deep()}.x",
    "long": lambda said, signer, _: signer.token(said | {"more": "x" * 9_000}),
}


def _with_payload_of(token: str, other: str) -> str:
    head, _, signature = token.split(".")
    return f"{head}.{other.split('.')[1]}.{signature}"


def _deep() -> str:
    return base64.urlsafe_b64encode(b"[" * 2_500).decode()


@pytest.mark.parametrize("forgery", FORGERIES)
def test_whatever_is_wrong_is_told_alike(
    check: TokenCheck, issuer: Issuer, signer: Signer, stranger: Signer, forgery: str
) -> None:
    said = claims(issuer, email="ann@example.com", email_verified=True)
    with pytest.raises(Unauthenticated) as told:
        check.person(FORGERIES[forgery](said, signer, stranger))
    assert str(told.value) == ""


def test_clocks_may_differ_by_half_a_minute(
    check: TokenCheck, issuer: Issuer, signer: Signer
) -> None:
    now = int(time.time())
    assert check.person(signer.token(claims(issuer, exp=now - 25))).name == "107"
    assert check.person(signer.token(claims(issuer, iat=now + 25))).name == "107"


# Google's keys


class Source:
    """Gives what it is told to."""

    def __init__(self) -> None:
        self.pems: dict[str, str] = {"k1": "pem 1"}
        self.fails = False
        self.asked = 0
        self.open = threading.Event()  # closed: the answer is held
        self.open.set()

    def __call__(self, _url: str) -> Fetched:
        self.asked += 1
        self.open.wait(10)
        if self.fails:
            raise ValueError("no answer")
        return Fetched(dict(self.pems), 3_600)


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """[now]: `time.monotonic` for certificates."""
    now = [1_000.0]

    class Clock:
        monotonic = staticmethod(lambda: now[0])

    monkeypatch.setattr(certificates, "time", Clock)
    return now


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_keys_are_renewed_while_nobody_waits(source: Source, clock: list[float]) -> None:
    held = Certificates("", source)
    assert held.get("k1") == "pem 1"
    source.pems = {"k1": "pem 2"}
    source.open.clear()
    clock[0] += 3_601
    for _ in range(20):
        assert held.get("k1") == "pem 1", "the old ones hold while the new ones are fetched"
    source.open.set()
    until(lambda: held.get("k1") == "pem 2")
    assert source.asked == 2


def test_a_new_key_is_asked_for_and_an_invented_one_once_a_minute(
    source: Source, clock: list[float]
) -> None:
    held = Certificates("", source)
    assert held.get("k1") == "pem 1"
    for number in range(50):
        assert held.get(f"invented {number}") is None
    assert source.asked == 1
    source.pems["k2"] = "pem 2"
    clock[0] += 61
    assert held.get("k2") == "pem 2"
    assert source.asked == 2


def test_where_there_are_none_it_says_so_and_does_not_hammer(
    source: Source, clock: list[float]
) -> None:
    source.fails = True
    held = Certificates("", source)
    for _ in range(20):
        with pytest.raises(ServiceUnreachable):
            held.get("k1")
    assert source.asked == 1
    source.fails = False
    clock[0] += 11
    assert held.get("k1") == "pem 1"


def test_old_keys_hold_for_a_day_when_the_issuer_is_silent(
    source: Source, clock: list[float]
) -> None:
    held = Certificates("", source)
    held.get("k1")
    source.fails = True
    clock[0] += 20 * 3_600
    assert held.get("k1") == "pem 1"
    until(lambda: source.asked == 2)
    clock[0] += 6 * 3_600
    with pytest.raises(ServiceUnreachable):
        held.get("k1")


def test_an_issuer_that_answers_nonsense_has_no_keys(server: KeyServer) -> None:
    server.broken = True
    with pytest.raises(ServiceUnreachable):
        Certificates(server.url).get("k1")


# Who may use what


def test_an_address_comes_before_its_domain_and_a_domain_before_everybody() -> None:
    people = People.parse(
        b"""
- {who: Ann@example.com, brands: all}
- {who: example.com, brands: [aurora, pop]}
- {who: "107", brands: [pop]}
- {who: "*", brands: []}
"""
    )
    ann, bob = Person("ann@example.com", "example.com"), Person("bob@example.com", "example.com")
    for person, brands in (
        (ann, None),
        (bob, {"aurora", "pop"}),
        (Person("107"), {"pop"}),
        (Person("eve@example.com"), set()),
    ):
        caller = people.caller(person)
        assert caller is not None
        assert (caller.name, caller.owner, caller.brands) == (person.name, person.name, brands)


def test_what_a_team_makes_is_the_team_s_and_each_has_a_name_of_his_own() -> None:
    people = People.parse(
        b"""
- {who: example.com, brands: all, team: marketing}
- {who: ann@example.com, brands: [pop]}
"""
    )
    bob, ann = Person("bob@example.com", "example.com"), Person("ann@example.com", "example.com")
    for person, owner in ((bob, "team:marketing"), (ann, ann.name)):
        caller = people.caller(person)
        assert caller is not None
        assert (caller.name, caller.owner, caller.signature) == (person.name, owner, person.name)


def test_who_does_not_stand_there_may_not_ask() -> None:
    people = People.parse(b"- {who: example.com, brands: all}")
    assert people.caller(Person("eve@evil.example", "evil.example")) is None
    assert people.caller(Person("eve@example.com")) is None, "a private account"


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "ann: all", "- ann", "- {who: ann}", "- {who: ann, brands: some}",
        "- {who: ann, brands: [Aurora]}", "- {who: ann, brands: all, more: 1}",
        "- {who: ann, brands: all, team: our team}", "- {who: ann, brands: all, team: ''}",
        "- {who: ann, brands: all}\n- {who: Ann, brands: [pop]}", "\x00", "[" * 5_000,
    ],
)  # fmt: skip
def test_a_faulty_file_of_people_is_refused(text: str) -> None:
    with pytest.raises(InvalidCallers):
        People.parse(text.encode())
