"""`imagegen generate`: pictures from the command line, made here or by a service."""

from __future__ import annotations

import base64
import json
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from imagegen.batch.image_source import (
    Delivery,
    ImageSource,
    LocalImages,
    RequestCheck,
    checks_of,
    steps_in,
)
from imagegen.batch.remote import RemoteImages
from imagegen.batch.run import file_names
from imagegen.bootstrap import build, load_brands
from imagegen.client import Client
from imagegen.client.request import PICTURES
from imagegen.client.service import PATIENCE_S
from imagegen.commands.progress import RenderProgress
from imagegen.engine.process import OnEvent
from imagegen.errors import InvalidRequest
from imagegen.front.identity import IdTokens
from imagegen.generation import GenerationRequest
from imagegen.logs import LogStyle, configure_logs, printable
from imagegen.parsing import parse_strings
from imagegen.settings import Settings

OVERLAY_WORDS = ("headline", "legal")
DONE, SOME_FAILED = 0, 1
_LOAD_S = 900.0
_LONGEST_REQUEST_S = 3_600.0  # nobody waits at a page for what a command renders

OpenSource = Callable[[], AbstractContextManager[ImageSource]]


def generate(arguments: Namespace) -> int:
    """One request; its pictures land in a folder."""
    request = _request(arguments)
    progress = RenderProgress(request.num_images, sys.stderr)
    maker = pictures_from(arguments, progress.hear)
    maker.check(request)
    arguments.output.mkdir(parents=True, exist_ok=True)  # before minutes of rendering for nothing
    with maker.opened() as source, closing(progress):
        delivery = source.generate(request, None, lambda: True)
    names = _save(arguments.output, request, delivery)
    if arguments.json:
        content = delivery.generation.model_dump(mode="json") | {"files": names}
        print(json.dumps(content, ensure_ascii=False))
        return DONE
    for warning in delivery.generation.warnings:
        print(f"warning: {printable(warning)}", file=sys.stderr)
    for image, name in zip(delivery.generation.images, names, strict=True):
        score = "" if image.score is None else f"  score {image.score.total:g}"
        print(f"{name}  {image.width} x {image.height}  seed {image.seed}{score}")
    return DONE


def _request(arguments: Namespace) -> GenerationRequest:
    said = {name: getattr(arguments, name) for name in GenerationRequest.model_fields}
    said |= {name: str(flag).lower() for name, flag in said.items() if isinstance(flag, bool)}
    said |= {name: _in_base64(said[name]) for name in PICTURES if said[name] is not None}
    words = {name: text for name in OVERLAY_WORDS if (text := getattr(arguments, name)) is not None}
    if words:
        said["overlay"] = json.dumps(words)
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


@dataclass(frozen=True)
class Maker:
    """Who makes the pictures: this process, or a service."""

    check: RequestCheck
    steps_of: Callable[[str], int]  # a brand's own number; raises UnknownBrand
    opened: OpenSource  # the source to enter once there is something to render


def pictures_from(arguments: Namespace, on_event: OnEvent | None = None) -> Maker:
    """The service at `--url`, or whatever the settings say of this machine."""
    if arguments.url is not None:
        remote = service_at(arguments, on_event)
        return Maker(remote.check, remote.steps_of, lambda: nullcontext(remote))
    # Whoever may run this may use everything: nobody asks him for a key of the service's.
    here = {"deadline_s": _LONGEST_REQUEST_S, "auth": "none"}
    settings = Settings.from_environment().model_copy(update=here)
    catalog = load_brands(settings)[0]
    return Maker(checks_of(catalog), steps_in(catalog), lambda: _rendering_here(settings, on_event))


def service_at(arguments: Namespace, on_event: OnEvent | None = None) -> RemoteImages:
    """The service at `--url`, shown who asks. Raises ServiceUnreachable.

    A batch has a patience of its own, and tells of it; whoever wants one request only has none.
    """
    client = Client(
        arguments.url,
        Settings.from_environment().api_key,
        id_token=IdTokens(arguments.url).token if arguments.id_token else None,
        patience_s=0 if on_event is None else PATIENCE_S,
    )
    return RemoteImages.connect(client, on_event)


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
