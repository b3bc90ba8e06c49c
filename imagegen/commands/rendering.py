"""`imagegen generate` and `imagegen batch`: pictures from the command line."""

from __future__ import annotations

import base64
import json
import signal
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath

from imagegen.batch.image_source import Delivery, ImageSource, LocalImages, RequestCheck, checks_of
from imagegen.batch.manifest import as_json
from imagegen.batch.output import BatchOutput
from imagegen.batch.output_folder import OutputFolder
from imagegen.batch.remote import RemoteImages
from imagegen.batch.rows import split_values
from imagegen.batch.run import Batch, Outcome, checked, file_names, invalid, pending
from imagegen.batch.script import PromptScript, read_script
from imagegen.bootstrap import build, load_brands
from imagegen.commands.progress import BatchProgress, RenderProgress
from imagegen.engine.process import OnEvent
from imagegen.errors import InvalidRequest, InvalidScript, InvalidSettings
from imagegen.generation import GenerationRequest
from imagegen.logs import LogStyle, configure_logs, printable
from imagegen.parsing import parse_strings
from imagegen.settings import JobTask, Settings

DONE, SOME_FAILED = 0, 1
PICTURES = ("init_image", "mask")  # fields of a request that are files here
_LOAD_S = 900.0
_LONGEST_REQUEST_S = 3_600.0  # nobody waits at a page for what a command renders
_SHOWN_ROWS = 5

OpenSource = Callable[[], AbstractContextManager[ImageSource]]


def generate(arguments: Namespace) -> int:
    """One request; its pictures land in a folder."""
    request = _request(arguments)
    progress = RenderProgress(request.num_images, sys.stderr)
    check, opened = _pictures_from(arguments.url, progress.hear)
    check(request)
    arguments.output.mkdir(parents=True, exist_ok=True)  # before minutes of rendering for nothing
    with opened() as source, closing(progress):
        delivery = source.generate(request, lambda: True)
    names = _save(arguments.output, request, delivery)
    if arguments.json:
        content = delivery.generation.model_dump(mode="json") | {"files": names}
        print(json.dumps(content, ensure_ascii=False))
        return DONE
    for warning in delivery.generation.warnings:
        print(f"warning: {printable(warning)}", file=sys.stderr)
    for image, name in zip(delivery.generation.images, names, strict=True):
        print(f"{name}  {image.width} x {image.height}  seed {image.seed}")
    return DONE


def batch(arguments: Namespace) -> int:
    """A prompt script: whatever has not been rendered yet is."""
    script = read_script(arguments.file, _variables(arguments.var))
    check, opened = _pictures_from(arguments.url)
    script = checked(script, check)
    if arguments.dry_run:
        return _dry_run(script, for_machines=arguments.json)
    task = JobTask.from_environment()
    share = script if task is None else script.share(task.index, task.count)
    where = arguments.output or _beside(arguments.file)
    with _terminable(), _open_output(where, task) as output:
        run = Batch(PurePosixPath(arguments.file).name, script, output, share)
        progress = BatchProgress(len(run.todo), sys.stdout, sys.stderr, as_json=arguments.json)
        try:
            _announce(share, run, task, progress)
            if run.todo:
                with opened() as source:
                    run.run(source, _concurrency(arguments, run), progress.row)
        finally:
            progress.close()
            outcome = run.finish()
            _conclude(outcome, where, progress)  # also to who interrupts: what is where
    return DONE if outcome.complete else SOME_FAILED


def _request(arguments: Namespace) -> GenerationRequest:
    said = {name: getattr(arguments, name) for name in GenerationRequest.model_fields}
    said |= {name: _in_base64(said[name]) for name in PICTURES if said[name] is not None}
    try:
        return parse_strings({name: value for name, value in said.items() if value is not None})
    except InvalidRequest as error:
        options = [
            replace(fault, field=f"--{fault.field.replace('_', '-')}")
            if fault.field in said and fault.field != "prompt" else fault
            for fault in error.fields
        ]  # fmt: skip
        raise InvalidRequest(*options) from None


def _in_base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def _save(folder: Path, request: GenerationRequest, delivery: Delivery) -> list[str]:
    """The files' paths. The generation's random id keeps them apart from any made before."""
    key = delivery.generation.id.removeprefix("gen_")
    paths = [folder / name for name in file_names(request, key)]
    for path, data in zip(paths, delivery.pictures, strict=True):
        path.write_bytes(data)
    return [str(path) for path in paths]


