"""Bootstrap: chooses the concrete parts by the settings and connects them."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from imagegen.engine.process import RenderProcess
from imagegen.errors import InvalidSettings, StorageUnavailable
from imagegen.front.line import Line
from imagegen.front.renderer import RemoteRenderer
from imagegen.front.service import RemoteService
from imagegen.keeping import PictureKeeper
from imagegen.metrics import Metrics
from imagegen.presets import PresetCatalog
from imagegen.renderers import local_model_folder, renderer_maker
from imagegen.service import ImageService
from imagegen.settings import Settings
from imagegen.storage import Storage, open_storage

_LOOK_S = 0.05
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Application:
    """The connected parts. Until `start` it is plain data and survives a fork."""

    settings: Settings
    catalog: PresetCatalog
    storage: Storage
    engine: RenderProcess
    service: ImageService
    metrics: Metrics

    def start(self) -> None:
        """Returns at once; the model loads in a process of its own."""
        self.engine.start()

    def warm(self) -> None:
        """Nothing: the model loads from the start on."""

    def drain(self, grace_s: float) -> None:
        """Refuses new requests at once, gives those in flight `grace_s`, then stops."""
        _wait_for_those_in_flight(self.service, grace_s)
        self.stop()

    def stop(self) -> None:
        """Ends the render process; whoever still waits is told."""
        self.service.drain()
        self.engine.stop(0.0)


@dataclass(frozen=True)
class Front:
    """The same for the role `web`: where there is a render process, a line to one elsewhere."""

    settings: Settings
    catalog: PresetCatalog
    storage: Storage
    engine: RemoteRenderer
    service: RemoteService
    metrics: Metrics

    def start(self) -> None:
        """Nothing: the renderer sleeps until somebody needs it."""

    def warm(self) -> None:
        """Wakes the renderer for somebody who has begun to type."""
        self.engine.warm()

    def drain(self, grace_s: float) -> None:
        """Refuses new requests at once, gives those in flight `grace_s`, then stops."""
        _wait_for_those_in_flight(self.service, grace_s)
        self.stop()

    def stop(self) -> None:
        """Whoever still waits is told, and the renderer that nobody waits."""
        self.service.stop()
        self.engine.stop()


def build_for_role(settings: Settings) -> Application | Front:
    """What `serve` runs. Raises OperatorError in one sentence."""
    if settings.role != "web":
        if settings.render_url is not None:
            raise InvalidSettings("IMAGEGEN_RENDER_URL goes with IMAGEGEN_ROLE=web")
        return build(settings)
    if settings.render_url is None:
        raise InvalidSettings("IMAGEGEN_ROLE=web needs IMAGEGEN_RENDER_URL, the renderer's address")
    line = Line(settings.render_url)
    _check_reading(settings)
    storage = open_storage(settings.storage)
    catalog = PresetCatalog.load(Path(settings.presets))
    metrics = Metrics()
    renderer = RemoteRenderer(line)
    service = RemoteService(settings, catalog, line, renderer, storage, metrics)
    return Front(settings, catalog, storage, renderer, service, metrics)


def build(settings: Settings) -> Application:
    """The application, checked but not started. Raises OperatorError in one sentence."""
    _check_storage(settings)
    storage = open_storage(settings.storage)
    catalog = _load_catalog(settings)
    make_renderer = renderer_maker(settings, [preset.adapters for preset in catalog])
    max_rows = None if settings.max_rows == "auto" else settings.max_rows
    engine = RenderProcess(make_renderer, max_queue=settings.max_queue, max_rows=max_rows)
    metrics = Metrics()
    _watch(metrics, engine)
    keeper = PictureKeeper(storage, settings.urls)
    service = ImageService(settings, catalog, engine, keeper, metrics)
    return Application(settings, catalog, storage, engine, service, metrics)


def _wait_for_those_in_flight(service: ImageService | RemoteService, grace_s: float) -> None:
    service.drain()
    if service.in_flight and grace_s:
        _log.info("draining: %d requests have %g s", service.in_flight, grace_s)
    until = time.monotonic() + grace_s
    while service.in_flight and time.monotonic() < until:
        time.sleep(_LOOK_S)


def _check_storage(settings: Settings) -> None:
    """Writes, and signs where links are to be signed. Raises InvalidSettings.

    With a client of its own: no open connection may cross gunicorn's fork.
    """
    storage = open_storage(settings.storage)
    storage.check()
    if settings.urls == "signed":
        try:
            storage.signed_url("imagegen-check.txt", 60)
        except StorageUnavailable as error:
            raise InvalidSettings(f"IMAGEGEN_URLS=signed: {error}") from error


def _check_reading(settings: Settings) -> None:
    """The role `web` never writes: its account need not be able to. Raises InvalidSettings."""
    try:
        open_storage(settings.storage).read("imagegen-check.txt")
    except StorageUnavailable as error:
        raise InvalidSettings(f"IMAGEGEN_STORAGE: {error}") from error


def _load_catalog(settings: Settings) -> PresetCatalog:
    """The brands, checked against the model where its folder is at hand; else loading it checks."""
    return PresetCatalog.load(Path(settings.presets), local_model_folder(settings.model))


def _watch(metrics: Metrics, engine: RenderProcess) -> None:
    metrics.watch("queue_depth", "Pictures that wait.", lambda: engine.status().queued)
    metrics.watch("running", "Pictures being rendered.", lambda: engine.status().running)
    metrics.watch("ready", "1 when a picture could be rendered now.", lambda: engine.status().ready)
    metrics.watch(
        "render_process_deaths", "Render processes that ended unasked.",
        lambda: engine.status().deaths,
    )  # fmt: skip
    metrics.watch(
        "abandoned_gpu_seconds", "Accelerator seconds spent on pictures that nobody got.",
        lambda: engine.status().abandoned_gpu_s,
    )  # fmt: skip
