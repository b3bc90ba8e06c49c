"""Words a prompt may not hold: banned terms, and tags that would reach for other adapters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_TAG = re.compile(r"<\s*(lora|lyco|hypernet)\s*:", re.IGNORECASE)
_INVISIBLE_MARKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0") | frozenset(
    chr(code) for code in range(0xFE00, 0xFE10)
)
# scripts that write no space between words: Thai to Burmese, Khmer, kana, Han
_UNSPACED = re.compile(
    "[\u0e00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]"
)


def find_banned(text: str, terms: Iterable[str]) -> list[str]:
    """The terms that `text` holds as whole words or phrases, in whatever letter forms."""
    folded = fold(text)
    return [term for term in terms if _holds(folded, fold(term))]


def has_adapter_tag(text: str) -> bool:
    """Whether `text` holds `<lora:…`, `<lyco:…` or `<hypernet:…` in whatever letter forms."""
    return _TAG.search(_visible(text)) is not None


def fold(text: str) -> str:
    """The words of a text without case, width, invisible characters and punctuation.

    NFKC and case folding as in Unicode's toNFKC_Casefold (Standard, section 5.18).
    """
    folded = unicodedata.normalize("NFKC", _visible(text).casefold())
    return " ".join("".join(c if _in_word(c) else " " for c in folded).split())


def _visible(text: str) -> str:
    normal = unicodedata.normalize("NFKC", text)
    return "".join(
        c for c in normal if unicodedata.category(c) != "Cf" and c not in _INVISIBLE_MARKS
    )


def _in_word(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNM"


def _holds(text: str, term: str) -> bool:
    if _UNSPACED.search(term):
        return term in text
    return f" {term} " in f" {text} "
