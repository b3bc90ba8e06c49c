"""Service: what each call of a client asks for, and how its answers are read: as talks."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from imagegen.client.address import Address
from imagegen.client.answers import Brand
from imagegen.client.refusals import refusal_of
from imagegen.client.retrying import Retries
from imagegen.client.talk import Answer, Ask, Pause, Talk
from imagegen.errors import Busy, ServiceUnreachable
from imagegen.generation import GeneratedImage, Generation
from imagegen.problems import ASK_AGAIN_S

PATIENCE_S = 60.0
SILENCE_S = 660.0  # longer than a service takes unless a request says so
_SLACK_S = 60.0  # beyond a request's own deadline: the service's own word comes first
_QUICK_S = 60.0  # of silence, where nothing is rendered
_PICTURE_S = 120.0

G = TypeVar("G", bound=Generation)


class Service(Generic[G]):
    """One service. Has no connection: a client runs its talks."""

    def __init__(
        self, address: Address, read: Callable[[bytes], G], *, silence_s: float, patience_s: float
    ) -> None:
        """read: a body as a generation; raises ValidationError.

        silence_s: how long an answer may take to begin. patience_s: how long "not now" is
        answered by asking again.
        """
        self._address = address
        self._read = read
        self._silence_s = silence_s
        self._patience_s = patience_s

    def generate(self, body: Mapping[str, Any], key: str | None) -> Talk[G]:
        """Pictures of `body`. The key makes asking again the same request, not a second one."""
        said_s = body.get("deadline_s")
        ask = Ask(
            "POST",
            "/generate",
            {
                "Content-Type": "application/json",
                "Idempotency-Key": secrets.token_hex(16) if key is None else key,
            },
            json.dumps(body).encode(),
            said_s + _SLACK_S if isinstance(said_s, int | float) else self._silence_s,
        )
        return self._generation((yield from self._asked(ask)))

    def brands(self) -> Talk[list[Brand]]:
        """What this caller may ask for."""
        answer = yield from self._get("/brands")
        try:
            return [Brand.model_validate(brand) for brand in json.loads(answer.body)["brands"]]
        except (ValueError, KeyError, TypeError):
            raise _is_none_of_ours(answer) from None

    def capabilities(self) -> Talk[dict[str, Any]]:
        """Model, formats, schedulers and the JSON Schema of a request, as the service says them."""
        answer = yield from self._get("/capabilities")
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

    def _generation(self, answer: Answer) -> G:
        try:
            return self._read(answer.body)
        except ValidationError:
            raise ServiceUnreachable(
                "the answer is no generation; is a proxy in the way?", ASK_AGAIN_S
            ) from None

    def _get(self, path: str) -> Talk[Answer]:
        return self._asked(Ask("GET", path, timeout_s=_QUICK_S))

    def _asked(self, ask: Ask) -> Talk[Answer]:
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
                wait_s = retries.wait_s(refusal, answered=True)
            yield Pause(wait_s)


def _is_none_of_ours(answer: Answer) -> ServiceUnreachable:
    return ServiceUnreachable(f"what answers at {answer.url} is no imagegen service", ASK_AGAIN_S)
