"""Bootstrap: chooses the concrete parts by the settings and connects them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from imagegen.application import Application, Front
from imagegen.callers import Deliverer, Identities
from imagegen.campaigns import Campaigns
from imagegen.campaigns.bells import Bell, BellHere, BellOfQueue, BellOnTheLine
from imagegen.campaigns.driver import Desk, Driver
from imagegen.campaigns.store import CampaignStore
from imagegen.clip_tokens import PromptMeter
from imagegen.cloud_tasks import CloudTasks, Target
from imagegen.door import Door
from imagegen.engine.process import RenderProcess
from imagegen.errors import InvalidSettings, StorageUnavailable
from imagegen.front.generations import RemoteGenerations
from imagegen.front.line import Line
from imagegen.front.renderer import RemoteRenderer
from imagegen.front.service import RemoteService
from imagegen.generations import Generations
from imagegen.generations.archive import Archive
from imagegen.generations.deliveries import Deliveries
from imagegen.generations.deposits import Deposits
from imagegen.generations.register import Register
from imagegen.keeping import PictureKeeper
from imagegen.library import Library
from imagegen.library.digests import Digests
from imagegen.library.mark_book import MarkBook
from imagegen.library.shelf import Shelf
from imagegen.library.thumbnails import Thumbnails
from imagegen.logs import LogStyle
from imagegen.metrics import Metrics
from imagegen.presets import PresetCatalog
from imagegen.renderers import local_model_folder, renderer_maker
from imagegen.service import ImageService
from imagegen.settings import Settings
from imagegen.storage import Storage, open_storage
from imagegen.storage.records import RecordStore, open_records

if TYPE_CHECKING:
    from imagegen.live_brands import LiveBrands

_CAMPAIGN_PICTURES = 16  # asked for at a time: as much as keeps a device busy


def build_for_role(settings: Settings, logs: LogStyle | None = None) -> Application | Front:
    """What `serve` runs. Raises OperatorError in one sentence."""
    if settings.role != "web":
        if settings.render_url is not None:
            raise InvalidSettings("IMAGEGEN_RENDER_URL goes with IMAGEGEN_ROLE=web")
        return build(settings, logs)
    if settings.render_url is None:
        raise InvalidSettings("IMAGEGEN_ROLE=web needs IMAGEGEN_RENDER_URL, the renderer's address")
    line = Line(settings.render_url)
    _check_reading(settings)
    storage = open_storage(settings.storage)
    catalog, live_brands = _brands_of(settings, None)  # whoever renders holds them to the model
    metrics = Metrics()
    renderer = RemoteRenderer(line)
    service = RemoteService(settings, catalog, line, renderer, storage, metrics)
    keeper = PictureKeeper(storage, settings.urls)
    records = open_records(settings.storage)
    archive = Archive(Register(records), keeper, storage, settings.deadline_s, service.door)
    deposits = _deposits(settings, archive, catalog, renderer, renderer.warm)
    generations = RemoteGenerations(service, archive, deposits)
    if live_brands is not None:
        _watch_brands(metrics, live_brands)
    return Front(
        settings=settings,
        catalog=catalog,
        storage=storage,
        engine=renderer,
        service=service,
        generations=generations,
        library=_library(records, archive, storage),
        campaigns=_campaigns(settings, records, catalog, archive, generations, renderer),
        metrics=metrics,
        identities=Identities.of(settings),
        meter=PromptMeter(None),
        live_brands=live_brands,
        deposits=deposits,
    )


def build(settings: Settings, logs: LogStyle | None = None) -> Application:
    """The application, checked but not started. Raises OperatorError in one sentence.

    logs: how the render process writes; without it, it only warns.
    """
    began = time.monotonic()
    _check_storage(settings)
    door = Door(keep_s=time.monotonic() - began)  # as much as a picture's way there, or more
    storage = open_storage(settings.storage)
    catalog, live_brands = load_brands(settings)
    make_renderer = renderer_maker(settings, [preset.adapters for preset in catalog])
    max_rows = None if settings.max_rows == "auto" else settings.max_rows
    engine = RenderProcess(
        make_renderer, max_queue=settings.max_queue, max_rows=max_rows, logs=logs
    )
    metrics = Metrics()
    keeper = PictureKeeper(storage, settings.urls)
    service = ImageService(settings, catalog, engine, keeper, metrics, door)
    records = open_records(settings.storage)
    archive = Archive(Register(records), keeper, storage, settings.deadline_s, door)
    deposits = _deposits(settings, archive, catalog, engine)
    generations = Generations(service, archive, lambda: _room(settings, engine), deposits)
    _watch(metrics, engine, service)
    _watch_generations(metrics, generations)
    if live_brands is not None:
        _watch_brands(metrics, live_brands)
    return Application(
        settings=settings,
        catalog=catalog,
        storage=storage,
        engine=engine,
        service=service,
        generations=generations,
        library=_library(records, archive, storage),
        campaigns=_campaigns(settings, records, catalog, archive, generations, engine),
        metrics=metrics,
        identities=Identities.of(settings),
        meter=PromptMeter(local_model_folder(settings.model)),
        live_brands=live_brands,
        deposits=deposits,
        deliveries=_deliveries(settings, generations, door, catalog),
    )


def _deposits(
    settings: Settings,
    archive: Archive,
    catalog: PresetCatalog,
    engine: RenderProcess | RemoteRenderer,
    wake: Callable[[], None] = lambda: None,
) -> Deposits | None:
    """None where generations wait in the instance that was asked."""
    target = Target.of(settings)
    if target is None:
        return None
    queue = CloudTasks(target)
    return Deposits(
        archive.register, catalog, lambda: engine.status().model, queue, settings.deadline_s, wake
    )


def _deliveries(
    settings: Settings, generations: Generations, door: Door, catalog: PresetCatalog
) -> Deliveries | None:
    """None where no queue calls."""
    target = Target.of(settings)
    if target is None:
        return None
    checked = settings.allow_anyone == "yes"  # somebody else looks who comes: Cloud Run
    deliverer = Deliverer(target.url, target.account, checked_by_platform=checked)
    return generations.deliveries(deliverer, lambda: door.closed, lambda brand: brand in catalog)


def _room(settings: Settings, engine: RenderProcess) -> int:
    """Pictures that may be taken over from other instances just now."""
    status = engine.status()
    most = max(8, settings.max_queue // 2)  # the other half is for those who wait for an answer
    return most - status.queued if status.ready else 0


def _campaigns(
    settings: Settings,
    records: RecordStore,
    catalog: PresetCatalog,
    archive: Archive,
    desk: Desk,
    engine: RenderProcess | RemoteRenderer,
) -> Campaigns:
    store = CampaignStore(records)
    most_pictures = max(1, min(_CAMPAIGN_PICTURES, settings.max_queue // 4))
    driver = Driver(store, desk, most_pictures)
    bell: Bell = BellHere(driver)
    if isinstance(engine, RemoteRenderer):
        bell = BellOnTheLine(engine)
    target = Target.of(settings)
    if target is not None:
        bell = BellOfQueue(CloudTasks(target), bell)
    return Campaigns(store, driver, bell, catalog, archive, lambda: engine.status().model)


def _library(records: RecordStore, archive: Archive, storage: Storage) -> Library:
    book = MarkBook(records)

    def new_shelf(owner: str) -> Shelf:
        return Shelf(owner, archive.register, book, Digests(records, owner))

    return Library(archive, book, Thumbnails(storage), new_shelf)


def _check_storage(settings: Settings) -> None:
    """Writes, and signs where links are to be signed. Raises InvalidSettings.

    With a client of its own: no open connection may cross gunicorn's fork.
    """
    storage = open_storage(settings.storage)
    storage.check()
    _check_signing(settings, storage)


def _check_signing(settings: Settings, storage: Storage) -> None:
    """Of links, where they are to be signed. Raises InvalidSettings."""
    if settings.urls == "signed":
        try:
            storage.signed_url("imagegen-check.txt", 60)
        except StorageUnavailable as error:
            raise InvalidSettings(f"IMAGEGEN_URLS=signed: {error}") from error


def load_brands(settings: Settings) -> tuple[PresetCatalog, LiveBrands | None]:
    """The brands, checked against the model where its folder is at hand; else loading it checks.

    From a folder, all or none; from a bucket, those that are in order, and who follows the others.
    """
    return _brands_of(settings, local_model_folder(settings.model))


def _brands_of(
    settings: Settings, model_folder: Path | None
) -> tuple[PresetCatalog, LiveBrands | None]:
    if not settings.presets.startswith("gs://"):
        return PresetCatalog.load(Path(settings.presets), model_folder), None
    from imagegen.live_brands import LiveBrands

    live_brands = LiveBrands(settings.presets, model_folder)
    return live_brands.catalog, live_brands


def _check_reading(settings: Settings) -> None:
    """The role `web` writes no pictures and need not be able to; the links that it tells of those
    in Storage it signs itself. Raises InvalidSettings.
    """
    storage = open_storage(settings.storage)
    try:
        storage.read("imagegen-check.txt")
    except StorageUnavailable as error:
        raise InvalidSettings(f"IMAGEGEN_STORAGE: {error}") from error
    _check_signing(settings, storage)


def _watch(metrics: Metrics, engine: RenderProcess, service: ImageService) -> None:
    metrics.watch("queued_pictures", "Pictures that wait.", lambda: engine.status().queued)
    metrics.watch("running_pictures", "Pictures being rendered.", lambda: engine.status().running)
    metrics.watch_each(
        "start_seconds", "What the phases of the last start took.", "phase",
        lambda: engine.status().start_s,
    )  # fmt: skip
    metrics.watch("ready", "1 when a picture could be rendered now.", lambda: engine.status().ready)
    metrics.watch_total(
        "render_process_deaths", "Render processes that ended unasked.",
        lambda: engine.status().deaths,
    )  # fmt: skip
    metrics.watch_total(
        "abandoned_gpu_seconds", "Accelerator seconds spent on pictures that nobody got.",
        lambda: engine.status().abandoned_gpu_s + service.abandoned_gpu_s,
    )  # fmt: skip


def _watch_generations(metrics: Metrics, generations: Generations) -> None:
    metrics.watch(
        "open_generations", "Generations here that have not ended.", lambda: len(generations)
    )
    metrics.watch_total(
        "adopted_generations", "Generations taken over from instances that ended.",
        lambda: generations.watch.adopted,
    )  # fmt: skip
    metrics.watch_total(
        "joined_generations", "Requests that were given a generation which was under way already.",
        lambda: generations.joined,
    )  # fmt: skip


def _watch_brands(metrics: Metrics, brands: LiveBrands) -> None:
    metrics.watch(
        "preset_refused", "Brands whose newest version in the bucket was refused.",
        lambda: len(brands.catalog.refused),
    )  # fmt: skip
    metrics.watch(
        "preset_loaded_timestamp_seconds", "When the brands last changed, seconds since 1970.",
        lambda: brands.loaded_at,
    )  # fmt: skip
