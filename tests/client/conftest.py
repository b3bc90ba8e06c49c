"""A scripted server, and both clients behind one face."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import is_dataclass
from typing import Any

import pytest
from pydantic import BaseModel
from scripted_server import ScriptedServer

from imagegen.client import AsyncClient, Client


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    made = ScriptedServer()
    yield made
    made.close()


class InALoop:
    """What an object with awaitable methods does, waited for."""

    def __init__(self, loop: asyncio.Runner, inside: Any) -> None:
        self._loop, self._inside = loop, inside

    def __getattr__(self, name: str) -> Any:
        there = getattr(self._inside, name)
        if name in ("batch", "stream"):
            return lambda *arguments, **named: self._told(there(*arguments, **named))
        if not callable(there):
            return self._wrapped(there)

        async def call(*arguments: Any, **named: Any) -> Any:
            return await there(*arguments, **named)

        return lambda *arguments, **named: self._wrapped(self._loop.run(call(*arguments, **named)))

    def _told(self, events: AsyncGenerator[Any, None]) -> Iterator[Any]:
        try:
            while True:
                try:
                    yield self._wrapped(self._loop.run(anext(events)))
                except StopAsyncIteration:
                    return
        finally:
            self._loop.run(events.aclose())

    def _wrapped(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(self._wrapped, value))
        ours = isinstance(value, BaseModel) or is_dataclass(value)
        return InALoop(self._loop, value) if ours else value


@pytest.fixture(params=["blocking", "asynchronous"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Makes a client of either kind; both are called without `await`."""
    made: list[Any] = []
    with asyncio.Runner() as loop:

        def make(url: str, **options: Any) -> Any:
            if request.param == "blocking":
                made.append(Client(url, **options))
            else:
                made.append(InALoop(loop, AsyncClient(url, **options)))
            return made[-1]

        yield make
        for client in made:
            client.close()
