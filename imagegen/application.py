"""Application and Front: the connected parts of a role, and how they start, drain and stop."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagegen.callers import Identities
from imagegen.campaigns import Campaigns
from imagegen.clip_tokens import PromptMeter
from imagegen.engine.process import LOAD_TIMEOUT_S, RenderProcess
from imagegen.errors import ImagegenError
from imagegen.front.generations import RemoteGenerations
from imagegen.front.renderer import RemoteRenderer
from imagegen.front.service import RemoteService
from imagegen.generations import Generations
from imagegen.generations.deliveries import Deliveries
from imagegen.generations.deposits import Deposits
from imagegen.library import Library
from imagegen.metrics import Metrics
from imagegen.presets import PresetCatalog
from imagegen.renderers import renderer_maker
from imagegen.service import ImageService
from imagegen.settings import Settings, revision
from imagegen.start_times import StartTimes
from imagegen.storage import Storage

if TYPE_CHECKING:
    from imagegen.live_brands import LiveBrands

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
    generations: Generations
    library: Library
    campaigns: Campaigns
    metrics: Metrics
    identities: Identities | None  # where callers must say who they are
    meter: PromptMeter
    live_brands: LiveBrands | None = None  # where they are in a bucket
    deposits: Deposits | None = None  # where generations wait in a queue outside
    deliveries: Deliveries | None = None  # where that calls

    def start(self, container_s: float | None = None) -> None:
        """Returns at once; the model loads in a process of its own.

        container_s: how long this instance has lived. Where it is said, the start is compared with
        earlier ones.
        """
        self.engine.start(container_s)
        if self.identities is not None:
            self.identities.start()
        self.generations.watch.start()
        self.campaigns.driver.start()
        if self.deposits is not None:
            self.deposits.prepare()
        if self.deliveries is not None:
            self.deliveries.deliverer.prepare()
        if container_s is not None:
            threading.Thread(target=self._learn_from_start, name="start-times", daemon=True).start()
        if self.live_brands is not None:
            self.live_brands.start(
                lambda brands: self.engine.renew(renderer_maker(self.settings, brands))
            )

    def _learn_from_start(self) -> None:
        times = StartTimes(self.storage, self.settings, revision())
        self.engine.expect(times.usual())
        with suppress(ImagegenError):  # it never became ready: nothing to learn
            self.engine.wait_ready(LOAD_TIMEOUT_S)
            status = self.engine.status()
            if status.ready:  # still: it may have ended since, and begun another start
                times.keep(status.start_s)

    def warm(self) -> None:
        """The model loads from the start on. A campaign begun elsewhere is told of by this, too."""
        self.campaigns.driver.ring()

    def drain(self, pictures_s: float, answers_s: float) -> None:
        """Refuses new requests at once, gives those in flight what fits, then stops.

        pictures_s: until pictures must be rendered; less where the store is slow. answers_s: until
        what was rendered must be stored and everybody answered. Those who cannot make it are told
        early, one by one: then the others move faster.
        """
        began, door = time.monotonic(), self.service.door
        door.close(began + answers_s)
        self.campaigns.driver.close()
        self.generations.give_back()
        if door.inside and pictures_s:
            _log.info("draining: %d requests have %g s", door.inside, pictures_s)
        while door.inside:
            now = time.monotonic()
            ends_at = began + min(pictures_s, answers_s - door.keep_s)
            if now >= ends_at or self.engine.late(ends_at - now):
                break
            time.sleep(_LOOK_S)
        self.stop()
        while (door.inside or self.generations) and time.monotonic() < began + answers_s:
            time.sleep(_LOOK_S)  # what could not be made is given back meanwhile
        if door.inside and answers_s:
            _log.error("draining: %d requests cannot be answered in time", door.inside)

    def stop(self) -> None:
        """Ends the render process; whoever still waits is told."""
        self.service.door.close()
        self.campaigns.driver.close()
        self.generations.watch.close()
        if self.live_brands is not None:
            self.live_brands.stop()
        self.engine.stop(0.0)


@dataclass(frozen=True)
class Front:
    """The same for the role `web`: where there is a render process, a line to one elsewhere."""

    settings: Settings
    catalog: PresetCatalog
    storage: Storage
    engine: RemoteRenderer
    service: RemoteService
    generations: RemoteGenerations
    library: Library
    campaigns: Campaigns
    metrics: Metrics
    identities: Identities | None  # where callers must say who they are
    meter: PromptMeter
    live_brands: LiveBrands | None = None  # where they are in a bucket
    deposits: Deposits | None = None  # where generations wait in a queue outside
    deliveries: None = None  # that calls the renderer

    def start(self, container_s: float | None = None) -> None:
        """The renderer sleeps until somebody needs it."""
        if self.identities is not None:
            self.identities.start()
        if self.deposits is not None:
            self.deposits.prepare()
        if self.live_brands is not None:
            self.live_brands.start(None)

    def warm(self) -> None:
        """Wakes the renderer for somebody who has begun to type."""
        self.engine.warm()

    def drain(self, pictures_s: float, answers_s: float) -> None:
        """Refuses new requests at once; those in flight have as long as the renderer would give."""
        began, door = time.monotonic(), self.service.door
        door.close()
        while door.inside and time.monotonic() < began + pictures_s:
            time.sleep(_LOOK_S)
        self.stop()
        while door.inside and time.monotonic() < began + answers_s:
            time.sleep(_LOOK_S)

    def stop(self) -> None:
        """Whoever still waits is told, and the renderer that nobody waits."""
        self.campaigns.driver.close()
        if self.live_brands is not None:
            self.live_brands.stop()
        self.service.stop()
        self.engine.stop()
