"""EventLog: what happened to a generation so far, numbered, for whoever follows it."""

from __future__ import annotations

import io
import threading
import time
from dataclasses import dataclass

from PIL import Image

from imagegen.engine.process import Preview, Progress
from imagegen.errors import Draining
from imagegen.generation import GeneratedImage, Generation

MAX_LISTENERS = 64  # at an instance, beside those whose own request it is; each keeps a thread
NUMBERS_PER_TERM = 100_000  # numbers go on where another instance takes over
_LOOK_QUALITY = 80


@dataclass(frozen=True)
class Queued:
    """There is a place for it."""

    generation_id: str
    position: int  # pictures before it


@dataclass(frozen=True)
class Look:
    """How a picture looks so far: a small one, made a JPEG only where somebody looks."""

    index: int
    seen: Preview | bytes  # as the engine shows it, or a JPEG from elsewhere

    @property
    def image(self) -> Image.Image:
        if isinstance(self.seen, bytes):
            return Image.open(io.BytesIO(self.seen), formats=["JPEG"])
        picture = self.seen.picture
        return Image.frombytes("RGB", (picture.width, picture.height), picture.pixels)

    @property
    def jpeg(self) -> bytes:
        if isinstance(self.seen, bytes):
            return self.seen
        file = io.BytesIO()
        self.image.save(file, "JPEG", quality=_LOOK_QUALITY)
        return file.getvalue()


@dataclass(frozen=True)
class Stored:
    """Picture `index` is there."""

    index: int
    image: GeneratedImage


What = Queued | Progress | Look | Stored | Generation | Exception
_KINDS: dict[type, str] = {
    Queued: "queued", Progress: "step", Look: "preview", Stored: "image", Generation: "done"
}  # fmt: skip


@dataclass(frozen=True)
class Event:
    """Something happened. Numbers grow, but not all of them are there."""

    number: int
    what: What

    @property
    def kind(self) -> str:
        """queued, step, preview, image, and as the last one done or error."""
        return _KINDS.get(type(self.what), "error")

    @property
    def is_last(self) -> bool:
        return self.kind in ("done", "error")


class EventLog:
    """Written by the engine's and the generation's threads, read by any number of others.

    Of looks only the newest of each picture is kept, so that it stays small: at most a step for
    each of a request's steps, and a handful more.
    """

    def __init__(self, term: int = 0) -> None:
        """term: how many instances have had it before."""
        self._condition = threading.Condition()
        self._first = self._last = term * NUMBERS_PER_TERM + 1
        self._events: list[Event] = []
        self._is_open = False
        self._is_cut = False

    def open(self, queued: Queued) -> None:
        """There is a place for it. Until then nobody hears a thing, though steps may be made."""
        with self._condition:
            self._events.insert(0, Event(self._first, queued))
            self._is_open = True
            self._condition.notify_all()

    def add(self, what: What) -> None:
        """After the last event nothing follows."""
        with self._condition:
            if self._events and self._events[-1].is_last:
                return
            self._events = without_older_look(self._events, what)
            self._last += 1
            self._events.append(Event(self._last, what))
            self._condition.notify_all()

    def cut(self) -> None:
        """It goes on elsewhere: here nothing follows, and that is not its end."""
        with self._condition:
            self._is_cut = True
            self._condition.notify_all()

    def is_over(self, number: int) -> bool:
        """Whether nothing follows event `number`."""
        with self._condition:
            last = self._events[-1] if self._events else None
            return last is not None and last.is_last and last.number <= number

    def after(self, number: int, timeout_s: float) -> list[Event]:
        """Those past `number`; waits for one for up to `timeout_s`. Raises Draining once cut.

        Whoever says that he has heard of later ones than there are is told the last one.
        """
        until = time.monotonic() + timeout_s
        with self._condition:
            while True:
                found = [event for event in self._events if event.number > number]
                if number > self._last:
                    found = [event for event in self._events if event.is_last]
                if found and self._is_open:
                    return found
                if self._is_cut:
                    raise Draining("it goes on at another instance; ask again", retry_after_s=1)
                left_s = until - time.monotonic()
                if left_s <= 0:
                    return []
                self._condition.wait(left_s)


def without_older_look(events: list[Event], newest: What) -> list[Event]:
    """Where `newest` is a look at a picture, those before it are of no use any more."""
    if not isinstance(newest, Look):
        return events
    return [
        event
        for event in events
        if not (isinstance(event.what, Look) and event.what.index == newest.index)
    ]
