"""A batch: rows of a script are rendered, each recorded as it ends: nothing is lost or redone."""

from __future__ import annotations

import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue

from imagegen.batch.image_source import Delivery, ImageSource, RequestCheck
from imagegen.batch.manifest import ManifestRow, manifest_files
from imagegen.batch.output import BatchOutput, RowResult
from imagegen.batch.rows import BadRow
from imagegen.batch.script import PromptScript, ScriptRow
from imagegen.errors import Busy, ImagegenError
from imagegen.generation import GenerationRequest

PATIENCE_S = 900.0  # how long a row asks again while it is told "not now"
_LONGEST_WAIT_S = 60.0
_SLUG_LENGTH = 40
_KEY_LENGTH = 12

OnRow = Callable[[ManifestRow], None]


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
            bad_rows.append(BadRow(row.line, error.detail))
        else:
            rows.append(row)
    return PromptScript(tuple(rows), tuple(sorted(bad_rows, key=lambda bad: bad.line)))


class Batch:
    """One run over a script. The calling thread alone writes; the others only ask and wait.

    `share` is the part of the script that this run renders, by default all; the manifest is of the
    whole script. A failed row stands in the manifest and is tried again by the next run; finished
    rows are skipped. Where the source says "not now" for longer than `patience_s` the run ends,
    for the other rows would fare no better.
    """

    def __init__(
        self,
        title: str,
        script: PromptScript,
        output: BatchOutput,
        share: PromptScript | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._title = title
        self._script = script
        self._share = script if share is None else share
        self._output = output
        self._patience_s = patience_s
        self._stop = threading.Event()
        self.todo = [row for row in self._share.rows if not output.finished(row.key)]

    def run(self, source: ImageSource, concurrency: int, on_row: OnRow) -> None:
        """Renders `todo`, `concurrency` rows at a time; tells `on_row` about each as it ends."""
        waiting: SimpleQueue[ScriptRow] = SimpleQueue()
        ended: SimpleQueue[tuple[ScriptRow, Delivery | Exception]] = SimpleQueue()
        for row in self.todo:
            waiting.put(row)
        work = partial(self._work, source, waiting, ended)
        try:
            for _ in range(min(concurrency, len(self.todo))):
                # Daemons: an interrupted run does not wait for answers that may take minutes.
                threading.Thread(target=work, daemon=True).start()
            for _ in self.todo:
                row, outcome = ended.get()
                self._output.record(self._result(row, outcome))
                on_row(self._manifest_row(row))
                if isinstance(outcome, Busy):
                    break
        finally:
            self._stop.set()

    def finish(self) -> Outcome:
        """Writes the manifest of all rows, whatever became of them; also after an interruption."""
        self._output.publish(lambda: manifest_files(self._title, self._manifest_rows(self._script)))
        statuses = Counter(row.status for row in self._manifest_rows(self._share))
        return Outcome(
            succeeded=statuses["succeeded"],
            failed=statuses["failed"],
            invalid=statuses["invalid"],
            pending=statuses["pending"],
        )

    def _work(
        self,
        source: ImageSource,
        waiting: SimpleQueue[ScriptRow],
        ended: SimpleQueue[tuple[ScriptRow, Delivery | Exception]],
    ) -> None:
        while not self._stop.is_set():
            try:
                row = waiting.get_nowait()
            except Empty:
                return
            try:
                ended.put((row, self._ask(source, row)))
            except Exception as error:  # whoever waits is always told
                ended.put((row, error))

    def _ask(self, source: ImageSource, row: ScriptRow) -> Delivery:
        """Asks until the answer is more than "not now", or patience ends."""
        give_up_at: float | None = None
        while True:
            try:
                return source.generate(row.request, lambda: not self._stop.is_set())
            except Busy as busy:
                now = time.monotonic()
                give_up_at = now + self._patience_s if give_up_at is None else give_up_at
                # Jitter keeps rows that were refused together from coming back together.
                wait_s = max(0.2, busy.retry_after_s) * random.uniform(1, 1.3)  # noqa: S311
                wait_s = min(wait_s, _LONGEST_WAIT_S)
                if now + wait_s > give_up_at or self._stop.wait(wait_s):
                    raise

    def _result(self, row: ScriptRow, outcome: Delivery | Exception) -> RowResult:
        """Keeps what came, and says what became of the row. Raises what nobody expected."""
        if isinstance(outcome, ImagegenError):
            return RowResult(
                key=row.key, status="failed", error_code=outcome.code, error=outcome.detail
            )
        if isinstance(outcome, Exception):
            raise outcome
        names = tuple(file_names(row.request, row.key))
        for name, data in zip(names, outcome.pictures, strict=True):
            self._output.write(name, data)
        return RowResult(
            key=row.key, status="succeeded", files=names, generation=outcome.generation
        )

    def _manifest_rows(self, script: PromptScript) -> list[ManifestRow]:
        rows = [self._manifest_row(row) for row in script.rows]
        rows += map(invalid, script.bad_rows)
        return sorted(rows, key=lambda row: row.line)

    def _manifest_row(self, row: ScriptRow) -> ManifestRow:
        result = self._output.result(row.key)
        if result is None or (result.status == "succeeded" and not self._output.finished(row.key)):
            return pending(row)
        return ManifestRow(
            row.line, result.status, row.key, row.request, result, result.error_code, result.error
        )


def pending(row: ScriptRow) -> ManifestRow:
    """What the manifest says about a row that has not been tried."""
    return ManifestRow(row.line, "pending", row.key, row.request)


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
