"""What exists for a caller, and what one service of ours tells another about him."""

from __future__ import annotations

import pytest

from imagegen.callers import NOBODY, Caller, forwarded_caller, forwarded_headers
from imagegen.keeping import exists_for

ANN = Caller("ann@example.com", frozenset({"aurora", "pop"}), owner="ann@example.com")
BOB = Caller("bob", owner="bob")


def test_what_is_nobodys_is_everybodys() -> None:
    assert ANN.may_see("ann@example.com")
    assert ANN.may_see("")
    assert not ANN.may_see("bob")
    assert not NOBODY.may_see("bob")


@pytest.mark.parametrize(
    ("caller", "path", "exists"),
    [
        (NOBODY, "aurora/2026/11/gen_1-0-7.png", True),
        (ANN, "aurora/2026/11/gen_1-0-7.png", True),
        (ANN, "neon/2026/11/gen_1-0-7.png", False),
        (ANN, "gen_1.png", False),
        (ANN, "", False),
        (ANN, "AURORA/2026/11/gen_1-0-7.png", False),
        (BOB, "aurora/2026/11/by-81b637d8fcd2c6da/gen_1-0-7.png", True),
        (ANN, "aurora/2026/11/by-81b637d8fcd2c6da/gen_1-0-7.png", False),
        (NOBODY, "aurora/2026/11/by-81b637d8fcd2c6da/gen_1-0-7.png", False),
        (BOB, "aurora/2026/11/by-81b637d8fcd2c6da/by-0/gen_1-0-7.png", False),
        (BOB, "aurora/2026/11/by-/gen_1-0-7.png", False),
    ],
)
def test_a_path_tells_for_whom_a_picture_exists(caller: Caller, path: str, exists: bool) -> None:
    assert exists_for(caller, path) is exists


@pytest.mark.parametrize(
    "caller",
    [
        Caller("192.0.2.7"),
        Caller("2001:db8::7"),
        BOB,
        Caller("jürgen@bücher.example", owner="jürgen@bücher.example"),
        Caller("a\r\nX-Imagegen-Owner: b%20", owner="\x00"),
    ],
)
def test_a_caller_survives_being_forwarded(caller: Caller) -> None:
    headers = forwarded_headers(caller)
    assert all(text.isascii() and text.isprintable() for text in headers.values())
    assert forwarded_caller(headers) == caller


def test_nobody_is_forwarded_as_nothing() -> None:
    assert forwarded_headers(NOBODY) == {}
    assert forwarded_caller({}) is None
