"""Variables in prompts: `{product}` stands for each of its values; `{{` and `}}` are braces."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence

from imagegen.batch.rows import near

MAX_REQUESTS_PER_ROW = 10_000
_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")

Variables = Mapping[str, Sequence[str]]


def names_in(prompt: str) -> list[str]:
    """The variables of a prompt, in order of first use."""
    pieces = _PIECE.finditer(prompt)
    return list(dict.fromkeys(piece[1].strip() for piece in pieces if piece[1] is not None))


def expand(prompt: str, variables: Variables) -> Iterable[str]:
    """The prompt once for every combination of its variables' values. Raises ValueError."""
    names = names_in(prompt)
    for name in names:
        if not variables.get(name):
            raise ValueError(
                f"no values for {{{name}}}{near(name, variables)}; a literal brace is written {{{{"
            )
    combinations = math.prod(len(variables[name]) for name in names)
    if combinations > MAX_REQUESTS_PER_ROW:
        raise ValueError(
            f"expands to {combinations:,} requests; a row may make {MAX_REQUESTS_PER_ROW:,}"
        )
    return [
        _fill(prompt, dict(zip(names, values, strict=True)))
        for values in itertools.product(*(variables[name] for name in names))
    ]


def _fill(prompt: str, values: Mapping[str, str]) -> str:
    def replacement(piece: re.Match[str]) -> str:
        if piece[1] is not None:
            return values[piece[1].strip()]
        if piece[0] in "{}":
            raise ValueError(f"a lone {piece[0]}; a literal one is written {piece[0] * 2}")
        return piece[0][0]

    return _PIECE.sub(replacement, prompt)
