"""RemoteImages: pictures from an imagegen service, over HTTP(S)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from imagegen.batch.image_source import Delivery, unknown_brand
from imagegen.client import Client
from imagegen.client.address import IdToken
from imagegen.client.answers import Brand
from imagegen.client.request import PICTURES
from imagegen.errors import (
    FieldError,
    InvalidRequest,
    RenderFailed,
    ServiceUnreachable,
    Unauthenticated,
)
from imagegen.generation import Generation, GenerationRequest
from imagegen.presets.formats import BUILT_IN_NAMES
from imagegen.problems import ASK_AGAIN_S


class RemoteImages:
    """A service; `connect` learns its brands, so that scripts are checked early."""

    def __init__(self, client: Client, brands: Iterable[Brand]) -> None:
        self._client = client
        self._brands = {brand.id: brand for brand in brands}

    @classmethod
    def connect(
        cls, url: str, api_key: str | None = None, id_token: IdToken | None = None
    ) -> RemoteImages:
        """Raises ServiceUnreachable where no imagegen service answers at `url`."""
        # No patience: whoever asks for pictures waits himself, and tells of it.
        client = Client(url, api_key, id_token=id_token, patience_s=0)
        try:
            brands = client.brands()
        except Unauthenticated as error:
            raise Unauthenticated(f"{url}: {error}; IMAGEGEN_API_KEY can hold a key") from None
        except RenderFailed as error:
            raise ServiceUnreachable(
                f"no imagegen service answers at {url}: {error.detail}", ASK_AGAIN_S
            ) from None
        return cls(client, brands)

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
        answered = self._client.generate(idempotency_key=key, **fields)
        pictures = tuple(image.bytes() for image in answered.images)
        return Delivery(Generation.model_validate(answered.model_dump()), pictures)
