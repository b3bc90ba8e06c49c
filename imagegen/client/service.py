"""Service: what each call of a client asks for, and how its answers are read: as talks."""

from __future__ import annotations

import hashlib
import json
import random
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from pydantic import BaseModel, ValidationError

from imagegen.client.address import Address
from imagegen.client.answers import Brand, G, P, Page
from imagegen.client.listening import EVENT_STREAM, Listening
from imagegen.client.reading import Reader
from imagegen.client.refusals import refusal_of
from imagegen.client.retrying import Retries
from imagegen.client.talk import QUICK_S, Answer, Ask, Pause, Talk
from imagegen.errors import Busy, FieldError, InvalidRequest, ServiceUnreachable
from imagegen.generation import GeneratedImage
from imagegen.problems import ASK_AGAIN_S

PATIENCE_S = 60.0
SILENCE_S = 660.0  # longer than a service takes unless a request says so
_SLACK_S = 60.0  # beyond a request's own deadline: the service's own word comes first
_PICTURE_S = 120.0
_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.1, 2.0  # between two looks at a generation that is not ready

R = TypeVar("R")


def _ignore() -> None: ...


class Service(Generic[G, P]):
    """One service. Has no connection: a client runs its talks."""

    def __init__(
        self,
        address: Address,
        reader: Reader[G, P],
        *,
        silence_s: float,
        patience_s: float,
    ) -> None:
        """reader: what answers become.

        silence_s: how long an answer may take to begin. patience_s: how long "not now" is
        answered by asking again.
        """
        self._address = address
        self._reader: Reader[G, P] = reader
        self._silence_s = silence_s
        self._patience_s = patience_s

    def generate(
        self, body: Mapping[str, Any], key: str | None, on_refusal: Callable[[], None] = _ignore
    ) -> Talk[G]:
        """Pictures of `body`. The key makes asking again the same request, not a second one."""
        said_s = body.get("deadline_s")
        timeout_s = said_s + _SLACK_S if isinstance(said_s, int | float) else self._silence_s
        answer = yield from self._asked(_generate(body, key, timeout_s), on_refusal)
        return _read(self._reader.generation, answer)

    def listen(self, body: Mapping[str, Any], key: str | None) -> Listening[G, P]:
        """The same, told on its way; `connect` is run for each connection."""
        return Listening(_generate(body, key, 0), self._reader, self._patience_s)

    def connect(self, listening: Listening[G, P]) -> Talk[bool]:
        """Whether there is a stream to be read now; else nothing follows."""
        answer = yield from self._asked(listening.ask())
        if answer.status == 200 and not answer.headers.get("content-type", "").startswith(
            EVENT_STREAM
        ):
            raise _is_none_of_ours(answer)
        return answer.status == 200

    def submit(self, body: Mapping[str, Any], key: str | None) -> Talk[G]:
        """The same without waiting for the pictures."""
        ask = _generate(body, key, QUICK_S, {"Prefer": "respond-async"})
        return _read(self._reader.generation, (yield from self._asked(ask)))

    def generation(self, id_: str) -> Talk[G]:
        """A generation as it is now."""
        answer = yield from self._asked(Ask("GET", _path(id_)))
        return _read(self._reader.generation, answer)

    def wait(self, id_: str) -> Talk[G]:
        """A generation that has ended with pictures; raises the error that it ended with."""
        pause_s = _FIRST_LOOK_S
        while True:
            found = yield from self.generation(id_)
            if found.has_ended:
                return found.succeeded()
            yield Pause(pause_s * random.uniform(0.8, 1.2))  # noqa: S311
            pause_s = min(pause_s * 1.5, _LONGEST_LOOK_S)

    def cancel(self, id_: str) -> Talk[G]:
        """A generation that is over, or will be within one step."""
        answer = yield from self._asked(Ask("DELETE", _path(id_)))
        return _read(self._reader.generation, answer)

    def page(self, **query: object) -> Talk[Page[G]]:
        """Generations, newest first; of `query` goes what is not None."""
        said = {name: value for name, value in query.items() if value is not None}
        answer = yield from self._asked(Ask("GET", f"/generations?{urlencode(said)}"))
        return _read(self._reader.page, answer)

    def brands(self) -> Talk[tuple[Brand, ...]]:
        """What this caller may ask for."""
        answer = yield from self._asked(Ask("GET", "/brands"))
        return _read(_Brands.model_validate_json, answer).brands

    def capabilities(self) -> Talk[dict[str, Any]]:
        """Model, formats, schedulers and the JSON Schema of a request, as the service says them."""
        answer = yield from self._asked(Ask("GET", "/capabilities"))
        try:
            return dict(json.loads(answer.body))
        except (ValueError, TypeError):
            raise _is_none_of_ours(answer) from None

    def picture(self, image: GeneratedImage) -> Talk[bytes]:
        """The picture's file, as it was when it was stored."""
        answer = yield from self._asked(Ask("GET", image.url, timeout_s=_PICTURE_S))
        if hashlib.sha256(answer.body).hexdigest() != image.sha256:
            raise ServiceUnreachable(f"{answer.url} came damaged", ASK_AGAIN_S)
        return answer.body

    def _asked(self, ask: Ask, on_refusal: Callable[[], None] = _ignore) -> Talk[Answer]:
        """A good answer. Asks again for as long as that may help; raises ImagegenError."""
        retries = Retries(self._patience_s)
        while True:
            try:
                answer = yield from self._address.followed(ask)
            except ServiceUnreachable as error:
                wait_s = retries.wait_s(error, answered=False)
            else:
                if answer.status < 300:
                    return answer
                refusal = refusal_of(answer)
                if not isinstance(refusal, Busy):
                    raise refusal
                on_refusal()
                wait_s = retries.wait_s(refusal, answered=True)
            yield Pause(wait_s)


class _Brands(BaseModel):
    brands: tuple[Brand, ...]


def _generate(
    body: Mapping[str, Any],
    key: str | None,
    timeout_s: float,
    headers: Mapping[str, str] | None = None,
) -> Ask:
    if key is not None and not (key.isascii() and key.isprintable()):
        raise InvalidRequest(FieldError("idempotency_key", "must be of plain printable letters"))
    said = {
        "Content-Type": "application/json",
        "Idempotency-Key": secrets.token_hex(16) if key is None else key,
        **(headers or {}),
    }
    return Ask("POST", "/generate", said, json.dumps(body).encode(), timeout_s)


def _path(id_: str) -> str:
    return f"/generations/{quote(id_, safe='')}"


def _read(read: Callable[[bytes], R], answer: Answer) -> R:
    try:
        return read(answer.body)
    except ValidationError:
        raise _is_none_of_ours(answer) from None


def _is_none_of_ours(answer: Answer) -> ServiceUnreachable:
    return ServiceUnreachable(
        f"what answers at {answer.url} is no imagegen service; is a proxy in the way?", ASK_AGAIN_S
    )
