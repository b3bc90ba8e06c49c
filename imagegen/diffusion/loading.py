"""Cold load: where a model's files come from, what they are, and silence from the libraries."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from imagegen.diffusion.digests import Digests
from imagegen.errors import InvalidModel

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_PARTS = ("unet", "text_encoder", "text_encoder_2", "vae")
_DESCRIPTIONS = (
    "model_index.json",
    "preview.json",
    "scheduler/*",
    "tokenizer/*",
    "tokenizer_2/*",
    *(f"{part}/*.json" for part in _PARTS),
)
_WEIGHTS = tuple(f"{part}/*.safetensors" for part in _PARTS)
# what the libraries open: whole or in shards, in the precision it was trained in or as a variant
_OPENED = re.compile(
    r"(?:diffusion_pytorch_model|model)(\.fp16)?(?:-\d{5}-of-\d{5})?(\.fp16)?\.safetensors"
)
CACHE = Path("~/.cache/imagegen/models")


def quieten() -> None:
    """What the user sees is ours: the libraries report errors only, and draw no progress bars."""
    import diffusers.utils.logging as diffusers_logging
    from huggingface_hub.utils.tqdm import disable_progress_bars

    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    disable_progress_bars()
    if sys.modules.get("transformers"):  # a training's; a render does without
        import transformers.utils.logging as transformers_logging

        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()


def fetch_model(model: str, cache: Path, *, half: bool = False) -> Path:
    """The folder that holds `model`: a folder itself, a Hub id, or `gs://bucket/prefix`.

    half: it will be used in fp16, so where the Hub has it in fp16 too, that is what is fetched.
    A `gs://` model is kept in `cache`. One that was published (`imagegen push-model`) is verified
    file by file, and a new version of it is taken at the next start. One that was only copied there
    is never asked for again: put a changed one under another prefix. Raises InvalidModel saying
    what was tried.
    """
    if model.startswith("gs://"):
        return _from_bucket(model, cache)
    folder = Path(model)
    if model and folder.is_dir():
        return folder
    if _HUB_ID.fullmatch(model) and not model.startswith("."):
        return _from_hub(model, half=half)
    raise InvalidModel(f"IMAGEGEN_MODEL is {model!r}: no such folder, and no Hub id (owner/name)")


def _from_bucket(url: str, cache: Path) -> Path:
    from imagegen.storage.folder_cache import FolderCache
    from imagegen.storage.manifest import FolderManifest

    digests = _digests(cache)

    def keep_digests(folder: Path, manifest: FolderManifest) -> None:
        for entry in manifest.files:
            digests.take(folder / entry.path, entry.sha256)

    return FolderCache(cache, on_fetched=keep_digests).folder(url)


def _from_hub(model: str, *, half: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import DryRunError, HfHubHTTPError, LocalEntryNotFoundError

    reason: BaseException | None
    try:
        there = snapshot_download(model, allow_patterns=[*_DESCRIPTIONS, *_WEIGHTS], dry_run=True)
        files = one_precision((file.filename for file in there), half=half)
        return Path(snapshot_download(model, allow_patterns=files))
    except DryRunError as error:  # no way to the Hub, or it knows of none
        reason = error.__cause__
    except (HfHubHTTPError, OSError) as error:
        reason = error
    with contextlib.suppress(LocalEntryNotFoundError):  # what was fetched before will do
        return Path(
            snapshot_download(model, allow_patterns=list(_DESCRIPTIONS), local_files_only=True)
        )
    said = str(reason).strip().split("\n", 1)[0]
    raise InvalidModel(f"there is no folder {model!r}, and the Hub did not give it: {said}")


def one_precision(files: Iterable[str], *, half: bool) -> list[str]:
    """A model's files without the weights that are there in another precision too.

    files: paths as `unet/model.safetensors`; half: the fp16 variant where a part has both.
    """
    kept, weights = [], defaultdict(list)
    for file in files:
        if file.endswith(".safetensors"):
            weights[file.rpartition("/")[0]].append(file)
        else:
            kept.append(file)
    for part in weights.values():
        kept += _belonging(part, half=half)
    return sorted(kept)


def _belonging(files: Iterable[str], *, half: bool) -> list[str]:
    """Of a part's safetensors files those that are loaded together."""
    found = [(file, _OPENED.fullmatch(file.rpartition("/")[2])) for file in files]
    whole = [file for file, match in found if match and not any(match.groups())]
    halves = [file for file, match in found if match and any(match.groups())]
    return sorted(halves or whole if half else whole or halves)


def read_json(path: Path) -> dict[str, Any]:
    """A configuration file of the model. Raises InvalidModel naming the file."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidModel(f"{path}: {error}") from None
    if not isinstance(content, dict):
        raise InvalidModel(f"{path}: not a JSON object")
    return content


class ModelFiles:
    """A model's files, fetched and read by threads while others import their libraries.

    Reading them early brings them into the page cache before the weights are loaded. What they are
    (`sha256`) is hashed unless it is known of before.
    """

    def __init__(self, model: str, cache: Path = CACHE, *, half: bool = False) -> None:
        """Begins at once. model, half: as `fetch_model` has them."""
        pool = ThreadPoolExecutor(1, thread_name_prefix="fetch")
        self._read = pool.submit(_ReadFiles, model, cache.expanduser(), half)
        pool.shutdown(wait=False)

    def folder(self) -> Path:
        """Waits until all files are there. Raises InvalidModel saying what was tried."""
        return self._read.result().folder

    def sha256(self) -> str:
        """Waits until all weights are hashed: hex, over each file's name and content."""
        return self._read.result().sha256()


class _ReadFiles:
    """The files once they are there."""

    def __init__(self, model: str, cache: Path, half: bool) -> None:
        self.folder = fetch_model(model, cache, half=half)
        paths = [path for part in _PARTS for path in weights_of(self.folder / part)]
        for path in paths:
            _read_ahead(path)
        pool, digests = ThreadPoolExecutor(2, thread_name_prefix="digest"), _digests(cache)
        self._digests = [(path, pool.submit(digests.of, path)) for path in paths]
        pool.shutdown(wait=False)

    def sha256(self) -> str:
        whole = hashlib.sha256()
        for path, digest in self._digests:
            name = path.relative_to(self.folder).as_posix()
            whole.update(f"{name}\0{digest.result()}\n".encode())
        return whole.hexdigest()


def _read_ahead(path: Path) -> None:
    """Tells the kernel to read the file, many pieces at a time, before anybody needs it.

    Mere advice: who loads a file that cannot be read says so, in the operator's words.
    """
    with contextlib.suppress(OSError), path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


def _digests(cache: Path) -> Digests:
    return Digests(cache / ".digests")  # no folder that is kept there begins with a dot


def weights_of(part: Path) -> list[Path]:
    """The files that a part is loaded from; its fp16 variant where there is nothing else."""
    return [part / name for name in _belonging((f.name for f in part.glob("*")), half=False)]
