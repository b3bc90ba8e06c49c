"""What every Storage promises: one suite for the folder and for a bucket on a real server."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from fake_bucket import FakeBucket

from imagegen.errors import ObjectExists
from imagegen.storage import Storage
from imagegen.storage.gcs import CloudStorage
from imagegen.storage.local import LocalStorage

HOSTILE_PATHS = [
    "", "/", ".", "..", "../x.png", "a/../../x.png", "a/../x.png", "/etc/passwd", "//host/x.png",
    "a//x.png", "a/", "a/./x.png", "a\0.png", "a\nb.png", "a\\..\\x.png", "C:\\x.png", ".hidden",
    "a/.part", "\ud800.png", "a" * 256, "/".join(["a" * 99] * 10),
]  # fmt: skip
GOOD_PATHS = [
    "x.png", "aurora/2026/11/x.png", "with space/my picture.png", "Grüße/東京 🌃.png",
    "a..b/x..png", "per%20cent/100%.png", "quote'\"&?#[]*.png", "no-extension", "UPPER.PNG",
]  # fmt: skip


@pytest.fixture(params=["folder", "bucket", "bucket with prefix"])
def another(
    request: pytest.FixtureRequest, tmp_path: Path, server: FakeBucket
) -> Callable[[], Storage]:
    """Opens the same store again, as another instance would."""
    if request.param == "folder":
        return lambda: LocalStorage(tmp_path / "store")
    url = f"gs://{server.new()}" + ("/some/prefix/" if "prefix" in request.param else "")
    return lambda: CloudStorage(url, endpoint=server.endpoint)


@pytest.fixture
def storage(another: Callable[[], Storage]) -> Storage:
    return another()


def content_type(path: str) -> str:
    return "image/png" if path.lower().endswith(".png") else "application/octet-stream"


@pytest.mark.parametrize("path", GOOD_PATHS)
def test_what_was_created_is_read_back_by_any_instance(
    another: Callable[[], Storage], path: str
) -> None:
    another().create(path, b"\x89PNG\0\xff", content_type(path))
    found = another().read(path)
    assert found is not None
    assert (found.data, found.content_type) == (b"\x89PNG\0\xff", content_type(path))


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a.png", "image/png"), ("a.jpg", "image/jpeg"), ("a.webp", "image/webp"),
        ("a.json", "application/json"), ("a.jsonl", "application/jsonl"), ("a.csv", "text/csv"),
        ("a.html", "text/html"), ("a.txt", "text/plain"), ("a", "application/octet-stream"),
        ("png", "application/octet-stream"), ("a.tar.gz", "application/octet-stream"),
    ],
)  # fmt: skip
def test_a_content_type_is_the_extensions(storage: Storage, path: str, kind: str) -> None:
    storage.create(path, b"x", kind)
    found = storage.read(path)
    assert found is not None
    assert found.content_type == kind
    with pytest.raises(ValueError, match="says"):
        storage.create(f"other/{path}", b"x", "text/css")


def test_what_is_not_there_is_none(storage: Storage) -> None:
    storage.create("folder/x.png", b"x", "image/png")
    assert storage.read("missing.png") is None
    assert storage.read("folder") is None
    assert storage.read("folder/x.png/deeper.png") is None


def test_an_object_is_created_once(storage: Storage) -> None:
    storage.create("x.png", b"first", "image/png")
    for data in (b"second", b"first", b""):
        with pytest.raises(ObjectExists, match=r"x\.png"):
            storage.create("x.png", data, "image/png")
    found = storage.read("x.png")
    assert found is not None
    assert found.data == b"first"


@pytest.mark.parametrize("same", [False, True], ids=["different bytes", "the same bytes"])
def test_of_sixteen_racing_creators_exactly_one_wins(
    another: Callable[[], Storage], same: bool
) -> None:
    start = Barrier(16)
    stores = [another() for _ in range(4)]

    def create(number: int) -> bool:
        start.wait()
        try:
            data = b"same" if same else b"%d" % number
            stores[number % 4].create("claims/one.json", data, "application/json")
        except ObjectExists:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(create, range(16)))
    assert won.count(True) == 1
    found = another().read("claims/one.json")
    assert found is not None
    assert found.data == (b"same" if same else b"%d" % won.index(True))


@pytest.mark.parametrize("size_bytes", [0, 5_000_000, 9_000_000])
def test_empty_and_big_objects(storage: Storage, size_bytes: int) -> None:
    data = bytes(range(251)) * (size_bytes // 251 + 1)
    storage.create("big.png", data[:size_bytes], "image/png")
    found = storage.read("big.png")
    assert found is not None
    assert found.data == data[:size_bytes]


@pytest.mark.parametrize("path", HOSTILE_PATHS)
def test_a_hostile_path_is_refused(storage: Storage, path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        storage.read(path)
    with pytest.raises(ValueError, match="path"):
        storage.create(path, b"x", content_type(path))
    with pytest.raises(ValueError, match="path"):
        storage.uri(path)


def test_a_uri_names_the_store(storage: Storage) -> None:
    assert storage.uri("a/b.png").startswith(("file:///", "gs://"))
    assert storage.uri("a/b.png").endswith("/a/b.png")


def test_check_proves_that_objects_can_be_written(another: Callable[[], Storage]) -> None:
    another().check()
    another().check()
    another().create("x.png", b"x", "image/png")
    another().check()
