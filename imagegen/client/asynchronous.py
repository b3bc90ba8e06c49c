"""AsyncClient: a service asked from an event loop of asyncio."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Unpack

import httpx2

from imagegen.client.address import Address, IdToken
from imagegen.client.answers import FETCH, AsyncPictures, Brand
from imagegen.client.connection import FAULTS, LIMITS, answer_of, timeouts, unreachable
from imagegen.client.request import RequestFields, body_of
from imagegen.client.service import PATIENCE_S, SILENCE_S, Service
from imagegen.client.talk import Answer, Ask, Conversation, Pause, T, Talk
from imagegen.generation import GeneratedImage


class AsyncClient:
    """As Client, with `async with` and `await`; for one event loop."""

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
        self._http = httpx2.AsyncClient(limits=LIMITS)
        self._service = Service(
            Address(url, api_key, id_token),
            lambda body: AsyncPictures.model_validate_json(body, context={FETCH: self._picture}),
            silence_s=timeout_s,
            patience_s=patience_s,
        )

    async def generate(
        self, *, idempotency_key: str | None = None, **fields: Unpack[RequestFields]
    ) -> AsyncPictures:
        """Asks for pictures and waits for them.

        As Client.generate; the file comes with `await generation.images[0].save()`.
        """
        return await self._run(self._service.generate(body_of(fields), idempotency_key))

    async def brands(self) -> list[Brand]:
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

    async def _picture(self, image: GeneratedImage) -> bytes:
        return await self._run(self._service.picture(image))

    async def _run(self, talk: Talk[T]) -> T:
        """Runs a talk to its end on this thread."""
        conversation = Conversation(talk)
        while (step := conversation.step) is not None:
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                conversation.hear()
                continue
            try:
                answer = await self._answer(step)
            except FAULTS as error:
                conversation.fail(unreachable(step.url, error))
            else:
                conversation.hear(answer)
        return conversation.result

    async def _answer(self, ask: Ask) -> Answer:
        return answer_of(
            await self._http.request(
                ask.method,
                ask.url,
                content=ask.body,
                headers=ask.headers,
                timeout=timeouts(ask.timeout_s),
            )
        )
