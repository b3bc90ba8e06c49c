"""ImageService: resolve -> render -> encode -> store. The use case, in a page."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import nullcontext

from imagegen.callers import NOBODY, Caller
from imagegen.cost.prices import PriceTable
from imagegen.door import Door
from imagegen.engine.process import Audience, OnEvent, RenderProcess
from imagegen.errors import (
    Cancelled,
    DeadlineExceeded,
    ImagegenError,
    ModelLoading,
    QueueFull,
    RenderFailed,
)
from imagegen.generation import (
    GeneratedImage,
    Generation,
    GenerationRequest,
    ModelInfo,
    Rendering,
    Timings,
    Usage,
)
from imagegen.keeping import KeptPicture, Order, PictureKeeper
from imagegen.metrics import NO_BRAND, Metrics
from imagegen.presets import PresetCatalog
from imagegen.reception import Reception
from imagegen.settings import Settings
from imagegen.spans import record_failure, record_generation
from imagegen.tracing import current_trace, follow_generation

_log = logging.getLogger(__name__)
_DECODERS = 2  # sent pictures decoded at a time: each may take hundreds of megabytes meanwhile
_TICK_S = 0.15  # how often somebody who waits looks whether his caller is still there

OnImage = Callable[[GeneratedImage, bytes], None]


def _ignore(_image: GeneratedImage, _data: bytes) -> None: ...


class ImageService:
    """Makes pictures for callers on their own threads; only the render process is shared."""

    def __init__(
        self,
        settings: Settings,
        catalog: PresetCatalog,
        engine: RenderProcess,
        keeper: PictureKeeper,
        metrics: Metrics,
        door: Door,
    ) -> None:
        self._settings = settings
        self._prices = PriceTable.of(settings)
        self._catalog = catalog
        self._engine = engine
        self._keeper = keeper
        self._metrics = metrics
        self.door = door
        self._decoding = threading.Semaphore(_DECODERS)
        self._lock = threading.Lock()  # guards the next two counts
        self._abandoned_gpu_s = 0.0
        self._awaiting_model: Counter[str] = Counter()  # pictures, by caller

    @property
    def abandoned_gpu_s(self) -> float:
        """Spent on pictures that were finished, but whose request failed all the same."""
        return self._abandoned_gpu_s

    def generate(
        self,
        request: GenerationRequest,
        *,
        caller: Caller = NOBODY,
        wanted: Callable[[], bool] = lambda: True,
        on_image: OnImage = _ignore,
        on_event: OnEvent | None = None,
        previews: bool = False,
        reception: Reception | None = None,
    ) -> Generation:
        """Renders and stores what `request` asks for; returns when everything is stored.

        caller: whose turn it is; a brand that is not his is an UnknownBrand. wanted: asked several
        times a second; once it says no, the pictures leave the batch. on_image: called for each
        stored picture as it is there.
        on_event: hears of each step and, with previews, gets small looks, on the engine's thread.
        reception: who it is, and who hears that there is a place for it; by default a new one.
        Links of proxied pictures are relative (`/images/…`): only the edge knows its own address.
        Raises ImagegenError; then no picture of the request is rendered on.
        """
        patience = _Patience(self._settings.deadline_s, request.deadline_s, wanted)
        began_ns = time.time_ns()
        try:
            with self.door.entered():
                audience = Audience(on_event, previews)
                generation = self._generate(
                    request, caller, patience, on_image, audience, reception or Reception()
                )
        except Exception as error:
            brand = request.brand if request.brand in self._catalog else NO_BRAND
            code = error.code if isinstance(error, ImagegenError) else "internal_error"
            self._metrics.ended_without_pictures(brand, code)
            record_failure(began_ns, brand, code)
            raise
        self._metrics.succeeded(generation)
        record_generation(began_ns, generation)
        _log_generation(request, generation)
        return generation

    def _generate(
        self,
        request: GenerationRequest,
        caller: Caller,
        patience: _Patience,
        on_image: OnImage,
        audience: Audience,
        reception: Reception,
    ) -> Generation:
        preset = self._catalog.seen_by(caller).get(request.brand)
        identity = reception.identity
        order = Order(identity.id, request, preset.version, identity.created_at, caller.owner)
        follow_generation(order.id)

        def await_model() -> None:
            preset.refuse_words(request)
            reception.accept(order.preset_version)

        model = self._model(request, caller, patience, await_model)
        with nullcontext() if request.init_image is None else self._decoding:
            specs = preset.resolve(request, model)
        finish = preset.finish(request, specs[0])
        futures = self._engine.submit(
            specs,
            caller=caller.name,
            deadline_s=patience.remaining_s,
            on_event=audience.on_event,
            previews=audience.previews,
            most_waiting=self._most_waiting(caller),
        )
        kept: dict[int, KeptPicture] = {}
        try:
            reception.accept(order.preset_version)
            for index, rendering in self._as_finished(futures, patience):
                with self.door.keeping():
                    kept[index] = self._keeper.keep(order, index, rendering, finish)
                on_image(kept[index].image, kept[index].data)
        except RenderFailed as error:
            raise RenderFailed(f"{error.detail} ({order.id})") from error
        finally:
            self._engine.cancel([future for future in futures if not future.done()])
            if len(kept) < len(futures):
                with self._lock:
                    self._abandoned_gpu_s += sum(
                        future.result().gpu_s for future in futures if not future.exception()
                    )
        in_order = [kept[index] for index in sorted(kept)]
        return self._answer(order, in_order, finish.warnings, patience)

    def _most_waiting(self, caller: Caller) -> int | None:
        """Half of the queue stays free for others, but a whole request always has its place.

        An address is no caller: a whole office may be behind it.
        """
        if not caller.owner:
            return None
        return max(8, self._settings.max_queue // 2)

    def _model(
        self,
        request: GenerationRequest,
        caller: Caller,
        patience: _Patience,
        before_waiting: Callable[[], None],
    ) -> ModelInfo:
        """What the model is; waits while it loads, together with no more than the queue holds."""
        status = self._engine.status()
        if status.model is not None:
            return status.model
        with self._lock:
            if self._has_enough_waiting(caller, request.num_images):
                raise QueueFull(
                    "the model is loading and enough pictures wait for it already",
                    retry_after_s=30 if status.eta_s is None else status.eta_s,
                )
            self._awaiting_model[caller.name] += request.num_images
        try:
            before_waiting()
            while True:
                try:
                    return self._engine.wait_ready(min(_TICK_S, patience.remaining_s))
                except ModelLoading:
                    if patience.remaining_s <= 0:
                        raise
                    patience.check()
        finally:
            with self._lock:
                self._awaiting_model -= Counter({caller.name: request.num_images})

    def _has_enough_waiting(self, caller: Caller, more: int) -> bool:
        """Whether the queue, or the caller's share of it, would not hold `more`. With the lock."""
        most = self._most_waiting(caller)
        if most is not None and self._awaiting_model[caller.name] + more > most:
            return True
        return self._awaiting_model.total() + more > self._settings.max_queue

    def _as_finished(
        self, futures: Sequence[Future[Rendering]], patience: _Patience
    ) -> Iterator[tuple[int, Rendering]]:
        """(index, rendering) as they finish; raises the first failure."""
        index_of = {future: index for index, future in enumerate(futures)}
        pending = set(futures)
        while pending:
            done, pending = wait(pending, timeout=_TICK_S, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=index_of.__getitem__):
                yield index_of[future], future.result()
            if pending:
                patience.check()

    def _answer(
        self,
        order: Order,
        kept: Sequence[KeptPicture],
        warnings: tuple[str, ...],
        patience: _Patience,
    ) -> Generation:
        """warnings: those that are not a single picture's."""
        renderings = [one.rendering for one in kept]
        first_start_s = min(one.queue_s for one in renderings)
        gpu_s = sum(one.gpu_s for one in renderings)
        return Generation(
            id=order.id,
            status="succeeded",
            brand=order.request.brand,
            preset_version=order.preset_version,
            model=renderings[0].model.name,
            created_at=order.created_at,
            campaign=order.request.campaign,
            warnings=tuple(
                dict.fromkeys((*(text for one in renderings for text in one.warnings), *warnings))
            ),
            images=tuple(one.image for one in kept),
            timings=Timings(
                queue_s=first_start_s,
                render_s=max(one.queue_s + one.render_s for one in renderings) - first_start_s,
                encode_s=sum(one.encode_s for one in kept),
                store_s=sum(one.store_s for one in kept),
                total_s=patience.waited_s,
            ),
            usage=Usage(
                gpu_s=gpu_s,
                steps=sum(one.spec.step_count for one in renderings),
                estimated_cost_usd=self._prices.render_usd(gpu_s),
            ),
        )


