"""What the routes work with. Which parts these are, here or elsewhere, `bootstrap` decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from imagegen.callers import Caller, Identities
from imagegen.campaigns import Campaigns
from imagegen.clip_tokens import PromptMeter
from imagegen.door import Door
from imagegen.engine.process import EngineStatus
from imagegen.generation import Generation, GenerationRequest
from imagegen.generations.archive import Listed, PictureFile
from imagegen.generations.deliveries import Deliveries
from imagegen.generations.records import GenerationRecord
from imagegen.generations.register import ListQuery
from imagegen.generations.running import Following
from imagegen.library import Library
from imagegen.metrics import Metrics
from imagegen.presets import PresetCatalog
from imagegen.service import OnImage
from imagegen.settings import Settings
from imagegen.storage import Storage


class PictureService(Protocol):
    """`ImageService`, or what forwards to one."""

    @property
    def door(self) -> Door: ...
    def generate(
        self,
        request: GenerationRequest,
        *,
        caller: Caller = ...,
        wanted: Callable[[], bool] = ...,
        on_image: OnImage = ...,
    ) -> Generation: ...


class GenerationDesk(Protocol):
    """`Generations`, or what forwards to one."""

    def start(
        self,
        request: GenerationRequest,
        caller: Caller,
        *,
        key: str | None = ...,
        lives_on: bool = ...,
        previews: bool = ...,
        is_retry: bool = ...,
    ) -> Following: ...
    def find(self, generation_id: str, caller: Caller) -> Following: ...
    def record(self, generation_id: str, caller: Caller) -> GenerationRecord: ...
    def position(self, generation_id: str) -> int | None: ...
    def picture(
        self, generation_id: str, index: int, caller: Caller, *, clean: bool = ...
    ) -> PictureFile: ...
    def cancel(self, generation_id: str, caller: Caller) -> GenerationRecord: ...
    def list(self, caller: Caller, query: ListQuery) -> Listed: ...


class Engine(Protocol):
    """`RenderProcess`, or what is known of one elsewhere; asking it wakes nobody."""

    def status(self) -> EngineStatus: ...


class Collaborators(Protocol):
    """`application.Application` and `application.Front` are this."""

    @property
    def settings(self) -> Settings: ...
    @property
    def catalog(self) -> PresetCatalog: ...
    @property
    def storage(self) -> Storage: ...
    @property
    def engine(self) -> Engine: ...
    @property
    def service(self) -> PictureService: ...
    @property
    def generations(self) -> GenerationDesk: ...
    @property
    def campaigns(self) -> Campaigns: ...
    @property
    def library(self) -> Library: ...
    @property
    def deliveries(self) -> Deliveries | None: ...
    @property
    def meter(self) -> PromptMeter: ...
    @property
    def metrics(self) -> Metrics: ...
    @property
    def identities(self) -> Identities | None: ...
    def warm(self) -> None:
        """Somebody will want a picture soon. Returns at once, or nearly so."""
