"""Texts: every word on the studio's pages, in one catalogue per language (web/texts/*.yaml)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

_FOLDER = Path(__file__).parents[1] / "texts"
LANGUAGES = tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))  # "en", "es"
FALLBACK = "en"
_FOR_SCRIPTS = "script."


class Texts:
    """One language: `t("create.prompt")`, with values for the places that a text leaves open.

    A text that differs with a number is two, `one` and `other`, and is asked for with `count`.
    """

    def __init__(self, language: str, words: Mapping[str, str]) -> None:
        self.language = language
        self.words = words

    def __call__(self, key: str, **values: object) -> str:
        """Raises KeyError for a text that nobody wrote."""
        if key not in self.words:
            key = f"{key}.{'one' if values['count'] == 1 else 'other'}"
        return self.words[key].format(**values)

    @property
    def for_scripts(self) -> str:
        """JSON: the texts that scripts show, by what follows `script.` in their keys."""
        return json.dumps(
            {
                key.removeprefix(_FOR_SCRIPTS): text
                for key, text in self.words.items()
                if key.startswith(_FOR_SCRIPTS)
            },
            ensure_ascii=False,
        )


@cache
def texts_in(language: str) -> Texts:
    """language: one of LANGUAGES."""
    content = yaml.safe_load((_FOLDER / f"{language}.yaml").read_text(encoding="utf-8"))
    return Texts(language, _flat(content))


def _flat(section: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in section.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found
