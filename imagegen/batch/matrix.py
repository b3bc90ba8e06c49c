"""A YAML matrix: lists of values, of fields and of variables, whose product is the rows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from imagegen.batch.rows import FIELDS, Cells, near
from imagegen.batch.words import names_in
from imagegen.errors import InvalidScript
from imagegen.presets.marked_yaml import Marked, Place, YamlFault, read_yaml

MAX_REQUESTS = 100_000
_MAX_BYTES = 1 << 20
_VARIABLES, _INCLUDE, _EXCLUDE = "variables", "include", "exclude"
_KEYS = (*FIELDS, _VARIABLES, _INCLUDE, _EXCLUDE)

Scalar: TypeAlias = str | int | float | bool | None
Lists: TypeAlias = dict[str, list[Scalar]]


def read_matrix(data: bytes, file: str) -> Iterator[Cells]:
    """The product's rows, then those of `include`. Raises InvalidScript, with the line.

    Every row has exactly one value of each variable that its prompt uses. Variables that the file
    does not give are left in the prompt.
    """
    try:
        document = read_yaml(data, _MAX_BYTES)
    except YamlFault as fault:
        raise InvalidScript(f"{file}:{fault.line}: {fault}") from None
    return _Matrix(document, file).rows()


class _Matrix:
    def __init__(self, document: Marked, file: str) -> None:
        self._document, self._file = document, file
        top = self._table((), _KEYS)
        self._fields = self._lists((), [name for name in top if name in FIELDS])
        self._variables = self._variables_of(())
        self._excluded = [
            self._lists(place, list(self._table(place, (*FIELDS, *self._variables))))
            for place in self._items(_EXCLUDE)
        ]
        self._included = self._items(_INCLUDE)

    def rows(self) -> Iterator[Cells]:
        rows = list(self._parts())
        count = sum(_count(fields, variables) for _, fields, variables in rows)
        if count > MAX_REQUESTS:
            self._refuse((), f"makes {count:,} requests; {MAX_REQUESTS:,} are taken at most")
        self._refuse_unused([fields for _, fields, _ in rows])
        for line, fields, variables in rows:
            for said, values in _product(fields, variables):
                if not any(_fits(rule, said | values) for rule in self._excluded):
                    yield Cells(
                        line,
                        {name: value for name, value in said.items() if value is not None},
                        {name: [str(value)] for name, value in values.items()},
                        typed=True,
                    )

    def _parts(self) -> Iterator[tuple[int, Lists, Lists]]:
        """(line, fields, variables) of the matrix itself and of each included row."""
        if self._fields:
            yield self._document.line(("prompt",)), self._fields, self._variables
        single = {name: values for name, values in self._fields.items() if len(values) == 1}
        for place in self._included:
            said = self._table(place, (*FIELDS, _VARIABLES))
            own = self._lists(place, [name for name in said if name in FIELDS])
            variables = self._variables | self._variables_of(place)
            yield self._document.line(place), single | own, variables

    def _refuse_unused(self, rows: Sequence[Lists]) -> None:
        prompts = [str(prompt) for fields in rows for prompt in fields.get("prompt", ())]
        used = {name for prompt in prompts for name in names_in(prompt)}
        for name in self._variables:
            if name not in used:
                place = (_VARIABLES, name)
                self._refuse(place, f"no prompt uses {{{name}}}{near(name, used)}")

    def _variables_of(self, place: Place) -> Lists:
        if _VARIABLES not in self._table(place, None):
            return {}
        here = (*place, _VARIABLES)
        return self._lists(here, list(self._table(here, None)))

    def _items(self, name: str) -> list[Place]:
        """The places of the tables in a list."""
        items = self._document.value.get(name) or []
        if not isinstance(items, list):
            self._refuse((name,), f"{name}: write a list of tables: - {{brand: aurora}}")
        return [(name, number) for number in range(len(items))]

    def _table(self, place: Place, known: Sequence[str] | None) -> Mapping[str, Any]:
        found: Any = self._document.value
        for step in place:
            found = found[step]
        if not isinstance(found, dict):
            self._refuse(place, "write a table of names and values here")
        for name in found:
            if known is not None and name not in known:
                self._refuse((*place, name), f"unknown key {name!r}{near(name, known)}")
        return dict(found)

    def _lists(self, place: Place, names: Sequence[str]) -> Lists:
        """Each name's values, one or more."""
        table = self._table(place, None)
        lists: Lists = {}
        for name in names:
            said = table[name]
            lists[name] = said if isinstance(said, list) else [said]
            if not lists[name] or not all(isinstance(value, Scalar) for value in lists[name]):
                self._refuse(
                    (*place, name),
                    f"{name}: write a text, a number or a list of them; a date goes in quotes",
                )
        return lists

    def _refuse(self, place: Place, message: str) -> None:
        raise InvalidScript(f"{self._file}:{self._document.line(place)}: {message}")


def _count(fields: Lists, variables: Lists) -> int:
    """Requests that the product has, nothing excluded."""
    others = math.prod(len(values) for name, values in fields.items() if name != "prompt")
    prompts = fields.get("prompt", [None])
    return others * sum(
        math.prod(len(variables[name]) for name in _used(prompt, variables)) for prompt in prompts
    )


def _product(
    fields: Lists, variables: Lists
) -> Iterator[tuple[dict[str, Scalar], dict[str, Scalar]]]:
    for chosen in itertools.product(*fields.values()):
        said = dict(zip(fields, chosen, strict=True))
        names = _used(said.get("prompt"), variables)
        for values in itertools.product(*(variables[name] for name in names)):
            yield said, dict(zip(names, values, strict=True))


def _used(prompt: Scalar, variables: Lists) -> list[str]:
    """The variables that a prompt uses, of those that have values here."""
    return (
        [name for name in names_in(prompt) if name in variables] if isinstance(prompt, str) else []
    )


def _fits(rule: Lists, row: Mapping[str, Scalar]) -> bool:
    """Whether the row has one of the values that the rule gives for each of its names."""
    return all(name in row and row[name] in values for name, values in rule.items())
