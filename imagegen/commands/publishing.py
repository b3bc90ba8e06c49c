"""`imagegen push-model` and `imagegen presets push`: folders into a bucket."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from imagegen.commands.brands import find_faults
from imagegen.commands.progress import PushProgress
from imagegen.errors import InvalidModel, InvalidPreset, InvalidSettings
from imagegen.logs import printable
from imagegen.settings import Settings

DONE = 0


def push_model(arguments: Namespace) -> int:
    folder: Path = arguments.folder
    if not (folder / "model_index.json").is_file():
        raise InvalidModel(f"{folder} has no model_index.json: not a model in diffusers' layout")
    return _push(folder, arguments, print)


def push_presets(arguments: Namespace) -> int:
    """What `presets check` finds fault with never gets there."""
    settings = Settings.from_environment()
    if settings.presets.startswith("gs://"):
        raise InvalidSettings("IMAGEGEN_PRESETS is in a bucket already; name the folder to push")
    folder = Path(settings.presets)
    faults, unseen = find_faults(settings, folder)
    if faults:
        raise InvalidPreset("\n".join(faults))
    return _push(folder, arguments, lambda line: print(f"{line}{unseen}"))


def _push(folder: Path, arguments: Namespace, conclude: Callable[[str], None]) -> int:
    from imagegen.storage.bucket_folder import BucketFolder
    from imagegen.storage.pushing import Push

    target = BucketFolder(arguments.url)  # an address that is none costs no hashing
    push = Push(folder)
    total_bytes = sum({e.sha256: e.size_bytes for e in push.manifest.files}.values())
    progress = PushProgress(total_bytes, sys.stdout, sys.stderr, as_json=arguments.json)
    with closing(progress):
        pushed = push.run(
            target, lambda file, sent: progress.file(file.path, file.size_bytes, sent=sent)
        )
    if arguments.json:
        print(json.dumps({"url": target.url} | asdict(pushed)))
        return DONE
    what = "published" if pushed.changed else "nothing new"
    sent = f"{pushed.sent_files} of {pushed.files} files sent"
    conclude(printable(f"{target.url}: {what}, {sent}, version {pushed.version[:16]}"))
    return DONE
