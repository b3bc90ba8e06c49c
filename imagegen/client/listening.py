"""Listening: a generation followed by its events, over as many connections as it takes."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Generic

from imagegen.client.answers import G, P
from imagegen.client.events import Done, Preview, Queued, Step, Stored
from imagegen.client.reading import Reader
from imagegen.client.retrying import Retries
from imagegen.client.talk import Ask
from imagegen.errors import RenderFailed, ServiceUnreachable
from imagegen.problems import ASK_AGAIN_S, failure_told

_KINDS = ("queued", "step", "preview", "image", "done", "error")
EVENT_STREAM = "text/event-stream"
_SILENCE_S = 120.0  # services say something every ten seconds, but for the time a model loads in


class Listening(Generic[G, P]):
    """What to ask next, and what is heard. Plain data: a client holds the connections."""

    def __init__(self, ask: Ask, reader: Reader[G, P], patience_s: float) -> None:
        """ask: how the generation is begun; under a key, so that it is begun once only."""
        self._ask = ask
        self._reader: Reader[G, P] = reader
        self._patience_s = patience_s
        self._retries = Retries(patience_s)
        self._last_id = ""
        self.id: str | None = None  # the generation's, once it is known
        self.has_ended = False

    def ask(self) -> Ask:
        """For the stream's beginning, later for what comes after the last event that was heard."""
        accepts = {"Accept": EVENT_STREAM}
        if self.id is None:
            headers = {**self._ask.headers, **accepts}
            return Ask("POST", self._ask.url, headers, self._ask.body, _SILENCE_S, streams=True)
        headers = accepts | {"Last-Event-ID": self._last_id}
        return Ask("GET", f"/generations/{self.id}/events", headers, None, _SILENCE_S, streams=True)

    def hear(
        self, kind: str, text: str, id_: str
    ) -> Queued | Step | Preview | Stored[P] | Done[G] | None:
        """The event that a message tells; None for what this client does not know.

        Raises the ImagegenError that the generation ended with.
        """
        try:
            event = self._event(kind, json.loads(text)) if kind in _KINDS else None
        except (ValueError, KeyError, TypeError):
            raise ServiceUnreachable(f"the event {kind!r} cannot be read", ASK_AGAIN_S) from None
        self._last_id = id_ or self._last_id
        self._retries = Retries(self._patience_s)
        return event

    def wait_s(self, error: Exception | None) -> float:
        """Seconds until it is worth connecting again; raises what ends it.

        error: what broke the connection; None where the service closed it, as it does when the
        generation goes on at another instance.
        """
        what = "the stream of events ended early" if error is None else str(error)
        refusal = ServiceUnreachable(what or type(error).__name__, ASK_AGAIN_S)
        return self._retries.wait_s(refusal, answered=False)

    def _event(
        self, kind: str, data: Mapping[str, Any]
    ) -> Queued | Step | Preview | Stored[P] | Done[G] | None:
        match kind:
            case "queued":
                self.id = str(data["id"])
                return Queued(self.id, data.get("queue_position"))
            case "step":
                return Step(data["index"], data["step"], data["of"], data.get("eta_s"))
            case "preview":
                return Preview(data["index"], base64.b64decode(data["image"]))
            case "image":
                return Stored(data["index"], self._reader.picture(data))
            case "done":
                self.has_ended = True
                return Done(self._reader.generation(data))
            case "error":
                self.has_ended = True
                failed = RenderFailed(str(data.get("detail")))
                raise failure_told(data, None) or failed
        return None
