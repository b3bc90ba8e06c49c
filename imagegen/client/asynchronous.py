"""AsyncClient: a service asked from an event loop of asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from itertools import islice
from types import TracebackType
from typing import Any, Unpack

import httpx2

from imagegen.client.address import Address, IdToken
from imagegen.client.answers import AsyncPicture, AsyncPictures, Brand, Ended, Page
from imagegen.client.connection import (
    FAULTS,
    LIMITS,
    Kept,
    answer_of,
    is_stream,
    request_of,
    unreachable,
)
from imagegen.client.events import AsyncEvent, Done
from imagegen.client.pace import Pace
from imagegen.client.reading import Reader
from imagegen.client.request import RequestFields, body_of
from imagegen.client.service import PATIENCE_S, SILENCE_S, Service
from imagegen.client.talk import Answer, Ask, Conversation, Pause, T, Talk
from imagegen.generation import GeneratedImage


class AsyncClient:
    """As Client, with `async with`, `await` and `async for`; for one event loop."""

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        id_token: IdToken | None = None,
        timeout_s: float = SILENCE_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """As Client's."""
        self.url = url
        self._http = httpx2.AsyncClient(limits=LIMITS)
        self._service = Service(
            Address(url, api_key, id_token),
            Reader((AsyncPictures, Page[AsyncPictures], AsyncPicture), self._picture),
            silence_s=timeout_s,
            patience_s=patience_s,
        )

    async def generate(
        self, *, idempotency_key: str | None = None, **fields: Unpack[RequestFields]
    ) -> AsyncPictures:
        """As Client.generate; a file comes with `await generation.images[0].save()`."""
        return await self._run(self._service.generate(body_of(fields), idempotency_key))

    async def stream(
        self, *, idempotency_key: str | None = None, **fields: Unpack[RequestFields]
    ) -> AsyncIterator[AsyncEvent]:
        """As Client.stream: what happens on the way to the pictures."""
        listening = self._service.listen(body_of(fields), idempotency_key)
        while not listening.has_ended:
            kept: Kept = []
            if not await self._run(self._service.connect(listening), kept):
                yield Done(await self.wait(listening.id or ""))
                return
            error: Exception | None = None
            async with aclosing(kept[0]) as response:
                try:
                    async for message in httpx2.EventSource(response):
                        event = listening.hear(message.event, message.data, message.id)
                        if event is not None:
                            yield event
                except FAULTS as broken:
                    error = broken
            if not listening.has_ended:
                await asyncio.sleep(listening.wait_s(error))

    async def submit(
        self, *, idempotency_key: str | None = None, **fields: Unpack[RequestFields]
    ) -> AsyncPictures:
        """Asks for pictures and returns at once, with the `.id` by which to wait for them."""
        return await self._run(self._service.submit(body_of(fields), idempotency_key))

    async def wait(self, id: str) -> AsyncPictures:
        """Waits until it has ended. Raises what it ended with, if that is not pictures."""
        return await self._run(self._service.wait(id))

    async def get(self, id: str) -> AsyncPictures:
        """A generation as it is now, whatever its `.status`."""
        return await self._run(self._service.generation(id))

    async def cancel(self, id: str) -> AsyncPictures:
        """Ends a generation; raises NotCancellable where it has ended before."""
        return await self._run(self._service.cancel(id))

    async def list(
        self,
        *,
        brand: str | None = None,
        campaign: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[AsyncPictures]:
        """Your own, newest first: at most `limit`, from an earlier page's `cursor` on."""
        query = {"brand": brand, "campaign": campaign, "limit": limit, "cursor": cursor}
        return await self._run(self._service.page(**query))

    async def batch(
        self, requests: Iterable[Mapping[str, Any]], *, concurrency: int | None = None
    ) -> AsyncIterator[Ended[AsyncPictures]]:
        """As Client.batch: many requests, several at a time; each is told as it ends."""
        pace, numbered = Pace(concurrency), enumerate(requests)
        under_way: dict[asyncio.Task[AsyncPictures], tuple[int, Mapping[str, Any]]] = {}
        try:
            while True:
                for one in islice(numbered, max(0, pace.limit - len(under_way))):
                    under_way[asyncio.create_task(self._one_of_many(pace, one[1]))] = one
                if not under_way:
                    return
                done, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    index, fields = under_way.pop(task)
                    outcome = _outcome_of(task)
                    pace.learn(outcome)
                    yield Ended[AsyncPictures].of(index, fields, outcome)
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def brands(self) -> tuple[Brand, ...]:
        """The brands that may be asked for."""
        return await self._run(self._service.brands())

    async def capabilities(self) -> dict[str, Any]:
        """What the service can do: model, formats, schedulers, the JSON Schema of a request."""
        return await self._run(self._service.capabilities())

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _one_of_many(self, pace: Pace, fields: Mapping[str, Any]) -> AsyncPictures:
        return await self._run(self._service.generate(body_of(fields), None, pace.refused))

    async def _picture(self, image: GeneratedImage) -> bytes:
        return await self._run(self._service.picture(image))

    async def _run(self, talk: Talk[T], kept: Kept | None = None) -> T:
        """Runs a talk to its end. kept: gets the response whose events to read."""
        conversation = Conversation(talk)
        while (step := conversation.step) is not None:
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                conversation.hear()
                continue
            try:
                answer = await self._answer(step, kept)
            except FAULTS as error:
                conversation.fail(unreachable(step.url, error))
            else:
                conversation.hear(answer)
        return conversation.result

    async def _answer(self, ask: Ask, kept: Kept | None) -> Answer:
        response = await self._http.send(request_of(self._http, ask), stream=True)
        if kept is not None and is_stream(ask, response):
            kept.append(response)
            return answer_of(response, b"")
        async with aclosing(response):
            return answer_of(response, await response.aread())


def _outcome_of(task: asyncio.Task[AsyncPictures]) -> AsyncPictures | Exception:
    error = task.exception()
    if error is None:
        return task.result()
    if not isinstance(error, Exception):
        raise error
    return error
