"""`imagegen batch --dry-run`: what a script would make, and what that would take and cost."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from imagegen.batch.estimate import Estimate, Measured, in_words
from imagegen.batch.manifest import as_json
from imagegen.batch.output import RowResult
from imagegen.batch.output_folder import results_in
from imagegen.batch.run import invalid, pending
from imagegen.batch.script import PromptScript, ScriptRow
from imagegen.commands.progress import BatchProgress
from imagegen.commands.rendering import DONE, SOME_FAILED, service_at
from imagegen.errors import ImagegenError
from imagegen.generation import Generation
from imagegen.logs import printable

_SHOWN_ROWS = 5


def dry_run(arguments: Namespace, script: PromptScript, where: str) -> int:
    """Checks, counts and estimates; renders nothing and leaves nothing."""
    progress = BatchProgress(0, sys.stdout, sys.stderr, as_json=arguments.json)
    for bad in script.bad_rows:
        progress.row(invalid(bad))
    earlier = {result.key: result for result in _earlier(where)}
    todo = [row for row in script.rows if not _is_done(earlier.get(row.key))]
    source, estimate = _estimate(arguments, where, earlier.values(), todo)
    if arguments.json:
        for row in script.rows:
            progress.machine_line(as_json(pending(row)))
        told = {"requests": len(script.rows), "pictures": script.num_images, "todo": len(todo)}
        about = estimate and asdict(estimate) | {"source": source}
        progress.machine_line(told | {"estimate": about})
    else:
        done = len(script.rows) - len(todo)
        print(counts(script) + (f"; {done:,} finished before" if done else ""))
        print(in_words(estimate, source) if estimate else source)
        _show(script)
    return SOME_FAILED if script.bad_rows else DONE


def counts(script: PromptScript) -> str:
    """`12 requests, 30 pictures; 1 bad row`."""
    bad = f"; {_count(len(script.bad_rows), 'bad row')}" if script.bad_rows else ""
    return f"{_count(len(script.rows), 'request')}, {_count(script.num_images, 'picture')}{bad}"


def _show(script: PromptScript) -> None:
    for row in islice(script.rows, _SHOWN_ROWS):
        told = row.told
        print(printable(f"  line {row.line}: {told['brand']}  {told['prompt']}"))
    if len(script.rows) > _SHOWN_ROWS:
        print(f"  … and {len(script.rows) - _SHOWN_ROWS:,} more")


def _earlier(where: str) -> Iterator[RowResult]:
    if not where.startswith("gs://"):
        return results_in(Path(where))
    from imagegen.batch.output_bucket import OutputBucket
    from imagegen.storage.bucket_folder import BucketFolder

    return OutputBucket(BucketFolder(where)).results()


def _is_done(result: RowResult | None) -> bool:
    return result is not None and result.status == "succeeded"


def _estimate(
    arguments: Namespace, where: str, earlier: Iterable[RowResult], todo: list[ScriptRow]
) -> tuple[str, Estimate | None]:
    """(what the figures come from, the figures); or why there are none."""
    measured = Measured(_generations(earlier))
    source = f"of earlier runs in {where}"
    if measured.is_empty and arguments.url is not None:
        source = f"of yours that {arguments.url} made last"
        try:
            measured = Measured(service_at(arguments).measured())
        except ImagegenError as error:
            return f"GPU-seconds and cost are not known: {error.detail}", None
    if measured.is_empty:
        return "GPU-seconds and cost are not known: nothing has been rendered there yet", None
    return source, measured.estimate(row.told for row in todo)


def _generations(results: Iterable[RowResult]) -> Iterator[Generation]:
    return (result.generation for result in results if result.generation is not None)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
