"""EventLine: a generation's events as they come from the renderer, read on a thread of its own."""

from __future__ import annotations

import base64
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

from imagegen.engine.process import Progress
from imagegen.errors import Draining, ImagegenError, RenderFailed, ServiceUnreachable
from imagegen.front.line import Answer, Call, read_answer
from imagegen.generation import GeneratedImage, Generation
from imagegen.generations.events import Event, Look, Queued, Stored, What, without_older_look
from imagegen.generations.running import EventsOfHeard
from imagegen.problems import ASK_AGAIN_S, failure_told

SILENCE_S = 30.0  # three heartbeats
_TICK_S = 0.15

Linked = Callable[[GeneratedImage], GeneratedImage]


class EventLine(EventsOfHeard):
    """Numbers are the renderer's own: whoever was cut off goes on wherever he asks."""

    def __init__(
        self, call: Call, linked: Linked, is_over: Callable[[], bool], left: Callable[[], None]
    ) -> None:
        """linked: a picture with a link that leads through here. is_over: this instance must end.
        left: called once nobody listens.
        """
        self._call = call
        self._linked = linked
        self._is_over = is_over
        self._left: Callable[[], None] | None = left
        self._condition = threading.Condition()  # guards what follows
        self._answer: Answer | None = None  # what came in place of events
        self._opened = False
        self._events: list[Event] = []
        self._fault: ImagegenError | None = None  # why nothing more comes

    def open(self, failure: Callable[[Answer], ImagegenError]) -> None:
        """Waits for the renderer to begin. Raises what it answers instead."""
        threading.Thread(target=self._read, name="events", daemon=True).start()
        with self._condition:
            while not (self._opened or self._answer or self._fault):
                self._condition.wait(_TICK_S)
                if self._is_over():
                    raise _draining()
        if self._answer is not None:
            raise failure(self._answer)
        if self._fault is not None and not self._events:
            raise self._fault

    def heard(self, after: int, timeout_s: float) -> list[Event]:
        """Raises Draining or ServiceUnreachable where the line ended before the generation."""
        with self._condition:
            found = self._past(after)
            if not found and self._fault is None:
                self._condition.wait(timeout_s)
                found = self._past(after)
        if not found and self._is_over():
            raise _draining()
        if not found and self._fault is not None:
            raise self._fault
        return found

    def is_over(self, after: int) -> bool:
        """Whether nothing follows event `after`."""
        with self._condition:
            last = self._events[-1] if self._events else None
            return last is not None and last.is_last and last.number <= after

    def leave(self) -> None:
        """The connection is closed: the renderer sees that nobody listens."""
        left, self._left = self._left, None
        if left is not None:
            left()

    def _past(self, number: int) -> list[Event]:
        return [event for event in self._events if event.number > number]

    def _read(self) -> None:
        try:
            with self._call.opened() as response:
                if response.status != 200:
                    self._tell(answer=read_answer(response))
                    return
                self._call.expect_within(SILENCE_S)
                self._tell()
                for event in _events(response, self._linked):
                    self._tell(event=event)
                    if event.is_last:
                        return
            fault: ImagegenError = Draining("the renderer goes on elsewhere; ask again", 1.0)
        except ImagegenError as error:
            fault = error
        except (KeyError, TypeError, ValueError):
            fault = ServiceUnreachable("what the renderer sends are no events", ASK_AGAIN_S)
        self._tell(fault=fault)

    def _tell(
        self,
        *,
        answer: Answer | None = None,
        event: Event | None = None,
        fault: ImagegenError | None = None,
    ) -> None:
        with self._condition:
            self._opened = True
            self._answer, self._fault = answer, fault
            if event is not None:
                self._events = without_older_look(self._events, event.what)
                self._events.append(event)
            self._condition.notify_all()


def _draining() -> Draining:
    return Draining("this instance is shutting down; ask again", retry_after_s=1)


def _events(response: http.client.HTTPResponse, linked: Linked) -> Iterator[Event]:
    """https://html.spec.whatwg.org/multipage/server-sent-events.html, as far as we send it."""
    fields: dict[str, str] = {}
    for line in response:
        text = line.decode().rstrip("\r\n")
        if text:
            name, _, value = text.partition(":")
            fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            said = json.loads(fields["data"])
            yield Event(int(fields["id"]), _what(fields.get("event", ""), said, linked))
            fields = {}


def _what(kind: str, said: dict[str, Any], linked: Linked) -> What:
    match kind:
        case "queued":
            return Queued(said["id"], said["queue_position"])
        case "step":
            return Progress(said["index"], said["step"], said["of"], said["eta_s"])
        case "preview":
            return Look(said["index"], base64.b64decode(said["image"]))
        case "image":
            return Stored(said["index"], linked(GeneratedImage.model_validate(said)))
        case "done":
            generation = Generation.model_validate(said)
            images = tuple(linked(image) for image in generation.images)
            return generation.model_copy(update={"images": images})
    return failure_told(said, None) or RenderFailed(str(said.get("detail", "")))
