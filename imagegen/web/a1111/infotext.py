"""AUTOMATIC1111's text about a picture, taken apart: a prompt, what it must not show, settings."""

from __future__ import annotations

import json
import re

_NEGATIVE = "Negative prompt:"
_PAIR = re.compile(r'\s*(\w[\w /-]*):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)')
_SIZE = re.compile(r"(\d+)x(\d+)")
_FEWEST_PAIRS = 3  # in a last line that is about settings and not the end of a prompt


def parse_infotext(text: str) -> dict[str, str]:
    """`Prompt`, `Negative prompt`, and the settings by their names; `Size` as `Size-1`, `Size-2`.

    Nothing for an empty text, which pictures from elsewhere have.
    """
    if not text.strip():
        return {}
    *words, last = text.strip().split("\n")
    settings = _settings(last)
    if len(settings) < _FEWEST_PAIRS:
        words, settings = [*words, last], {}
    begins = [index for index, line in enumerate(words) if line.strip().startswith(_NEGATIVE)]
    split = begins[0] if begins else len(words)
    negative = "\n".join(words[split:]).strip().removeprefix(_NEGATIVE)
    return {
        "Prompt": "\n".join(words[:split]).strip(),
        "Negative prompt": negative.strip(),
        **settings,
    }


def _settings(line: str) -> dict[str, str]:
    """`Steps: 20, Size: 512x512, Model: "a, b"`, up to where it is no longer like that."""
    found: dict[str, str] = {}
    at = 0
    while at < len(line) and (pair := _PAIR.match(line, at)):
        name, value = pair[1], _unquoted(pair[2].strip())
        if size := _SIZE.fullmatch(value):
            found[f"{name}-1"], found[f"{name}-2"] = size[1], size[2]
        else:
            found[name] = value
        at = pair.end()
    return found


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value
