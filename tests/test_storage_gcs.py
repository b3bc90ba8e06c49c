"""The bucket: lost answers, silence, signatures, and fetching a folder of a bucket."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from fake_bucket import FakeBucket, LossyLine, running_bucket_server
from google.auth import compute_engine
from google.oauth2 import credentials as user_credentials
from google.oauth2 import service_account

from imagegen.errors import InvalidSettings, ObjectExists, StorageUnavailable
from imagegen.storage.gcs import CloudStorage, download_prefix

ACCOUNT = "imagegen@project.iam.gserviceaccount.com"
KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


@pytest.fixture(scope="module")
def server() -> Iterator[FakeBucket]:
    with running_bucket_server() as running:
        yield running


@pytest.fixture
def silent_endpoint() -> Iterator[str]:
    """Accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def closed_endpoint() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def key_file_credentials() -> service_account.Credentials:
    pem = KEY.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return service_account.Credentials.from_service_account_info(
        {
            "client_email": ACCOUNT,
            "token_uri": "https://oauth2.googleapis.com/token",
            "private_key": pem.decode(),
        }
    )


class Google:
    """Google's side of a keyless instance: the metadata server, and IAM, which keeps the key."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.signed = 0

    def __call__(
        self, url: str, method: str = "GET", body: bytes | None = None,
        headers: Mapping[str, str] | None = None, **_: object,
    ) -> SimpleNamespace:  # fmt: skip
        if "iamcredentials" in url:
            assert f"/serviceAccounts/{ACCOUNT}:signBlob" in url
            assert headers is not None
            assert headers["authorization"] == "Bearer token-of-the-instance"
            self.signed += 1
            message = base64.b64decode(json.loads(body or b"{}")["payload"])
            signature = KEY.sign(message, padding.PKCS1v15(), hashes.SHA256())
            answer: object = {"signedBlob": base64.b64encode(signature).decode()}
            return self._answer(answer if self.status == 200 else {"error": "denied"}, self.status)
        if "/token" in url:
            return self._answer({"access_token": "token-of-the-instance", "expires_in": 3_600})
        return self._answer({"email": ACCOUNT, "scopes": [], "aliases": ["default"]})

    def _answer(self, content: object, status: int = 200) -> SimpleNamespace:
        kind = {"content-type": "application/json", "metadata-flavor": "Google"}
        return SimpleNamespace(status=status, headers=kind, data=json.dumps(content).encode())


def assert_signed(link: str, path: str, expires_s: int) -> None:
    """Verifies a V4 signature as Cloud Storage does, from the published recipe."""
    parts = urlsplit(link)
    assert (parts.scheme, parts.netloc) == ("https", "storage.googleapis.com")
    assert unquote(parts.path) == path
    query, _, signature = parts.query.partition("&X-Goog-Signature=")
    said = {name: values[0] for name, values in parse_qs(query).items()}
    assert said["X-Goog-Algorithm"] == "GOOG4-RSA-SHA256"
    assert said["X-Goog-Expires"] == str(expires_s)
    account, _, scope = said["X-Goog-Credential"].partition("/")
    assert account == ACCOUNT
    canonical = "\n".join(
        ["GET", parts.path, query, f"host:{parts.netloc}\n", "host", "UNSIGNED-PAYLOAD"]
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    message = "\n".join(["GOOG4-RSA-SHA256", said["X-Goog-Date"], scope, digest])
    KEY.public_key().verify(
        bytes.fromhex(signature), message.encode(), padding.PKCS1v15(), hashes.SHA256()
    )
    age = datetime.now(UTC) - datetime.strptime(
        said["X-Goog-Date"], "%Y%m%dT%H%M%SZ"
    ).replace(tzinfo=UTC)  # fmt: skip
    assert abs(age) < timedelta(seconds=30)


def test_a_lost_answer_does_not_turn_our_object_into_somebody_elses(server: FakeBucket) -> None:
    with contextlib.closing(LossyLine(server.endpoint)) as line:
        storage = CloudStorage(f"gs://{server.new()}", endpoint=line.endpoint)
        line.lose_answer(containing=b'{"kind":"storage#object"')
        storage.create("x.png", b"same bytes", "image/png")
        assert len(line.lost) == 1
        assert b"HTTP/1.1 200 OK" in line.lost[0]
        with pytest.raises(ObjectExists):
            storage.create("x.png", b"same bytes", "image/png")


@pytest.mark.parametrize("kind", ["closed", "silent"])
def test_an_unreachable_bucket_answers_in_time(
    closed_endpoint: str, silent_endpoint: str, kind: str
) -> None:
    endpoint = {"closed": closed_endpoint, "silent": silent_endpoint}[kind]
    storage = CloudStorage("gs://pictures", endpoint=endpoint, timeout_s=0.3, retry_s=1.0)
    for call in (
        lambda: storage.create("x.png", b"x", "image/png"),
        lambda: storage.read("x.png"),
    ):
        begun = time.monotonic()
        with pytest.raises(StorageUnavailable, match=r"gs://pictures/x\.png: ") as unavailable:
            call()
        assert time.monotonic() - begun < 3.0
        assert unavailable.value.retry_after_s == 1.0
    with pytest.raises(InvalidSettings, match="IMAGEGEN_STORAGE: cannot write gs://pictures"):
        storage.check()


def test_a_bucket_that_is_not_there_stops_the_start(server: FakeBucket) -> None:
    storage = CloudStorage("gs://not-there", endpoint=server.endpoint, timeout_s=1, retry_s=1)
    with pytest.raises(InvalidSettings, match=r"IMAGEGEN_STORAGE: .*gs://not-there"):
        storage.check()


def test_the_emulators_usual_variable_is_honoured(
    server: FakeBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.endpoint)
    storage = CloudStorage(f"gs://{server.new()}/prefix")
    storage.check()
    assert storage.uri("a b/x.png").endswith("/prefix/a b/x.png")


@pytest.mark.parametrize("url", ["gs://", "gs:///x", "gs://UPPER", "gs://b", "gs://bucket/../x"])
def test_a_url_that_is_no_bucket_is_refused(url: str) -> None:
    with pytest.raises(InvalidSettings, match="gs://"):
        CloudStorage(url, endpoint="http://127.0.0.1:9")


def test_a_link_signed_with_a_key_file() -> None:
    storage = CloudStorage("gs://pictures/prefix", credentials=key_file_credentials())
    link = storage.signed_url("a b/Grüße.png", 3_600)
    assert_signed(link, "/pictures/prefix/a b/Grüße.png", 3_600)


def test_a_link_signed_by_iam_where_there_is_no_key() -> None:
    iam = Google()
    keyless = compute_engine.Credentials(universe_domain="googleapis.com")
    storage = CloudStorage("gs://pictures", credentials=keyless, auth_request=iam)
    for number in range(2):
        assert_signed(storage.signed_url("x.png", 60), "/pictures/x.png", 60)
        assert iam.signed == number + 1


def test_a_refusal_by_iam_says_so() -> None:
    keyless = compute_engine.Credentials(universe_domain="googleapis.com")
    storage = CloudStorage("gs://pictures", credentials=keyless, auth_request=Google(status=403))
    with pytest.raises(StorageUnavailable, match=r"cannot sign a link to gs://.*denied"):
        storage.signed_url("x.png", 60)


def test_a_person_cannot_sign() -> None:
    person = user_credentials.Credentials(token="token")
    storage = CloudStorage("gs://pictures", credentials=person)
    with pytest.raises(InvalidSettings, match="needs a service account"):
        storage.signed_url("x.png", 60)


def fill(server: FakeBucket, objects: Mapping[str, bytes]) -> str:
    bucket = server.new()
    for name, data in objects.items():
        server.client.bucket(bucket).blob(name).upload_from_string(data)
    return bucket


def test_a_folder_of_a_bucket_is_fetched(server: FakeBucket, tmp_path: Path) -> None:
    model = {f"unet/part {number}.safetensors": bytes([number]) * 300_000 for number in range(20)}
    model |= {"model_index.json": b"{}", ".gitattributes": b"", "vae/ü/config.json": b"[]"}
    objects = {f"models/starter/{name}": data for name, data in model.items()}
    bucket = fill(server, objects | {"models/starter-2/other.json": b"{}", "models/starter/": b""})
    into = tmp_path / "model"
    for _ in range(2):  # a second time finds the first one's files and is content
        download_prefix(f"gs://{bucket}/models/starter", into, endpoint=server.endpoint)
        found = {
            str(file.relative_to(into)): file.read_bytes()
            for file in into.rglob("*")
            if file.is_file()
        }
        assert found == model


def test_a_whole_bucket_may_be_fetched(server: FakeBucket, tmp_path: Path) -> None:
    bucket = fill(server, {"model_index.json": b"{}"})
    download_prefix(f"gs://{bucket}/", tmp_path, endpoint=server.endpoint)
    assert (tmp_path / "model_index.json").read_bytes() == b"{}"


def test_an_answer_lost_while_fetching_is_asked_for_again(
    server: FakeBucket, tmp_path: Path
) -> None:
    bucket = fill(server, {"m/weights.safetensors": bytes(3_000_000), "m/model_index.json": b"{}"})
    with contextlib.closing(LossyLine(server.endpoint)) as line:
        line.lose_answer(containing=b"\0" * 1_000)
        download_prefix(f"gs://{bucket}/m", tmp_path, endpoint=line.endpoint)
        assert len(line.lost) == 1
    assert (tmp_path / "weights.safetensors").read_bytes() == bytes(3_000_000)


def test_nothing_to_fetch_is_the_operators_mistake(server: FakeBucket, tmp_path: Path) -> None:
    bucket = fill(server, {"models/a.json": b"{}"})
    with pytest.raises(InvalidSettings, match="nothing under gs://"):
        download_prefix(f"gs://{bucket}/model", tmp_path, endpoint=server.endpoint)
    with pytest.raises(InvalidSettings, match="cannot fetch gs://not-there/x"):
        download_prefix("gs://not-there/x", tmp_path, endpoint=server.endpoint)


class LyingBucket(BaseHTTPRequestHandler):
    """Lists one object under any name, and hands out other bytes than it lists."""

    listed: ClassVar[dict[str, str]] = {}

    def do_GET(self) -> None:
        is_list = urlsplit(self.path).path.endswith("/o")
        body = json.dumps({"items": [self.listed]}).encode() if is_list else b"other bytes"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def lying_endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), LyingBucket)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    "name",
    ["../evil.json", "../../evil.json", "a/../../evil.json", "/evil.json", "a//b.json", "\0"],
)
def test_an_object_cannot_choose_a_place_outside(
    lying_endpoint: str, tmp_path: Path, name: str
) -> None:
    LyingBucket.listed = {"name": f"models/{name}", "size": "11", "generation": "1"}
    with pytest.raises(InvalidSettings, match="no place in a folder"):
        download_prefix("gs://pictures/models", tmp_path / "model", endpoint=lying_endpoint)
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("wrong", [{"size": "12"}, {"crc32c": "AAAAAA=="}])
def test_a_damaged_file_never_appears(
    lying_endpoint: str, tmp_path: Path, wrong: dict[str, str]
) -> None:
    crc32c = base64.b64encode(google_crc32c.value(b"other bytes").to_bytes(4, "big")).decode()
    right = {"name": "models/a.json", "size": "11", "generation": "1", "crc32c": crc32c}
    LyingBucket.listed = right | wrong
    with pytest.raises(StorageUnavailable, match=r"models/a\.json arrived damaged"):
        download_prefix("gs://pictures/models", tmp_path, endpoint=lying_endpoint)
    assert not list(tmp_path.iterdir())
    LyingBucket.listed = right
    download_prefix("gs://pictures/models", tmp_path, endpoint=lying_endpoint)
    assert (tmp_path / "a.json").read_bytes() == b"other bytes"


def test_fetching_from_nowhere_ends_in_time(silent_endpoint: str, tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(StorageUnavailable, match="cannot fetch gs://pictures/x"):
        download_prefix(
            "gs://pictures/x", tmp_path, endpoint=silent_endpoint, timeout_s=0.3, retry_s=1.0
        )
    assert time.monotonic() - begun < 3.0
