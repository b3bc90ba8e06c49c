"""A generation as OpenAI's server-sent events: looks at a picture on its way, then the picture."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from itertools import chain
from typing import Literal

from PIL import Image
from PIL.Image import Resampling
from pydantic import BaseModel

from imagegen.engine.process import Progress
from imagegen.errors import ImagegenError
from imagegen.generation import GeneratedImage, Generation
from imagegen.generations.events import Event, Look
from imagegen.generations.running import TICK_S, Following
from imagegen.web.errors import failure_of, surprise
from imagegen.web.openai.answers import CompletedEvent, PartialImageEvent
from imagegen.web.openai.bodies import ImagesBody
from imagegen.web.openai.failures import error_answer
from imagegen.web.openai.translation import drawn_quality, size_of, usage_of

PIXELS_PER_LATENT = 8  # a look has a pixel per latent
_SILENCE_S = 10.0  # of which proxies think nothing
_COMMENT = b":\n\n"

Kind = Literal["image_generation", "image_edit"]
_PARTIAL: Mapping[Kind, Literal["image_generation.partial_image", "image_edit.partial_image"]] = {
    "image_generation": "image_generation.partial_image",
    "image_edit": "image_edit.partial_image",
}
_COMPLETED: Mapping[Kind, Literal["image_generation.completed", "image_edit.completed"]] = {
    "image_generation": "image_generation.completed",
    "image_edit": "image_edit.completed",
}


class Storyteller:
    """Tells one client of one generation. Pure but for its count of looks."""

    def __init__(self, kind: Kind, asked: ImagesBody) -> None:
        self._kind = kind
        self._asked = asked
        self._wanted = asked.partial_images or 0
        self._sent = 0
        self._done = 0.0  # the share of the steps

    def told(self, event: Event, files: Callable[[], list[bytes]]) -> Iterator[bytes]:
        """What the client hears of `event`. files: the pictures, once the generation is done."""
        what = event.what
        if isinstance(what, Progress):
            self._done = what.step / what.of
        elif isinstance(what, Look) and self._is_due():
            yield self._partial(what.jpeg)
        elif isinstance(what, Generation):
            for image, data in zip(what.images, files(), strict=True):
                yield self._completed(what, image, data)
        elif isinstance(what, Exception):
            yield told_failure(what)

    def _is_due(self) -> bool:
        """Looks are spread over the steps; a picture that is quick is there before all were."""
        return self._sent < self._wanted and self._done >= (self._sent + 1) / (self._wanted + 1)

    def _partial(self, look: bytes) -> bytes:
        picture = Image.open(io.BytesIO(look))
        size = picture.width * PIXELS_PER_LATENT, picture.height * PIXELS_PER_LATENT
        file, output_format = io.BytesIO(), self._asked.output_format or "png"
        picture.resize(size, Resampling.BICUBIC).save(file, output_format.upper())
        self._sent += 1
        return _sse(
            PartialImageEvent(
                type=_PARTIAL[self._kind],
                b64_json=base64.b64encode(file.getvalue()).decode(),
                created_at=int(time.time()),
                output_format=output_format,
                partial_image_index=self._sent - 1,
                quality=drawn_quality(self._asked),
                size=f"{size[0]}x{size[1]}",
            )
        )

    def _completed(self, generation: Generation, image: GeneratedImage, data: bytes) -> bytes:
        steps = generation.usage.steps // len(generation.images)
        return _sse(
            CompletedEvent(
                type=_COMPLETED[self._kind],
                b64_json=base64.b64encode(data).decode(),
                created_at=int(time.time()),
                output_format=self._asked.output_format or "png",
                quality=drawn_quality(self._asked),
                size=size_of([image]),
                usage=usage_of(self._asked, steps),
                seed=image.seed,
                id=generation.id,
            )
        )


class EventBody:
    """The body of the answer: closed also where nobody began to read it."""

    def __init__(
        self, running: Following, wanted: Callable[[], bool], storyteller: Storyteller
    ) -> None:
        """Waits for the first event. Raises what fails before anything has happened.

        wanted: asked several times a second; once it says no, nobody listens any more.
        """
        self._running: Following | None = running
        heard = _heard(running, wanted)
        first = next(heard, None)
        if first is not None and isinstance(first.what, ImagegenError):
            raise first.what
        self._messages = _messages(chain([first], heard), running, storyteller)

    def __iter__(self) -> Iterator[bytes]:
        return self._messages

    def close(self) -> None:
        """What nobody else waits for leaves the batch; what has ended is not touched."""
        self._messages.close()
        running, self._running = self._running, None
        if running is not None:
            running.leave()


def told_failure(error: Exception) -> bytes:
    """What goes wrong once the answer has begun: an event, as its status is said already."""
    failure = failure_of(error) if isinstance(error, ImagegenError) else surprise(error)
    return b"event: error\n" + _data(error_answer(failure))


def _messages(
    events: Iterable[Event | None], running: Following, storyteller: Storyteller
) -> Generator[bytes, None, None]:
    try:
        for event in events:
            if event is None:
                yield _COMMENT
                continue
            yield from storyteller.told(event, running.files)
            if event.is_last:
                return
    except Exception as error:  # such as a store that does not give the files back
        yield told_failure(error)


def _heard(running: Following, wanted: Callable[[], bool]) -> Iterator[Event | None]:
    """Events as they come; None after a silence. Ends once nobody listens."""
    after, quiet_since = 0, time.monotonic()
    while wanted():
        events = running.heard(after, TICK_S)
        for event in events:
            yield event
            after = event.number
        if events:
            quiet_since = time.monotonic()
        elif time.monotonic() - quiet_since > _SILENCE_S:
            yield None
            quiet_since = time.monotonic()


def _sse(event: PartialImageEvent | CompletedEvent) -> bytes:
    return f"event: {event.type}\n".encode() + _data(event)


def _data(answer: BaseModel) -> bytes:
    return f"data: {answer.model_dump_json()}\n\n".encode()
