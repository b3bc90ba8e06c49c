"""YAML that remembers its lines: plain values only, no aliases, no key twice, bounded in size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

MAX_BYTES = 64 * 1024

Place = tuple[str | int, ...]  # the keys and indexes that lead to a value


class YamlFault(ValueError):
    """A text that is not the YAML we take, and the line (from 1) where that shows."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Marked:
    """A document's value, and the line on which each key or list item of it stands."""

    value: Any
    lines: dict[Place, int]

    def line(self, place: Place) -> int:
        """The line of a place, or of the nearest thing around it that is written down."""
        while place not in self.lines:
            place = place[:-1]
        return self.lines[place]


def read_yaml(data: bytes, max_bytes: int = MAX_BYTES) -> Marked:
    """Reads one document of texts, numbers, lists and tables. Raises YamlFault."""
    if len(data) > max_bytes:
        raise YamlFault(1, f"the file has {len(data)} bytes, at most {max_bytes} are read")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise YamlFault(data.count(b"\n", 0, error.start) + 1, "this is not UTF-8") from None
    try:
        loader = _NoAliases(text)
        root = loader.get_single_node()
        lines: dict[Place, int] = {(): 1}
        value = None if root is None else _value(loader, root, (), lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        raise YamlFault(line, error.problem or "this is not YAML") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlFault(line, f"the character {error.character:#06x} may not appear") from None
    except RecursionError:
        raise YamlFault(1, "the file is nested too deep") from None
    except YamlFault:
        raise
    except (ValueError, OverflowError) as error:  # an escape beyond Unicode
        raise YamlFault(1, f"this is not YAML: {error}") from None
    return Marked(value, lines)


class _NoAliases(yaml.SafeLoader):
    """An alias lets a small file mean a huge one, and no preset needs any."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not read; write the value out",
                problem_mark=event.start_mark,
            )
        return super().compose_node(parent, index)


def _value(loader: _NoAliases, node: yaml.Node, place: Place, lines: dict[Place, int]) -> Any:
    if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
        return _table(loader, node, place, lines)
    if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
        for index, item in enumerate(node.value):
            lines[*place, index] = _line(item)
        return [
            _value(loader, item, (*place, index), lines) for index, item in enumerate(node.value)
        ]
    if isinstance(node, yaml.ScalarNode):
        return _scalar(loader, node)
    raise YamlFault(_line(node), f"the tag {node.tag} is not read; write plain values")


def _table(
    loader: _NoAliases, node: yaml.MappingNode, place: Place, lines: dict[Place, int]
) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = _scalar(loader, key_node) if isinstance(key_node, yaml.ScalarNode) else None
        if not isinstance(key, str):
            raise YamlFault(_line(key_node), "a key must be a text; put it in quotes")
        if key in table:
            first = lines[*place, key]
            raise YamlFault(_line(key_node), f"{key!r} is said twice, first on line {first}")
        lines[*place, key] = _line(key_node)
        table[key] = _value(loader, value_node, (*place, key), lines)
    return table


def _scalar(loader: _NoAliases, node: yaml.ScalarNode) -> Any:
    try:
        value = loader.construct_object(node)
        if isinstance(value, str):
            value.encode()  # an escape can write half a character
    except yaml.constructor.ConstructorError:
        message = f"the tag {node.tag} is not read; write plain values"
        raise YamlFault(_line(node), message) from None
    except (ValueError, LookupError, AttributeError):
        # a number of thousands of digits, a day that is in no calendar, !!bool perhaps
        raise YamlFault(_line(node), "this value cannot be read; put it in quotes") from None
    return value


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
