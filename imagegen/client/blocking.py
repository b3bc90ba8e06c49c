"""Client: a service asked from ordinary code; may be shared by threads."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from functools import partial
from itertools import islice
from types import TracebackType
from typing import Any, Unpack

import httpx2

from imagegen.client.address import Address, IdToken
from imagegen.client.answers import Brand, Ended, Page, Picture, Pictures
from imagegen.client.connection import (
    FAULTS,
    LIMITS,
    Kept,
    answer_of,
    is_stream,
    request_of,
    unreachable,
)
from imagegen.client.crew import Crew
from imagegen.client.events import Done, Event
from imagegen.client.pace import Pace
from imagegen.client.reading import Reader
from imagegen.client.request import RequestFields, body_of
from imagegen.client.service import PATIENCE_S, SILENCE_S, Service
from imagegen.client.talk import Answer, Ask, Conversation, Pause, T, Talk
from imagegen.generation import GeneratedImage


class Client:
    """Asks one service. Use it in a `with` block, or close it.

    Every call asks again while the service says "not now" (`patience_s`), and a request that is
    repeated is never paid twice. Failures are raised as the classes of `imagegen.errors`.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        id_token: IdToken | None = None,
        timeout_s: float = SILENCE_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """url: the service's. api_key: as `imagegen keys create` printed it.

        id_token: Google's, or what gives one, for a service on Cloud Run that lets only invokers
        in. timeout_s: of silence, for requests without a `deadline_s`. patience_s: how long a call
        asks again while it is told "not now"; 0 for never.
        """
        self.url = url
        self._http = httpx2.Client(limits=LIMITS)
        self._service = Service(
            Address(url, api_key, id_token),
            Reader((Pictures, Page[Pictures], Picture), self._picture),
            silence_s=timeout_s,
            patience_s=patience_s,
        )

    def generate(
        self, *, idempotency_key: str | None = None, **fields: Unpack[RequestFields]
    ) -> Pictures:
        """Asks for pictures and waits for them; `.images[0].save()` fetches the first one's file.

        idempotency_key: the same key and fields give the same generation; by default every call
        has a key of its own, so only its own retries do. Raises ImagegenError.
        """
        return self._run(self._service.generate(body_of(fields), idempotency_key))

    def stream(
        self, *, idempotency_key: str | None = None, **fields: Unpack[RequestFields]
    ) -> Iterator[Event]:
        """Asks for pictures and tells what happens: queued, step, preview, image, done.

        Connects again where the connection breaks. Raises the ImagegenError that it ends with.
        """
        listening = self._service.listen(body_of(fields), idempotency_key)
        while not listening.has_ended:
            kept: Kept = []
            if not self._run(self._service.connect(listening), kept):
                yield Done(self.wait(listening.id or ""))
                return
            error: Exception | None = None
            with closing(kept[0]) as response:
                try:
                    for message in httpx2.EventSource(response):
                        event = listening.hear(message.event, message.data, message.id)
                        if event is not None:
                            yield event
                except FAULTS as broken:
                    error = broken
            if not listening.has_ended:
                time.sleep(listening.wait_s(error))

    def submit(
        self, *, idempotency_key: str | None = None, **fields: Unpack[RequestFields]
    ) -> Pictures:
        """Asks for pictures and returns at once, with the `.id` by which to wait for them."""
        return self._run(self._service.submit(body_of(fields), idempotency_key))

    def wait(self, id: str) -> Pictures:
        """Waits until it has ended. Raises what it ended with, if that is not pictures."""
        return self._run(self._service.wait(id))

    def get(self, id: str) -> Pictures:
        """A generation as it is now, whatever its `.status`."""
        return self._run(self._service.generation(id))

    def cancel(self, id: str) -> Pictures:
        """Ends a generation; raises NotCancellable where it has ended before."""
        return self._run(self._service.cancel(id))

    def list(
        self,
        *,
        brand: str | None = None,
        campaign: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[Pictures]:
        """Your own, newest first: at most `limit`, from an earlier page's `cursor` on."""
        query = {"brand": brand, "campaign": campaign, "limit": limit, "cursor": cursor}
        return self._run(self._service.page(**query))

    def batch(
        self, requests: Iterable[Mapping[str, Any]], *, concurrency: int | None = None
    ) -> Iterator[Ended[Pictures]]:
        """Many requests, several at a time; each is told as it ends, with pictures or an error.

        requests: their fields; taken from an iterator as they are needed. concurrency: by default
        as many as keep the engine busy, learned from the answers.
        """
        pace, numbered = Pace(concurrency), enumerate(requests)
        crew = Crew(partial(self._one_of_many, pace))
        try:
            while True:
                for one in islice(numbered, max(0, pace.limit - crew.under_way)):
                    crew.give(one)
                if not crew.under_way:
                    return
                for (index, fields), outcome in crew.take(None):
                    pace.learn(outcome)
                    yield Ended[Pictures].of(index, fields, outcome)
        finally:
            crew.dismiss()

    def brands(self) -> tuple[Brand, ...]:
        """The brands that may be asked for."""
        return self._run(self._service.brands())

    def capabilities(self) -> dict[str, Any]:
        """What the service can do: model, formats, schedulers, the JSON Schema of a request."""
        return self._run(self._service.capabilities())

    def close(self) -> None:
        """Closes the connections; whoever still waits on another thread gets an error."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _one_of_many(self, pace: Pace, one: tuple[int, Mapping[str, Any]]) -> Pictures:
        return self._run(self._service.generate(body_of(one[1]), None, pace.refused))

    def _picture(self, image: GeneratedImage) -> bytes:
        return self._run(self._service.picture(image))

    def _run(self, talk: Talk[T], kept: Kept | None = None) -> T:
        """Runs a talk to its end on this thread. kept: gets the response whose events to read."""
        conversation = Conversation(talk)
        while (step := conversation.step) is not None:
            if isinstance(step, Pause):
                time.sleep(step.seconds)
                conversation.hear()
                continue
            try:
                answer = self._answer(step, kept)
            except FAULTS as error:
                conversation.fail(unreachable(step.url, error))
            else:
                conversation.hear(answer)
        return conversation.result

    def _answer(self, ask: Ask, kept: Kept | None) -> Answer:
        response = self._http.send(request_of(self._http, ask), stream=True)
        if kept is not None and is_stream(ask, response):
            kept.append(response)
            return answer_of(response, b"")
        with closing(response):
            return answer_of(response, response.read())
