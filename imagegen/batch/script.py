"""A prompt script: rows of a file become requests, variables expanded, seeds settled."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from imagegen.batch.matrix import read_matrix
from imagegen.batch.openai_lines import Translate, is_openai, read_openai
from imagegen.batch.rows import BadRow, Cells, near, read_file, read_rows, suffix_of
from imagegen.batch.sent_files import files_in, in_base64
from imagegen.batch.words import Variables, expand, names_in
from imagegen.client.request import PICTURES
from imagegen.errors import CallerError, InvalidScript
from imagegen.generation import GenerationRequest
from imagegen.parsing import parse_json, parse_strings

_NO_FILES: Mapping[str, str] = {}
_DEFAULTS = {
    name: field.default
    for name, field in GenerationRequest.model_fields.items()
    if field.default is not None and not field.is_required()
}


@dataclass(frozen=True)
class _Asked:
    """What a row asks for, before it has its key."""

    line: int
    request: GenerationRequest
    original: str = ""  # the line itself, where its answer needs it
    files: Mapping[str, str] = field(default_factory=dict)  # fields that come from files


@dataclass(frozen=True, slots=True)
class ScriptRow:
    """One request of a script. `key` stays while the row's content does, wherever it stands.

    The request is kept as JSON, in a tenth of the memory: campaigns have tens of thousands.
    """

    line: int
    key: str
    num_images: int
    content: bytes = field(repr=False)
    original: str = field(default="", repr=False)  # the line itself, where its answer needs it
    files: Mapping[str, str] = field(default_factory=dict)  # fields that come from files, and where

    @property
    def request(self) -> GenerationRequest:
        """What is asked for; its seed is always said. Raises InvalidRequest: files may be gone."""
        if not self.files:
            return GenerationRequest.model_validate_json(self.content)
        said = json.loads(self.content) | in_base64(self.files)
        return parse_json(json.dumps(said).encode())

    @property
    def told(self) -> dict[str, Any]:
        """The request for who only looks: files by their names, defaults included."""
        said: dict[str, Any] = _DEFAULTS | json.loads(self.content)
        sent = {name: f"Base64 of {len(said[name]):,} letters" for name in PICTURES if name in said}
        return said | sent | dict(self.files)


@dataclass(frozen=True)
class PromptScript:
    """A whole file, read and checked: what can be rendered and what cannot."""

    rows: tuple[ScriptRow, ...]
    bad_rows: tuple[BadRow, ...]

    @property
    def num_images(self) -> int:
        return sum(row.num_images for row in self.rows)

    @property
    def is_openai(self) -> bool:
        """Whether it is a batch file of OpenAI's, whose rows want answers in its shape."""
        first: list[ScriptRow | BadRow] = [*self.rows[:1], *self.bad_rows[:1]]
        return any(row.original for row in first)

    def share(self, index: int, count: int) -> PromptScript:
        """What falls to the task `index`, from 0, of `count`: every row falls to exactly one."""
        return PromptScript(self.rows[index::count], self.bad_rows[index::count])


def read_script(
    file: str | Path, variables: Variables | None = None, translate: Translate | None = None
) -> PromptScript:
    """Reads a script, here or at `gs://…`; `variables` hold for rows that do not say their own.

    translate: what the bodies of an OpenAI batch file mean. Raises InvalidScript for what concerns
    the whole file: unreadable, not UTF-8, no header, unknown columns. A fault of one row becomes a
    BadRow and the others go on.
    """
    data, given, used = read_file(file), dict(variables or {}), set[str]()
    if translate is not None and is_openai(data):
        read: Iterable[_Asked | BadRow] = (
            one if isinstance(one, BadRow) else _Asked(one[0], one[2], one[1])
            for one in read_openai(data, str(file), translate)
        )
    else:
        is_matrix = suffix_of(file) in (".yaml", ".yml")
        cells = (read_matrix if is_matrix else read_rows)(data, str(file))
        read = _expanded(cells, str(file), given, used)
    script = _settled(read)
    if unused := sorted(set(given) - used):
        raise InvalidScript(f"no prompt uses {{{unused[0]}}}{near(unused[0], used)}")
    return script


