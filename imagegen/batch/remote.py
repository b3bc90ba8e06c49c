"""RemoteImages: pictures from an imagegen service, over HTTP(S)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from imagegen.batch.image_source import Delivery, unknown_brand
from imagegen.client import Client
from imagegen.client.answers import Brand, Pictures
from imagegen.client.events import Done, Step
from imagegen.client.request import PICTURES
from imagegen.engine.process import OnEvent, Progress
from imagegen.errors import (
    Busy,
    FieldError,
    InvalidRequest,
    ModelFailed,
    ModelLoading,
    RenderFailed,
    ServiceUnreachable,
    StorageUnavailable,
    Unauthenticated,
)
from imagegen.generation import Generation, GenerationRequest
from imagegen.presets.formats import BUILT_IN_NAMES
from imagegen.problems import ASK_AGAIN_S

# What may be said of a service that has trouble, and of a generation that ended with it.
_ENDS = (ModelFailed, ModelLoading, StorageUnavailable)


class RemoteImages:
    """A service; `connect` learns its brands, so that scripts are checked early."""

    def __init__(
        self, client: Client, brands: Iterable[Brand], on_event: OnEvent | None = None
    ) -> None:
        """on_event: hears of every step, on the thread that asks."""
        self._client = client
        self._on_event = on_event
        self._brands = {brand.id: brand for brand in brands}

    @classmethod
    def connect(cls, client: Client, on_event: OnEvent | None = None) -> RemoteImages:
        """Raises ServiceUnreachable where no imagegen service answers."""
        try:
            brands = client.brands()
        except Unauthenticated as error:
            raise Unauthenticated(
                f"{client.url}: {error}; IMAGEGEN_API_KEY can hold a key"
            ) from None
        except RenderFailed as error:
            raise ServiceUnreachable(
                f"no imagegen service answers at {client.url}: {error.detail}", ASK_AGAIN_S
            ) from None
        return cls(client, brands, on_event)

    def check(self, request: GenerationRequest) -> None:
        """Raises CallerError for what the service is sure to refuse; limits only it knows."""
        # While its model loads, a service does not tell the built-in formats.
        formats = {*self._brand(request.brand).formats, *BUILT_IN_NAMES}
        if request.format is not None and request.format not in formats:
            known = ", ".join(sorted(formats))
            raise InvalidRequest(
                FieldError("format", f"no format {request.format!r}; there are {known}")
            )

    def steps_of(self, brand: str) -> int:
        """The steps that a picture of the brand takes where nobody says how many."""
        return int(self._brand(brand).defaults["num_inference_steps"])

    def _brand(self, name: str) -> Brand:
        if name not in self._brands:
            raise unknown_brand(name, self._brands)
        return self._brands[name]

    def measured(self) -> Iterator[Generation]:
        """The caller's latest generations, newest first."""
        return iter(self._client.list(limit=100).generations)

    def generate(
        self, request: GenerationRequest, key: str | None, wanted: Callable[[], bool]
    ) -> Delivery:
        """As ImageSource says; an abandoned request is answered to nobody."""
        sent = {name: getattr(request, name) for name in PICTURES}
        fields = request.model_dump(mode="json", exclude_defaults=True, exclude=set(PICTURES))
        fields |= {name: picture.data for name, picture in sent.items() if picture is not None}
        answered = self._asked(fields, key)
        pictures = tuple(image.bytes() for image in answered.images)
        return Delivery(Generation.model_validate(answered.model_dump()), pictures)

    def _asked(self, fields: Any, key: str | None) -> Pictures:
        if self._on_event is None:
            try:
                return self._client.generate(idempotency_key=key, **fields)
            except _ENDS as error:
                self._look_whether_it_ended(error, fields, key)
                raise
        for event in self._client.stream(idempotency_key=key, **fields):
            if isinstance(event, Step):
                self._on_event(Progress(event.index, event.step, event.of, event.eta_s))
            if isinstance(event, Done):
                return event.generation
        raise RenderFailed("the service told no end")  # a stream ends with one, or raises

    def _look_whether_it_ended(self, error: Busy, fields: Any, key: str | None) -> None:
        """Raises RenderFailed where `error` is what the generation ended with, after many tries.

        Under its key it would say so for ever, and the row would wait for ever.
        """
        known = self._client.submit(idempotency_key=key, **fields)
        if known.status == "failed":
            raise RenderFailed(f"{error.code}: {error.detail} ({known.id})") from error