def _log_generation(request: GenerationRequest, generation: Generation) -> None:
    """What a caller wrote stands in fields of its own, never in the sentence."""
    if current_trace() is None:
        return  # a command line tells of its pictures itself
    _log.info(
        "%s: %d of %s in %.2f s", generation.id, len(generation.images), generation.brand,
        generation.timings.total_s,
        extra={
            "fields": {
                "brand": generation.brand,
                "prompt": request.prompt,
                "campaign": generation.campaign,
                "timings": generation.timings.model_dump(),
            }
        },
    )  # fmt: skip


class _Patience:
    """How long a request may still take, and whether anybody still waits for it."""

    def __init__(self, longest_s: float, asked_s: float | None, wanted: Callable[[], bool]) -> None:
        self._limit_s = longest_s if asked_s is None else min(asked_s, longest_s)
        self._wanted = wanted
        self._started = time.monotonic()

    @property
    def waited_s(self) -> float:
        return time.monotonic() - self._started

    @property
    def remaining_s(self) -> float:
        return max(0.0, self._limit_s - self.waited_s)

    def check(self) -> None:
        if not self._wanted():
            raise Cancelled("the caller left")
        if self.remaining_s <= 0:
            raise DeadlineExceeded(f"the pictures were not ready within {self._limit_s:g} s")