def _pictures_from(
    url: str | None, on_event: OnEvent | None = None
) -> tuple[RequestCheck, OpenSource]:
    """How requests are checked, and the source to enter once there is something to render."""
    if url is not None:
        remote = RemoteImages.connect(url)
        return remote.check, lambda: nullcontext(remote)
    settings = Settings.from_environment().model_copy(update={"deadline_s": _LONGEST_REQUEST_S})
    return checks_of(load_brands(settings)[0]), lambda: _rendering_here(settings, on_event)


@contextmanager
def _rendering_here(settings: Settings, on_event: OnEvent | None) -> Iterator[ImageSource]:
    configure_logs(LogStyle(settings.log_format, settings.known_project))
    application = build(settings)
    application.start()
    try:
        application.engine.wait_ready(_LOAD_S)
        yield LocalImages(application.service, on_event)
    finally:
        application.stop()


def _variables(said: Sequence[str]) -> dict[str, list[str]]:
    """`product=mug,lamp` -> {"product": ["mug", "lamp"]}."""
    variables: dict[str, list[str]] = {}
    for one in said:
        name, equals, values = one.partition("=")
        variables[name.strip()] = split_values(values, ",")
        if not (name.strip() and equals and variables[name.strip()]):
            raise InvalidScript(f"--var {one}: write --var product=mug,lamp")
    return variables


def _dry_run(script: PromptScript, *, for_machines: bool) -> int:
    progress = BatchProgress(0, sys.stdout, sys.stderr, as_json=for_machines)
    for bad in script.bad_rows:
        progress.row(invalid(bad))
    if for_machines:
        for row in script.rows:
            progress.machine_line(as_json(pending(row)))
    else:
        print(_counts(script))
        for row in script.rows[:_SHOWN_ROWS]:
            print(printable(f"  line {row.line}: {row.request.brand}  {row.request.prompt}"))
        if len(script.rows) > _SHOWN_ROWS:
            print(f"  … and {len(script.rows) - _SHOWN_ROWS:,} more")
    return SOME_FAILED if script.bad_rows else DONE


def _beside(file: str) -> str:
    """The default output: beside a script in a bucket, else where the command runs."""
    script = PurePosixPath(file)
    folder = f"{file.rpartition('/')[0]}/" if file.startswith("gs://") else ""
    return f"{folder}{script.stem}-pictures"


def _open_output(where: str, task: JobTask | None) -> BatchOutput:
    if where.startswith("gs://"):
        from imagegen.batch.output_bucket import OutputBucket
        from imagegen.storage.bucket_folder import BucketFolder

        return OutputBucket(BucketFolder(where))
    if task is not None:
        raise InvalidSettings(
            f"a job's task loses its disk, and {where} with it; choose a folder of a bucket: -o gs://…"
        )
    return OutputFolder(Path(where))


def _announce(
    share: PromptScript, run: Batch, task: JobTask | None, progress: BatchProgress
) -> None:
    finished = len(share.rows) - len(run.todo)
    whose = "" if task is None else f"task {task.index + 1:,} of {task.count:,}: "
    before = f"; {finished:,} finished before" if finished else ""
    progress.note(f"{whose}{_counts(share)}{before}")
    for bad in share.bad_rows:
        progress.row(invalid(bad))


def _conclude(outcome: Outcome, where: str, progress: BatchProgress) -> None:
    progress.machine_line({"outcome": asdict(outcome), "folder": where})
    counts = ", ".join(f"{count:,} {status}" for status, count in asdict(outcome).items() if count)
    progress.note(f"{counts or 'no rows'}; pictures and manifest are in {where}")


def _counts(script: PromptScript) -> str:
    bad = f"; {_count(len(script.bad_rows), 'bad row')}" if script.bad_rows else ""
    return f"{_count(len(script.rows), 'request')}, {_count(script.num_images, 'picture')}{bad}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _concurrency(arguments: Namespace, run: Batch) -> int:
    """Rows at a time: as asked, but here never more pictures than the queue holds."""
    asked: int = arguments.concurrency
    if arguments.url is not None:
        return asked
    largest = max(row.request.num_images for row in run.todo)
    return max(1, min(asked, Settings.from_environment().max_queue // largest))


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends a batch the way Ctrl-C does: with a manifest."""
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
