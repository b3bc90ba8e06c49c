"""CloudStorage: objects in a Cloud Storage bucket. The only importer of google.cloud."""

from __future__ import annotations

import base64
import contextlib
import functools
import re
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import google.auth
import google.auth.transport.requests
import google_crc32c
from google.api_core import exceptions as api_exceptions
from google.auth import iam
from google.auth.credentials import Signing
from google.auth.exceptions import GoogleAuthError
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY
from requests.adapters import HTTPAdapter

from imagegen.errors import InvalidSettings, ObjectExists, StorageUnavailable
from imagegen.storage import StoredObject
from imagegen.storage.paths import check_content_type, check_path, content_type_of
from imagegen.tracing import TRACEPARENT, current_trace

_URL = re.compile(r"gs://([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(?:/(.*))?")
_UNREACHABLE = (
    api_exceptions.GoogleAPIError,
    GoogleAuthError,
    InvalidResponse,
    DataCorruption,
    OSError,  # requests' own errors are of this kind
)
REFUSED = (api_exceptions.NotFound, api_exceptions.Forbidden, api_exceptions.Unauthorized)
_CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
_UPLOAD = "imagegen-upload"  # metadata: which call of `create` made the object
_CONNECTIONS = 64  # kept open; urllib3 warns in the log about each one beyond its default of 10
_DOWNLOADS = 8  # at once


class CloudStorage:
    """A bucket, or a folder of one. Every call ends within about `retry_s + timeout_s` seconds."""

    def __init__(
        self,
        url: str,
        *,
        endpoint: str | None = None,
        credentials: Any = None,
        auth_request: Callable[..., Any] | None = None,
        timeout_s: float = 10.0,
        retry_s: float = 20.0,
    ) -> None:
        """url: `gs://bucket/prefix`. endpoint: an emulator's address, used without credentials
        unless some are given. auth_request: how tokens and IAM's signatures are asked for.
        Without these Google's library finds credentials (and STORAGE_EMULATOR_HOST) by itself.
        """
        bucket, self._prefix = parse_url(url)
        self._bucket = open_client(endpoint, credentials).bucket(bucket)
        self._credentials = credentials
        self._auth_request = auth_request or functools.partial(
            google.auth.transport.requests.Request(), timeout=timeout_s
        )
        self._retry_s = retry_s
        self._bounds = bounds(timeout_s, retry_s)

    def create(self, path: str, data: bytes, content_type: str) -> None:
        check_content_type(path, content_type)
        self._upload(self._blob(path), data, content_type)

    def read(self, path: str) -> StoredObject | None:
        blob = self._blob(path)
        with reaching(f"cannot read {self.uri(path)}", self._retry_s):
            try:
                data = blob.download_as_bytes(checksum="crc32c", **self._bounds)
            except api_exceptions.NotFound:
                return None
        return StoredObject(data, blob.content_type or content_type_of(path))

    def uri(self, path: str) -> str:
        return f"gs://{self._bucket.name}/{self._name(path)}"

    def signed_url(self, path: str, expires_s: int) -> str:
        """A V4 link, signed with the service account's key or, where there is none, by IAM.

        IAM wants the role `iam.serviceAccountTokenCreator` of the account on itself.
        """
        with reaching(f"cannot sign a link to {self.uri(path)}", self._retry_s):
            link: str = self._blob(path).generate_signed_url(
                version="v4", expiration=timedelta(seconds=expires_s), credentials=self._signing()
            )
        return link

    def check(self) -> None:
        """Writes one small object, the same one at every start, and reads it back."""
        path = "imagegen-check.txt"
        try:
            with contextlib.suppress(ObjectExists):
                self.create(path, b"imagegen can write here\n", "text/plain")
            if self.read(path) is None:
                raise InvalidSettings(f"IMAGEGEN_STORAGE: {self.uri(path)} was written but is gone")
        except StorageUnavailable as error:
            raise InvalidSettings(f"IMAGEGEN_STORAGE: {error}") from error

    def _name(self, path: str) -> str:
        return "/".join(filter(None, (self._prefix, check_path(path))))

    def _blob(self, path: str) -> Any:
        return self._bucket.blob(self._name(path))

    def _upload(self, blob: Any, data: bytes, content_type: str) -> None:
        """Pictures up to 8 MiB go up in one request.

        When an answer is lost, the library's second try meets the object of the first. The mark
        tells that object from one that somebody else made, even of the same bytes.
        """
        mark = uuid.uuid4().hex
        blob.metadata = {_UPLOAD: mark}
        with reaching(f"cannot write gs://{blob.bucket.name}/{blob.name}", self._retry_s):
            try:
                blob.upload_from_string(
                    data, content_type=content_type, if_generation_match=0,
                    checksum="crc32c", **self._bounds,
                )  # fmt: skip
            except api_exceptions.PreconditionFailed:
                found = self._bucket.get_blob(blob.name, **self._bounds)
                if found is None or (found.metadata or {}).get(_UPLOAD) != mark:
                    raise ObjectExists(f"{blob.name} is there already") from None

    def _signing(self) -> Any:
        """Credentials that sign. The client's own have a scope too narrow for IAM."""
        if self._credentials is None:
            try:
                self._credentials, _ = google.auth.default(scopes=[_CLOUD_PLATFORM])
            except GoogleAuthError as error:
                raise InvalidSettings(f"IMAGEGEN_URLS=signed: {error}") from error
        if isinstance(self._credentials, Signing):
            return self._credentials
        if hasattr(self._credentials, "service_account_email"):
            return _SignedByIam(self._credentials, self._auth_request)
        raise InvalidSettings(
            "IMAGEGEN_URLS=signed needs a service account; "
            f"{type(self._credentials).__name__} cannot sign. Or use IMAGEGEN_URLS=proxy."
        )