def read_pasted(text: str, most_rows: int, unsaid: Mapping[str, object]) -> PromptScript:
    """A script that somebody else wrote: no file of this machine is opened for it.

    unsaid: the fields of rows that do not say them. Raises InvalidScript for what concerns the
    whole text, also where it has too many rows.
    """
    rows = (_completed(cells, unsaid) for cells in read_rows(text.encode(), ""))
    cells = map(_without_files, rows)
    read = _expanded(cells, "", {}, set())
    script = _settled(itertools.islice(read, most_rows + 1))
    if len(script.rows) + len(script.bad_rows) > most_rows:
        raise InvalidScript(f"there are over {most_rows:,} rows; make several campaigns of them")
    return script


def _completed(cells: Cells | BadRow, unsaid: Mapping[str, object]) -> Cells | BadRow:
    if isinstance(cells, BadRow):
        return cells
    given = {name: value if cells.typed else str(value) for name, value in unsaid.items()}
    return replace(cells, fields={**given, **cells.fields})


def _without_files(cells: Cells | BadRow) -> Cells | BadRow:
    if isinstance(cells, BadRow):
        return cells
    for name in PICTURES:
        if name in cells.fields:
            return BadRow(cells.line, f"{name}: pictures cannot be sent with a campaign here")
    return cells


def _settled(read: Iterable[_Asked | BadRow]) -> PromptScript:
    rows: list[ScriptRow] = []
    bad_rows: list[BadRow] = []
    occurrences: Counter[bytes] = Counter()
    for one in read:
        if isinstance(one, BadRow):
            bad_rows.append(one)
        else:
            rows.append(_settle(one, occurrences))
    return PromptScript(tuple(rows), tuple(bad_rows))


def _expanded(
    rows: Iterable[Cells | BadRow], script: str, given: Variables, used: set[str]
) -> Iterator[_Asked | BadRow]:
    """Requests with the line they stand on; `used` learns which variables there are."""
    for cells in rows:
        if isinstance(cells, BadRow):
            yield cells
        else:
            used.update(names_in(str(cells.fields.get("prompt", ""))))
            yield from _requests(cells, script, given)


def _requests(cells: Cells, script: str, given: Variables) -> Iterator[_Asked | BadRow]:
    files = files_in(cells.fields, script)
    try:
        prompts = _prompts(cells, given)
        fields = {**cells.fields, **in_base64(files)}
    except ValueError as error:
        yield BadRow(cells.line, f"prompt: {error}")
        return
    except CallerError as error:
        yield BadRow(cells.line, error.detail)
        return
    for prompt in prompts:
        said = fields if prompt is None else {**fields, "prompt": prompt}
        try:
            read = parse_json(json.dumps(said).encode()) if cells.typed else parse_strings(said)
            yield _Asked(cells.line, read, files=files)
        except CallerError as error:
            yield BadRow(cells.line, error.detail)


def _prompts(cells: Cells, given: Variables) -> Iterable[str | None]:
    prompt = cells.fields.get("prompt")
    if not isinstance(prompt, str):
        return [None]  # missing or not text: the request's own check says so
    return expand(prompt, {**given, **cells.variables})


def _settle(asked: _Asked, occurrences: Counter[bytes]) -> ScriptRow:
    """Gives a request its key and, where none is said, a seed derived from it.

    The content is what differs from the defaults, so keys survive new request fields.
    """
    request = asked.request
    content = json.dumps(request.model_dump(mode="json", exclude_defaults=True), sort_keys=True)
    same = hashlib.sha256(content.encode()).digest()[:16]
    occurrences[same] += 1
    digest = hashlib.sha256(f"{content}#{occurrences[same]}".encode())
    if request.seed is None:
        seed = int.from_bytes(digest.digest()[-4:], "big")
        request = request.model_copy(update={"seed": seed})
    kept = request.model_dump_json(exclude_defaults=True, exclude=set(asked.files)).encode()
    key = digest.hexdigest()[:16]
    files = asked.files or _NO_FILES  # one for all
    return ScriptRow(asked.line, key, request.num_images, kept, asked.original, files)
