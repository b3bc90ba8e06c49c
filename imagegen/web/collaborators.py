"""What the routes work with. Which parts these are, here or elsewhere, `bootstrap` decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from imagegen.callers import Caller
from imagegen.door import Door
from imagegen.engine.process import EngineStatus, OnEvent
from imagegen.generation import Generation, GenerationRequest
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
        on_event: OnEvent | None = ...,
        previews: bool = ...,
    ) -> Generation: ...


class Engine(Protocol):
    """`RenderProcess`, or what is known of one elsewhere; asking it wakes nobody."""

    def status(self) -> EngineStatus: ...


class Collaborators(Protocol):
    """`bootstrap.Application` and `bootstrap.Front` are this."""

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
    def metrics(self) -> Metrics: ...
    def warm(self) -> None:
        """Somebody will want a picture soon. Returns at once, or nearly so."""
