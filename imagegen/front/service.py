"""RemoteService: pictures from a renderer elsewhere, for the same callers as ImageService's."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from urllib.parse import quote

from pydantic import ValidationError

from imagegen.callers import NOBODY, Caller, forwarded_headers
from imagegen.door import Door
from imagegen.errors import (
    Cancelled,
    DeadlineExceeded,
    Draining,
    ImagegenError,
    QueueFull,
    RenderFailed,
    ServiceUnreachable,
    StorageUnavailable,
)
from imagegen.front.event_line import EventLine
from imagegen.front.line import Answer, Call, Line
from imagegen.front.renderer import RemoteRenderer
from imagegen.generation import GeneratedImage, Generation, GenerationRequest, StoredFile
from imagegen.metrics import Metrics
from imagegen.presets import PresetCatalog
from imagegen.problems import ASK_AGAIN_S, detail_of, failure_of, retry_after_s
from imagegen.service import OnImage
from imagegen.settings import Settings
from imagegen.storage import Storage
from imagegen.tracing import follow_generation

MARGIN_S = 5.0  # past a deadline, within which the renderer itself says that it has passed
_PROMPTLY_S = 1.0  # an answer that takes longer makes us ask how far the renderer is
_TICK_S = 0.15
_SHORT_S = 30.0  # for what needs no picture to be made
_LINGER_S = 60.0  # past a deadline: who waits gives up before, this only ends the thread


class RemoteService:
    """Forwards on the caller's thread; what can be refused here wakes nobody."""

    def __init__(
        self,
        settings: Settings,
        catalog: PresetCatalog,
        line: Line,
        renderer: RemoteRenderer,
        storage: Storage,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._line = line
        self._renderer = renderer
        self._storage = storage
        self._metrics = metrics
        self.door = Door()
        self._stopped = False

    def stop(self) -> None:
        """Tells whoever still waits, and the renderer with it."""
        self.door.close()
        self._stopped = True

    def generate(
        self,
        request: GenerationRequest,
        *,
        caller: Caller = NOBODY,
        wanted: Callable[[], bool] = lambda: True,
        on_image: OnImage | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Generation:
        """As ImageService's. on_image: called once all is there, with the files from Storage.
        headers: that go along.

        Raises the renderer's own ImagegenErrors, and ServiceUnreachable where it does not answer.
        """
        try:
            with self.door.entered():
                generation = self._forwarded(request, caller, wanted, headers or {})
                if on_image is not None:
                    for image in generation.images:
                        on_image(image, self._file(image))
        except ServiceUnreachable as error:  # all else the renderer counts
            self._metrics.ended_without_pictures(request.brand, error.code)  # it was one, then
            raise
        return generation

    def accept(self, request: GenerationRequest, caller: Caller, headers: Mapping[str, str]) -> str:
        """The id of a generation that is in Storage and lives on there. Raises as `generate`."""
        with self.door.entered():
            call = self._call(request, caller, {**headers, "Prefer": "respond-async"})
            answer = self._awaited(call, self._settings.deadline_s, lambda: True)
        return self._generation(answer, 200, 202).id

    def cancel(self, generation_id: str, caller: Caller) -> Generation:
        """What became of it. Raises what the renderer says to that, and ServiceUnreachable."""
        path = f"/generations/{quote(generation_id, safe='')}"
        with self.door.entered():
            call = Call(
                self._line, path, method="DELETE",
                answer_s=_SHORT_S, headers=forwarded_headers(caller),
            )  # fmt: skip
            return self._generation(self._awaited(call, _SHORT_S, lambda: True), 200, 202)

    def stream(
        self, request: GenerationRequest, caller: Caller, headers: Mapping[str, str]
    ) -> EventLine:
        """The events of a generation that ends with its caller, or has a key."""
        call = self._call(request, caller, {**headers, "Accept": "text/event-stream"})
        return self._opened(call)

    def follow(self, generation_id: str, caller: Caller, after: int) -> EventLine:
        """The events of one that is in Storage, past number `after`."""
        headers = {**forwarded_headers(caller), "Last-Event-ID": str(after)}
        path = f"/generations/{quote(generation_id, safe='')}/events"
        return self._opened(Call(self._line, path, answer_s=_SHORT_S, headers=headers))

    def _opened(self, call: Call) -> EventLine:
        """A stream counts as a request in flight until it is left."""
        stack = ExitStack()
        stack.enter_context(self.door.entered())
        line = EventLine(call, self.linked, lambda: self._stopped, stack.close)
        stack.callback(call.give_up)
        try:
            line.open(_failure)
        except BaseException:
            stack.close()
            raise
        self._renderer.answered()
        return line

    def _call(self, request: GenerationRequest, caller: Caller, headers: Mapping[str, str]) -> Call:
        self._catalog.seen_by(caller).get(request.brand).refuse_words(request)
        return Call(
            self._line,
            "/generate",
            answer_s=self._settings.deadline_s + _LINGER_S,
            body=request.model_dump_json(exclude_defaults=True).encode(),
            headers={**forwarded_headers(caller), **headers},
        )

    def _forwarded(
        self,
        request: GenerationRequest,
        caller: Caller,
        wanted: Callable[[], bool],
        headers: Mapping[str, str],
    ) -> Generation:
        longest_s = self._settings.deadline_s
        limit_s = longest_s if request.deadline_s is None else min(request.deadline_s, longest_s)
        call = self._call(request.model_copy(update={"deadline_s": limit_s}), caller, headers)
        return self._generation(self._awaited(call, limit_s, wanted), 200)

    def _generation(self, answer: Answer, *expected: int) -> Generation:
        if answer.status not in expected:
            raise _failure(answer)
        self._renderer.answered()
        try:
            generation = Generation.model_validate_json(answer.body)
        except ValidationError:
            raise ServiceUnreachable(
                f"what answers at {self._line.name} is no imagegen service", ASK_AGAIN_S
            ) from None
        follow_generation(generation.id)
        images = tuple(self.linked(image) for image in generation.images)
        return generation.model_copy(update={"images": images})

    def _awaited(self, call: Call, limit_s: float, wanted: Callable[[], bool]) -> Answer:
        """The answer, unless the caller leaves, his time is over or this instance must end."""
        started = time.monotonic()
        future = call.start()
        with ExitStack() as leaving:
            leaving.callback(call.give_up)
            looking = False
            while (answer := _answer_within(future, _TICK_S)) is None:
                waited_s = time.monotonic() - started
                if self._stopped:
                    raise Draining("this instance is shutting down; ask again", retry_after_s=1)
                if not wanted():
                    raise Cancelled("the caller left")
                if waited_s > limit_s + MARGIN_S:
                    raise DeadlineExceeded(f"the pictures were not ready within {limit_s:g} s")
                if waited_s > _PROMPTLY_S and not looking:
                    looking = True
                    leaving.enter_context(self._renderer.awaited())
        return answer

    def linked(self, image: GeneratedImage) -> GeneratedImage:
        """A proxied link leads through here, not through the renderer, which may be asleep."""
        if self._settings.urls == "signed":
            return image
        clean = image.clean
        if clean is not None:
            clean = clean.model_copy(update={"url": f"/images/{self._path(clean)}"})
        return image.model_copy(update={"url": f"/images/{self._path(image)}", "clean": clean})

    def _path(self, image: GeneratedImage | StoredFile) -> str:
        root = self._storage.uri("x").removesuffix("x")
        if not image.storage_uri.startswith(root):
            raise StorageUnavailable(
                f"the renderer stores in {image.storage_uri.rpartition('/')[0]}, this service reads"
                f" {root}: both need the same IMAGEGEN_STORAGE",
                ASK_AGAIN_S,
            )
        return image.storage_uri.removeprefix(root)

    def _file(self, image: GeneratedImage) -> bytes:
        stored = self._storage.read(self._path(image))
        if stored is None:
            raise StorageUnavailable(f"{image.storage_uri} is gone", ASK_AGAIN_S)
        return stored.data


def _answer_within(future: Future[Answer], timeout_s: float) -> Answer | None:
    try:
        return future.result(timeout_s)
    except TimeoutError:
        return None


def _failure(answer: Answer) -> ImagegenError:
    """The renderer's own error again, or what a status means that Cloud Run gave in its place."""
    failure = failure_of(answer.body, answer.retry_after)
    if failure is not None:
        return failure
    if said := detail_of(answer.body):
        return RenderFailed(f"the renderer answered {answer.status} {said}")
    again_s = retry_after_s(answer.retry_after)
    if answer.status == 429:
        return QueueFull("no renderer has room now", again_s)
    if answer.status in (401, 403):
        return ServiceUnreachable(
            f"the renderer refuses this service's account ({answer.status}): it needs the role "
            "run.invoker there",
            again_s,
        )
    return ServiceUnreachable(f"in the renderer's place came HTTP {answer.status}", again_s)
