"""LiveBrands: the brands of a bucket, fetched at the start and followed from then on."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

from imagegen.errors import Busy, InvalidPreset, InvalidSettings, StorageUnavailable
from imagegen.generation import AdapterUse
from imagegen.presets import BrandPreset, PresetCatalog, read_presets
from imagegen.storage.bucket_folder import ABSENT, BucketFolder
from imagegen.storage.folder_cache import FolderCache
from imagegen.storage.manifest import NAME, read_manifest

POLL_S = 30.0  # on average, so that many instances do not ask at once
AGAIN_S = 120.0  # until what could not be fetched is tried again, though it seems to be as it was
CACHE = Path("~/.cache/imagegen/presets")
WHOLE = ""  # stands for a brand where the version as a whole is refused
UNKNOWN_LORAS = "brings LoRA files that the renderer does not know"

# A renderer that has room for these brands' LoRAs, and why there is none if there is none
Renew = Callable[[Sequence[tuple[AdapterUse, ...]]], "Future[str | None]"]

_log = logging.getLogger(__name__)


def presets_folder(presets: str) -> Path:
    """The folder of brands: itself, or what is published at `gs://…`. Raises InvalidSettings."""
    if not presets.startswith("gs://"):
        return Path(presets)
    try:
        return FolderCache(CACHE).folder(presets)
    except StorageUnavailable as error:
        raise InvalidSettings(f"IMAGEGEN_PRESETS: {error}") from error


class LiveBrands:
    """Keeps `catalog` as the bucket has it. What is at fault is refused, and the old one stays.

    A request asks the catalogue once, and presets never change: one in flight keeps its version.
    Until `start` there is neither a thread nor a connection, so that it survives a fork.
    """

    def __init__(self, url: str, model_folder: Path | None) -> None:
        """Raises InvalidSettings where nothing can be fetched, InvalidPreset if no brand is right.

        model_folder: the model whose layers the LoRAs must fit, where it lies on this machine.
        """
        self._url = url
        self._model_folder = model_folder
        self._seen = ABSENT  # so the first look takes it as new
        self._again_at = math.inf  # monotonic: of what was seen then, something is out of order
        folder = presets_folder(url)
        presets, faults = read_presets(folder, model_folder)
        if not presets or WHOLE in faults:
            raise InvalidPreset("\n".join(fault for some in faults.values() for fault in some))
        self._known = [_loras(preset) for preset in presets]
        self.catalog = PresetCatalog(())
        self._renew: Renew | None = _never
        self.loaded_at = 0.0  # seconds since 1970
        self._swap(presets, self._sentences(faults, folder))
        self._stopping = threading.Event()

    def start(self, renew: Renew | None) -> None:
        """From now on the bucket is looked at every POLL_S seconds, give or take a fifth.

        renew: None where nothing is rendered, so that every LoRA will do.
        """
        self._renew = renew
        threading.Thread(target=self._follow, name="brands", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()

    def look(self, source: BucketFolder) -> None:
        """Takes what is new in the bucket. Raises StorageUnavailable; then it is tried again."""
        before = self._seen
        try:
            found = source.find(NAME)
            if found != before or time.monotonic() >= self._again_at:
                self._seen = found
                self._fetch(source)
                self._again_at = math.inf
        except StorageUnavailable:
            self._seen = before
            raise
        except InvalidSettings as error:
            # what mends it may leave the manifest as it is: an object, a right, room on the disk
            self._again_at = time.monotonic() + AGAIN_S
            self._swap(self.catalog, {WHOLE: str(error)})

    def _fetch(self, source: BucketFolder) -> None:
        if (published := read_manifest(source)) is None:
            self._swap(self.catalog, {WHOLE: f"nothing is published at {self._url} any more"})
            return
        manifest, self._seen = published
        self._take(FolderCache(CACHE).version(source, self._url, manifest))

    def _follow(self) -> None:
        source: BucketFolder | None = None  # made here: no connection crosses a fork
        while not self._stopping.wait(POLL_S * random.uniform(0.8, 1.2)):  # noqa: S311
            try:
                source = source or BucketFolder(self._url)
                self.look(source)
            except StorageUnavailable as error:
                _log.warning("brands: %s; they stay as they are", error)
            except Exception:
                _log.exception("brands: looking at %s failed; they stay as they are", self._url)

    def _take(self, folder: Path) -> None:
        """Each brand for itself: one that is refused does not keep the others from changing."""
        presets, faults = read_presets(folder, self._model_folder)
        refused = self._sentences(faults, folder)
        strangers = [preset for preset in presets if not self._has_loras(preset)]
        refused |= dict.fromkeys((preset.id for preset in strangers), UNKNOWN_LORAS)
        taken = {preset.id: preset for preset in presets if preset.id not in refused}
        if WHOLE in refused or not (taken.keys() | refused.keys()):
            self._swap(self.catalog, refused)
            return
        old = [preset for preset in self.catalog if preset.id in refused]
        self._swap([*taken.values(), *old], refused)
        if strangers and self._renew is not None:
            self._make_known(self._renew, strangers, refused)

    def _make_known(
        self, renew: Renew, strangers: list[BrandPreset], refused: dict[str, str]
    ) -> None:
        """Waits for a renderer that knows their LoRAs, beside those that pictures still wait for.

        Meanwhile, and for good if there is none, the brands are what they were.
        """
        brands = [*self.catalog, *strangers]
        why: str | None
        try:
            why = renew([preset.adapters for preset in brands]).result()
        except Busy as error:  # the engine has failed, or is about to stop
            why = str(error)
        ids = {preset.id for preset in strangers}
        if why is not None:
            self._swap(self.catalog, refused | dict.fromkeys(ids, f"{UNKNOWN_LORAS}: {why}"))
            return
        self._known = [_loras(preset) for preset in brands]
        others = [preset for preset in self.catalog if preset.id not in ids]
        self._swap([*others, *strangers], {b: r for b, r in refused.items() if b not in ids})

    def _swap(self, presets: Iterable[BrandPreset], refused: Mapping[str, str]) -> None:
        before = _versions(self.catalog)
        self.catalog.swap(presets, refused)
        if _versions(self.catalog) != before:
            self.loaded_at = time.time()
            _log.info("brands: %d from %s", len(self.catalog), self._url)
        for brand, reason in refused.items():
            _log.warning("brands: %s is refused: %s", brand or "the newest version", reason)

    def _has_loras(self, preset: BrandPreset) -> bool:
        """The renderer made room, at its start, for what each brand had then, and for no more."""
        if self._renew is None:
            return True
        return any(_loras(preset) <= known for known in [Counter[str](), *self._known])

    @staticmethod
    def _sentences(faults: Mapping[str, list[str]], folder: Path) -> dict[str, str]:
        """Callers read them: where the cache lies is none of their business."""
        return {
            brand: "; ".join(fault.replace(f"{folder}/", "") for fault in some)
            for brand, some in faults.items()
        }


def _never(_brands: Sequence[tuple[AdapterUse, ...]]) -> Future[str | None]:
    unstarted: Future[str | None] = Future()
    unstarted.set_result("nothing has been started")
    return unstarted


def _loras(preset: BrandPreset) -> Counter[str]:
    return Counter(use.sha256 for use in preset.adapters)


def _versions(catalog: PresetCatalog) -> dict[str, str]:
    return {preset.id: preset.version for preset in catalog}