class _SignedByIam(Signing):  # type: ignore[misc]  # the library has no types
    """Signs as a service account whose key stays with Google, as on Cloud Run."""

    def __init__(self, credentials: Any, request: Callable[..., Any]) -> None:
        if not credentials.valid:
            credentials.refresh(request)  # only now does the account's address stand in it
        self._signer = iam.Signer(request, credentials, credentials.service_account_email)
        self._email: str = credentials.service_account_email

    def sign_bytes(self, message: bytes) -> bytes:
        signature: bytes = self._signer.sign(message)
        return signature

    @property
    def signer_email(self) -> str:
        return self._email

    @property
    def signer(self) -> iam.Signer:
        return self._signer


def download_prefix(
    url: str,
    into: Path,
    *,
    endpoint: str | None = None,
    timeout_s: float = 10.0,
    retry_s: float = 120.0,
) -> None:
    """Every object under `gs://bucket/prefix/` into the folder `into`, several at a time.

    A file appears only when its size and crc32c are those of the bucket. Raises InvalidSettings
    when there is nothing to fetch or no right to, StorageUnavailable when it cannot be reached.
    """
    bucket, prefix = parse_url(url)
    client = open_client(endpoint, None)
    within = bounds(timeout_s, retry_s)
    root = f"{prefix}/" if prefix else ""
    with reaching(f"cannot fetch {url}", retry_s):
        try:
            blobs = [
                blob
                for blob in client.list_blobs(bucket, prefix=root, **within)
                if not blob.name.endswith("/")
            ]
            targets = [_inside(into, blob.name.removeprefix(root)) for blob in blobs]
            with ThreadPoolExecutor(_DOWNLOADS) as pool:
                list(pool.map(functools.partial(_download, within=within), blobs, targets))
        except REFUSED as error:
            raise InvalidSettings(f"cannot fetch {url}: {error}") from error
    if not blobs:
        raise InvalidSettings(f"there is nothing under {url}")


def _download(blob: Any, target: Path, within: dict[str, Any]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with draft.open("xb") as file:
            blob.download_to_file(
                file, checksum="crc32c", if_generation_match=blob.generation, **within
            )
        if draft.stat().st_size != blob.size or _crc32c(draft) != blob.crc32c:
            raise OSError(f"{blob.name} arrived damaged")
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def _crc32c(file: Path) -> str:
    new_checksum: Callable[[], Any] = google_crc32c.Checksum  # it has no types
    checksum = new_checksum()
    with file.open("rb") as reader:
        while block := reader.read(1 << 20):
            checksum.update(block)
    return base64.b64encode(checksum.digest()).decode()


def _inside(folder: Path, name: str) -> Path:
    """Where an object goes; its name comes from the bucket and is not to be trusted."""
    if "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
        raise InvalidSettings(f"the object {name!r} has no place in a folder")
    return folder.joinpath(name)


def parse_url(url: str) -> tuple[str, str]:
    """`gs://bucket/prefix` -> ("bucket", "prefix"). Raises InvalidSettings."""
    match = _URL.fullmatch(url)
    if match is None:
        raise InvalidSettings(
            f"{url!r} is not gs://bucket/prefix, where a bucket's name has three characters or "
            "more, of a-z, 0-9, dots, dashes and underscores"
        )
    prefix = (match[2] or "").strip("/")
    try:
        return match[1], check_path(prefix) if prefix else ""
    except ValueError as error:
        raise InvalidSettings(f"{url}: {error}") from None


def open_client(endpoint: str | None, credentials: Any) -> Any:
    """Google's own client. Raises InvalidSettings where there are no credentials."""
    try:
        client = storage.Client(
            project=None,  # objects need none
            credentials=credentials,
            client_options=None if endpoint is None else {"api_endpoint": endpoint},
            use_auth_w_custom_endpoint=credentials is not None,
        )
    except GoogleAuthError as error:
        raise InvalidSettings(f"no credentials for Google Cloud: {error}") from error
    for scheme in ("https://", "http://"):
        client._http.mount(scheme, _Traced(pool_maxsize=_CONNECTIONS))  # noqa: SLF001
    return client


class _Traced(HTTPAdapter):
    """Calls say on whose behalf they are made: Google's library has no way to be told."""

    def add_headers(self, request: Any, **_how: Any) -> None:
        """requests' own place for headers of a connection; called for every try."""
        trace = current_trace()
        if trace is not None:
            request.headers[TRACEPARENT] = trace.traceparent


def bounds(timeout_s: float, retry_s: float) -> dict[str, Any]:
    """What makes a call of Google's library end: each try by `timeout_s`, all by `retry_s`."""
    return {"timeout": timeout_s, "retry": DEFAULT_RETRY.with_timeout(retry_s)}


@contextlib.contextmanager
def reaching(what: str, retry_s: float) -> Iterator[None]:
    """Turns every way in which a bucket can be out of reach into StorageUnavailable."""
    try:
        yield
    except _UNREACHABLE as error:
        raise StorageUnavailable(f"{what}: {error}", retry_s) from error
