"""`imagegen batch`: a campaign's script becomes pictures, a manifest and a contact sheet."""

from __future__ import annotations

import signal
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath

from imagegen.batch.archive import write_zip
from imagegen.batch.output import BatchOutput
from imagegen.batch.output_folder import OutputFolder
from imagegen.batch.rows import split_values
from imagegen.batch.run import Batch, Outcome, checked, invalid
from imagegen.batch.script import PromptScript, read_script
from imagegen.client.pace import MOST, Pace
from imagegen.commands.forecast import counts, dry_run
from imagegen.commands.openai_batch import ERRORS, OUTPUT, understood_by, write_answers
from imagegen.commands.progress import BatchProgress
from imagegen.commands.rendering import DONE, SOME_FAILED, pictures_from
from imagegen.errors import InvalidScript, InvalidSettings
from imagegen.settings import JobTask, Settings


def batch(arguments: Namespace) -> int:
    """A prompt script: whatever has not been rendered yet is."""
    maker, variables = pictures_from(arguments), _variables(arguments.var)
    script = read_script(arguments.file, variables, understood_by(maker.steps_of))
    script = checked(script, maker.check)
    where = arguments.output or _beside(arguments.file)
    if arguments.dry_run:
        return dry_run(arguments, script, where)
    task = JobTask.from_environment()
    share = script if task is None else script.share(task.index, task.count)
    with _terminable(), _open_output(arguments, script, where, task) as output:
        title = PurePosixPath(arguments.file).name
        run = Batch(title, script, output, share, retry_failed=arguments.retry_failed)
        progress = BatchProgress(len(run.todo), sys.stdout, sys.stderr, as_json=arguments.json)
        try:
            _announce(arguments, share, run, task, progress)
            if run.todo:
                with maker.opened() as source:
                    run.run(source, _pace(arguments, run), progress.row)
        finally:
            progress.close()
            outcome = _finish(arguments, script, run, output, where)
            _conclude(run, where, progress)  # also to who interrupts: what is where
    return DONE if outcome.complete else SOME_FAILED


def _finish(
    arguments: Namespace, script: PromptScript, run: Batch, output: BatchOutput, where: str
) -> Outcome:
    """Writes what is made of all rows, whatever became of them."""
    outcome = run.finish()
    names: Iterable[str] = run.files()
    if script.is_openai:
        output.publish(partial(write_answers, run, Path(where)))
        names = chain((OUTPUT, ERRORS), names)
    if arguments.zip:
        write_zip(Path(where), names, Path(f"{where.rstrip('/')}.zip"))
    return outcome


def _variables(said: Sequence[str]) -> dict[str, list[str]]:
    """`product=mug,lamp` -> {"product": ["mug", "lamp"]}."""
    variables: dict[str, list[str]] = {}
    for one in said:
        name, equals, values = one.partition("=")
        variables[name.strip()] = split_values(values, ",")
        if not (name.strip() and equals and variables[name.strip()]):
            raise InvalidScript(f"--var {one}: write --var product=mug,lamp")
    return variables


def _beside(file: str) -> str:
    """The default output: beside a script in a bucket, else where the command runs."""
    script = PurePosixPath(file)
    folder = f"{file.rpartition('/')[0]}/" if file.startswith("gs://") else ""
    return f"{folder}{script.stem}-pictures"


def _open_output(
    arguments: Namespace, script: PromptScript, where: str, task: JobTask | None
) -> BatchOutput:
    if where.startswith("gs://"):
        for asked, what in ((arguments.zip, "--zip"), (script.is_openai, "OpenAI's output file")):
            if asked:
                raise InvalidSettings(
                    f"{what} is made of a folder on this machine, and {where} is none"
                )
        from imagegen.batch.output_bucket import OutputBucket
        from imagegen.storage.bucket_folder import BucketFolder

        return OutputBucket(BucketFolder(where))
    if task is not None:
        raise InvalidSettings(
            f"a job's task loses its disk, and {where} with it; choose a folder of a bucket: -o gs://…"
        )
    return OutputFolder(Path(where))


def _announce(
    arguments: Namespace,
    share: PromptScript,
    run: Batch,
    task: JobTask | None,
    progress: BatchProgress,
) -> None:
    before = run.outcome
    whose = "" if task is None else f"task {task.index + 1:,} of {task.count:,}: "
    finished = f"; {before.succeeded:,} finished before" if before.succeeded else ""
    left = f"; {before.failed:,} failed before" if before.failed else ""
    if left and not arguments.retry_failed:
        left += " (--retry-failed tries them again)"
    progress.note(f"{whose}{counts(share)}{finished}{left}")
    for bad in share.bad_rows:
        progress.row(invalid(bad))


def _conclude(run: Batch, where: str, progress: BatchProgress) -> None:
    told = asdict(run.outcome)
    gave_up = run.gave_up and run.gave_up.detail
    progress.machine_line({"outcome": told, "gave_up": gave_up, "folder": where})
    if gave_up:
        progress.note(f"gave up, as nothing else was heard for long: {gave_up}")
    counts = ", ".join(f"{count:,} {status}" for status, count in told.items() if count)
    progress.note(f"{counts or 'no rows'}; pictures and manifest are in {where}")


def _pace(arguments: Namespace, run: Batch) -> Pace:
    """Rows at a time: as asked or as learned, but here never more pictures than the queue holds."""
    asked: int | None = arguments.concurrency
    if arguments.url is not None:
        return Pace(asked)
    largest = max(row.num_images for row in run.todo)
    fit = max(1, Settings.from_environment().max_queue // largest)
    return Pace(None if asked is None else min(asked, fit), most=min(MOST, fit))


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends a batch the way Ctrl-C does: with a manifest."""
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
