"""A batch: rows of a script are rendered, each recorded as it ends: nothing is lost or redone."""

from __future__ import annotations

import heapq
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from imagegen.batch.image_source import ImageSource, RequestCheck
from imagegen.batch.manifest import FILES as MANIFEST_FILES
from imagegen.batch.manifest import ManifestRow, write_manifest
from imagegen.batch.output import BatchOutput, OpenFile, RowResult
from imagegen.batch.row_queue import RowQueue
from imagegen.batch.rows import BadRow
from imagegen.batch.script import PromptScript, ScriptRow
from imagegen.client.crew import Crew
from imagegen.client.pace import Pace
from imagegen.errors import Busy, ImagegenError
from imagegen.generation import GenerationRequest

PATIENCE_S = 900.0  # how long the run goes on while all that it is told is "not now"
_SLUG_LENGTH = 40
_KEY_LENGTH = 12

OnRow = Callable[[ManifestRow], None]
Ended = Sequence[tuple[ScriptRow, RowResult | Exception]]


@dataclass(frozen=True)
class Outcome:
    """How many rows ended how, whether in this run or an earlier one."""

    succeeded: int
    failed: int
    invalid: int
    pending: int

    @property
    def complete(self) -> bool:
        return not (self.failed or self.invalid or self.pending)


def checked(script: PromptScript, check: RequestCheck) -> PromptScript:
    """The script with every row that is sure to be refused moved to the bad rows."""
    rows: list[ScriptRow] = []
    bad_rows = list(script.bad_rows)
    for row in script.rows:
        try:
            check(row.request)
        except ImagegenError as error:
            bad_rows.append(BadRow(row.line, error.detail, row.original, error.code))
        else:
            rows.append(row)
    return PromptScript(tuple(rows), tuple(sorted(bad_rows, key=lambda bad: bad.line)))


