"""A prompt script: rows of a file become requests, variables expanded, seeds settled."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from imagegen.batch.matrix import read_matrix
from imagegen.batch.openai_lines import Translate, is_openai, read_openai
from imagegen.batch.rows import BadRow, Cells, near, read_file, read_rows, suffix_of
from imagegen.batch.words import Variables, expand, names_in
from imagegen.errors import CallerError, InvalidScript
from imagegen.generation import GenerationRequest
from imagegen.parsing import parse_json, parse_strings

_Read = tuple[int, str, GenerationRequest] | BadRow  # line, the line itself or "", what it asks for


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

    @property
    def request(self) -> GenerationRequest:
        """What is asked for; its seed is always said."""
        return GenerationRequest.model_validate_json(self.content)


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
        read: Iterable[_Read] = read_openai(data, str(file), translate)
    elif suffix_of(file) in (".yaml", ".yml"):
        read = _expanded(read_matrix(data, str(file)), given, used)
    else:
        read = _expanded(read_rows(data, str(file)), given, used)
    rows: list[ScriptRow] = []
    bad_rows: list[BadRow] = []
    occurrences: Counter[bytes] = Counter()
    for one in read:
        if isinstance(one, BadRow):
            bad_rows.append(one)
        else:
            rows.append(_settle(*one, occurrences))
    if unused := sorted(set(given) - used):
        raise InvalidScript(f"no prompt uses {{{unused[0]}}}{near(unused[0], used)}")
    return PromptScript(tuple(rows), tuple(bad_rows))


def _expanded(rows: Iterable[Cells | BadRow], given: Variables, used: set[str]) -> Iterator[_Read]:
    """Requests with the line they stand on; `used` learns which variables there are."""
    for cells in rows:
        if isinstance(cells, BadRow):
            yield cells
            continue
        used.update(names_in(str(cells.fields.get("prompt", ""))))
        for request in _requests(cells, given):
            yield request if isinstance(request, BadRow) else (cells.line, "", request)


def _requests(cells: Cells, given: Variables) -> Iterator[GenerationRequest | BadRow]:
    try:
        prompts = _prompts(cells, given)
    except ValueError as error:
        yield BadRow(cells.line, f"prompt: {error}")
        return
    for prompt in prompts:
        said = cells.fields if prompt is None else {**cells.fields, "prompt": prompt}
        try:
            yield parse_json(json.dumps(said).encode()) if cells.typed else parse_strings(said)
        except CallerError as error:
            yield BadRow(cells.line, error.detail)


def _prompts(cells: Cells, given: Variables) -> Iterable[str | None]:
    prompt = cells.fields.get("prompt")
    if not isinstance(prompt, str):
        return [None]  # missing or not text: the request's own check says so
    return expand(prompt, {**given, **cells.variables})


def _settle(
    line: int, original: str, request: GenerationRequest, occurrences: Counter[bytes]
) -> ScriptRow:
    """Gives a request its key and, where none is said, a seed derived from it.

    The content is what differs from the defaults, so keys survive new request fields.
    """
    content = json.dumps(request.model_dump(mode="json", exclude_defaults=True), sort_keys=True)
    same = hashlib.sha256(content.encode()).digest()[:16]
    occurrences[same] += 1
    digest = hashlib.sha256(f"{content}#{occurrences[same]}".encode())
    if request.seed is None:
        seed = int.from_bytes(digest.digest()[-4:], "big")
        request = request.model_copy(update={"seed": seed})
    settled = request.model_dump_json(exclude_defaults=True).encode()
    return ScriptRow(line, digest.hexdigest()[:16], request.num_images, settled, original)
