"""RemoteImages: pictures from an imagegen service, over HTTP(S)."""

from __future__ import annotations

import hashlib
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from urllib.parse import urljoin, urlsplit

from pydantic import ValidationError

from imagegen import errors
from imagegen.batch.image_source import Delivery, unknown_brand
from imagegen.errors import FieldError, ImagegenError, InvalidRequest, ServiceUnreachable
from imagegen.generation import Generation, GenerationRequest
from imagegen.presets.formats import BUILT_IN_NAMES
from imagegen.problems import ASK_AGAIN_S, detail_of, failure_of, retry_after_s

_ANSWER_S = 660.0  # of silence, longer than a service takes unless a request says so


class RemoteImages:
    """A service at `url`; `connect` learns its brands, so that scripts are checked early."""

    def __init__(self, url: str, formats: Mapping[str, frozenset[str]]) -> None:
        self._url = url
        self._formats = formats  # of each brand

    @classmethod
    def connect(cls, url: str) -> RemoteImages:
        """Raises ServiceUnreachable where no imagegen service answers at `url`."""
        if not _is_address(url):
            raise ServiceUnreachable(f"{url!r} is no http(s) address", ASK_AGAIN_S)
        try:
            there, body = _call(f"{url.rstrip('/')}/brands", 60)
        except errors.RenderFailed as error:
            raise ServiceUnreachable(
                f"no imagegen service answers at {url}: {error.detail}", ASK_AGAIN_S
            ) from None
        try:
            brands = {
                brand["id"]: frozenset(brand["formats"]) for brand in json.loads(body)["brands"]
            }
        except (ValueError, KeyError, TypeError):
            raise ServiceUnreachable(
                f"what answers at {url} is no imagegen service", ASK_AGAIN_S
            ) from None
        # After a redirect, such as from http to https: a redirected POST would become a GET.
        return cls(there.removesuffix("/brands"), brands)

    def check(self, request: GenerationRequest) -> None:
        """Raises CallerError for what the service is sure to refuse; limits only it knows."""
        formats = self._formats.get(request.brand)
        if formats is None:
            raise unknown_brand(request.brand, self._formats)
        # While its model loads, a service does not tell the built-in formats.
        formats |= frozenset(BUILT_IN_NAMES)
        if request.format is not None and request.format not in formats:
            known = ", ".join(sorted(formats))
            raise InvalidRequest(
                FieldError("format", f"no format {request.format!r}; there are {known}")
            )

    def generate(self, request: GenerationRequest, wanted: Callable[[], bool]) -> Delivery:
        """As ImageSource says; an abandoned request is answered to nobody."""
        body = request.model_dump_json(exclude_defaults=True).encode()
        timeout_s = _ANSWER_S if request.deadline_s is None else request.deadline_s + 60
        _, answer = _call(f"{self._url}/generate", timeout_s, body)
        try:
            generation = Generation.model_validate_json(answer)
        except ValidationError:
            raise ServiceUnreachable(
                "the answer is no generation; is a proxy in the way?", ASK_AGAIN_S
            ) from None
        return Delivery(
            generation,
            tuple(self._picture(image.url, image.sha256) for image in generation.images),
        )

    def _picture(self, link: str, sha256: str) -> bytes:
        url = urljoin(f"{self._url}/", link)
        if not _is_address(url):
            raise errors.RenderFailed(f"the service's link {url!r} is no http(s) address")
        _, data = _call(url, 120)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ServiceUnreachable(f"{url} came damaged", ASK_AGAIN_S)
        return data


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def _call(url: str, timeout_s: float, body: bytes | None = None) -> tuple[str, bytes]:
    """The address that answered in the end, and its answer. Raises ImagegenError."""
    headers = {"User-Agent": "imagegen"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    try:
        request = urllib.request.Request(url, body, headers)  # noqa: S310 - callers check the scheme
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
            return answer.url, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            raise _failure(error) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        host = urlsplit(url).netloc
        raise ServiceUnreachable(f"cannot reach {host}: {reason}", ASK_AGAIN_S) from None


def _failure(answer: urllib.error.HTTPError) -> ImagegenError:
    """The service's own error again, from its problem+json; or what a proxy's status means."""
    body, retry_after = _body(answer), answer.headers.get("Retry-After")
    failure = failure_of(body, retry_after)
    if failure is not None:
        return failure
    said = detail_of(body)
    if not said and answer.code in (401, 403):
        return errors.RenderFailed(
            f"HTTP {answer.code}: it wants to know who asks. On Cloud Run, run `gcloud run services"
            " proxy SERVICE` and give the address that it prints as --url"
        )
    if not said and answer.code in (429, 502, 503, 504):
        return ServiceUnreachable(
            f"HTTP {answer.code} from {answer.url}", retry_after_s(retry_after)
        )
    return errors.RenderFailed(f"HTTP {answer.code} {said or answer.reason}")


def _body(answer: urllib.error.HTTPError) -> bytes:
    try:
        return answer.read(65_536)
    except (OSError, http.client.HTTPException):
        return b""