class Batch:
    """One run over a script. The calling thread decides and records; others ask and write pictures.

    `share` is the part of the script that this run renders, by default all; the manifest is of the
    whole script. Rows that succeeded before are skipped, as are those that failed, but with
    `retry_failed`. Where nothing but "not now" is heard for `patience_s` the run ends, with the
    last one in `gave_up`.
    """

    def __init__(
        self,
        title: str,
        script: PromptScript,
        output: BatchOutput,
        share: PromptScript | None = None,
        *,
        retry_failed: bool = False,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._title = title
        self._script = script
        self._share = script if share is None else share
        self._output = output
        self._patience_s = patience_s
        self._stop = threading.Event()
        self._statuses = {row.key: output.status(row.key) or "pending" for row in self._share.rows}
        again = ("pending", "failed") if retry_failed else ("pending",)
        self.todo = [row for row in self._share.rows if self._statuses[row.key] in again]
        self.gave_up: Busy | None = None

    def run(self, source: ImageSource, pace: Pace, on_row: OnRow) -> None:
        """Renders `todo`, as many rows at a time as `pace` says; tells `on_row` of each."""
        crew = Crew(partial(self._ask, source))
        queue = RowQueue(self.todo, self._patience_s)
        try:
            while self.gave_up is None and (crew.under_way or queue.waits):
                while crew.under_way < pace.limit and (row := queue.take(time.monotonic())):
                    crew.give(row)
                ended = crew.take(queue.pause_s(time.monotonic()))
                self._record(ended, on_row)
                for row, result in ended:
                    self._learn(row, result, queue, pace)
        finally:
            self._stop.set()
            crew.dismiss()

    def finish(self) -> Outcome:
        """Writes the manifest of all rows, whatever became of them; also after an interruption."""
        self._output.publish(self._write_manifest)
        return self.outcome

    def answers(self) -> Iterator[tuple[ScriptRow | BadRow, RowResult | None]]:
        """Every row of the script with what became of it; None while it is pending."""
        both: tuple[Sequence[ScriptRow | BadRow], ...] = (self._script.rows, self._script.bad_rows)
        for row in heapq.merge(*both, key=lambda row: row.line):
            if isinstance(row, BadRow) or self._output.status(row.key) is None:
                yield row, None
            else:
                yield row, self._output.result(row.key)

    def files(self) -> Iterator[str]:
        """The names of everything that is there to be handed on, once it is finished."""
        yield from MANIFEST_FILES
        for row in self._script.rows:
            result = self._output.result(row.key)
            if result is not None and self._output.status(row.key) == "succeeded":
                yield from result.files

    @property
    def outcome(self) -> Outcome:
        """How the rows of the share stand now."""
        counts = Counter(self._statuses.values())
        return Outcome(
            succeeded=counts["succeeded"],
            failed=counts["failed"],
            invalid=len(self._share.bad_rows),
            pending=counts["pending"],
        )

    def _ask(self, source: ImageSource, row: ScriptRow) -> RowResult:
        """Asks for one row and keeps what comes. Raises Busy where the source says "not now"."""
        before = self._output.result(row.key)
        attempt = 1 if before is None else before.attempt + (before.status == "failed")
        # A run that was killed asks again with the same key: what was made for it is not made anew.
        key = f"{self._output.id}-{row.key}-{attempt}"
        try:
            request = row.request
            delivery = source.generate(request, key, lambda: not self._stop.is_set())
            names = tuple(file_names(request, row.key))
            for name, data in zip(names, delivery.pictures, strict=True):
                self._output.write(name, data)
        except Busy:
            raise
        except ImagegenError as error:
            return RowResult(
                key=row.key, status="failed", error_code=error.code, error=error.detail,
                attempt=attempt,
            )  # fmt: skip
        return RowResult(
            key=row.key, status="succeeded", files=names, generation=delivery.generation,
            attempt=attempt,
        )  # fmt: skip

    def _record(self, ended: Ended, on_row: OnRow) -> None:
        """All that have ended since the last time at once: the disk is waited for once."""
        results = [(row, result) for row, result in ended if isinstance(result, RowResult)]
        if results:
            self._output.record([result for _, result in results])
        for row, result in results:
            self._statuses[row.key] = result.status
            on_row(_told(row, result))

    def _learn(
        self, row: ScriptRow, result: RowResult | Exception, queue: RowQueue, pace: Pace
    ) -> None:
        """What the outcome says about the source. Raises what nobody expected."""
        if isinstance(result, Busy):
            pace.refused()
            if queue.refused(row, result, time.monotonic()):
                self.gave_up = result
        elif isinstance(result, Exception):
            raise result
        else:
            queue.answered()
            if result.generation is not None:
                pace.answered(result.generation.timings)

    def _write_manifest(self, open_file: OpenFile) -> None:
        rows = (_told(row, result) for row, result in self.answers())
        write_manifest(self._title, rows, open_file)


def _told(row: ScriptRow | BadRow, result: RowResult | None) -> ManifestRow:
    if isinstance(row, BadRow):
        return invalid(row)
    if result is None:
        return pending(row)
    return ManifestRow(
        row.line, result.status, row.key, row.told, result, result.error_code, result.error
    )


def pending(row: ScriptRow) -> ManifestRow:
    """What the manifest says about a row that has not been answered."""
    return ManifestRow(row.line, "pending", row.key, row.told)


def invalid(bad: BadRow) -> ManifestRow:
    """What the manifest says about a row that never became a request."""
    return ManifestRow(bad.line, "invalid", error_code="invalid_row", error=bad.message)


def file_names(request: GenerationRequest, key: str) -> list[str]:
    """`aurora-a-red-mug-7b4d19f2a05c.png`, or `…-1.png`, `…-2.png` where several are asked for.

    `key` tells files of equal prompts apart. Twelve characters of it suffice: with eight, one in
    a hundred scripts of ten thousand like-named rows would have two rows with one file.
    """
    slug = re.sub(r"\W+", "-", request.prompt.lower())[:_SLUG_LENGTH].strip("-")
    stem = "-".join(filter(None, (request.brand, slug, key[:_KEY_LENGTH])))
    count = request.num_images
    numbers = [""] if count == 1 else [f"-{number}" for number in range(1, count + 1)]
    return [f"{stem}{number}.{request.output_format.extension}" for number in numbers]
