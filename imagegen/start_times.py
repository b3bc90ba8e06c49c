"""StartTimes: what earlier starts of the same kind took, kept beside the pictures.

Instances come and go; how long the next one will take is known from those before it. Objects are
never changed, so the first few starts of a kind each leave one, and later ones only read.
"""

from __future__ import annotations

import hashlib
import json
import logging
import statistics
from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from imagegen import __version__
from imagegen.engine.renderer import PHASES
from imagegen.errors import ObjectExists, StorageUnavailable
from imagegen.settings import Settings
from imagegen.storage import Storage

KEPT = 5
_FOLDER = "imagegen-starts"


def _whole(seconds: dict[str, float]) -> dict[str, float]:
    if not seconds.keys() >= set(PHASES):
        raise ValueError("a phase is missing")
    return seconds


_Seconds = dict[str, Annotated[float, Field(ge=0, le=3_600, allow_inf_nan=False)]]
_START = TypeAdapter(Annotated[_Seconds, AfterValidator(_whole)])
_log = logging.getLogger(__name__)


class StartTimes:
    """Seconds by phase. Nothing here raises: a start goes on without."""

    def __init__(self, storage: Storage, settings: Settings, revision: str) -> None:
        """revision: of the deployment, which decides how much processor and memory there is."""
        kind = (__version__, revision, settings.model, settings.device, settings.dtype)
        name = hashlib.sha256("\n".join(kind).encode()).hexdigest()[:12]
        self._storage = storage
        self._paths = [f"{_FOLDER}/{name}/{index}.json" for index in range(KEPT)]

    def usual(self) -> dict[str, float]:
        """The median of each phase; empty where there has been no start of this kind."""
        starts = list(self._read())
        if not starts:
            return {}
        return {phase: statistics.median(start[phase] for start in starts) for phase in PHASES}

    def keep(self, seconds: Mapping[str, float]) -> None:
        """Adds a start, unless there are enough or it is not whole: what is kept stays for good."""
        if not seconds.keys() >= set(PHASES):
            return
        said = {phase: round(seconds[phase], 3) for phase in PHASES}
        for path in self._paths:
            try:
                self._storage.create(path, json.dumps(said).encode(), "application/json")
            except ObjectExists:
                continue
            except StorageUnavailable as error:
                _log.warning("how long this start took is not kept: %s", error)
            return

    def _read(self) -> Iterator[dict[str, float]]:
        for path in self._paths:
            try:
                stored = self._storage.read(path)
                if stored is None:
                    return
                yield _START.validate_json(stored.data)
            except StorageUnavailable as error:
                _log.warning("how long starts take is not known: %s", error)
                return
            except ValidationError:
                _log.warning("%s is not what a start leaves; it is passed over", path)
