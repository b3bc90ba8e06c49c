"""What every RecordStore promises: one suite for the folder and for a bucket on a real server."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from fake_bucket import FakeBucket, LossyLine

from imagegen.errors import StorageUnavailable
from imagegen.storage.record_bucket import BucketRecords
from imagegen.storage.record_folder import FolderRecords
from imagegen.storage.records import RecordStore


@pytest.fixture(params=["folder", "bucket", "bucket with prefix"])
def another(
    request: pytest.FixtureRequest, tmp_path: Path, server: FakeBucket
) -> Callable[[], RecordStore]:
    """Opens the same store again, as another instance would."""
    if request.param == "folder":
        return lambda: FolderRecords(tmp_path / "store")
    url = f"gs://{server.new()}" + ("/some/prefix/" if "prefix" in request.param else "")
    return lambda: BucketRecords(url, endpoint=server.endpoint)


@pytest.fixture
def records(another: Callable[[], RecordStore]) -> RecordStore:
    return another()


def test_a_record_is_made_changed_and_taken_away(another: Callable[[], RecordStore]) -> None:
    assert another().read("a/x.json") is None
    first = another().write("a/x.json", b"one", None)
    found = another().read("a/x.json")
    assert found is not None
    assert (found.data, found.version) == (b"one", first)
    second = another().write("a/x.json", b"two", first)
    assert second not in (None, first)
    assert another().write("a/x.json", b"three", second) is not None
    another().remove("a/x.json")
    another().remove("a/x.json")
    assert another().read("a/x.json") is None
    assert another().write("a/x.json", b"", None) is not None


def test_who_saw_another_state_writes_nothing(records: RecordStore) -> None:
    first = records.write("x.json", b"one", None)
    assert records.write("x.json", b"new", None) is None
    records.write("x.json", b"two", first)
    assert records.write("x.json", b"late", first) is None
    found = records.read("x.json")
    assert found is not None
    assert found.data == b"two"
    records.remove("x.json")
    assert records.write("x.json", b"late", found.version) is None
    assert records.read("x.json") is None


def test_of_sixteen_racing_writers_exactly_one_wins(another: Callable[[], RecordStore]) -> None:
    seen = another().write("x.json", b"start", None)
    stores, start = [another() for _ in range(4)], Barrier(16)

    def write(number: int) -> bool:
        start.wait()
        return stores[number % 4].write("x.json", b"%d" % number, seen) is not None

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(write, range(16)))
    assert won.count(True) == 1
    found = another().read("x.json")
    assert found is not None
    assert found.data == b"%d" % won.index(True)


def test_no_increment_is_lost(another: Callable[[], RecordStore]) -> None:
    another().write("count.json", b"0", None)

    def increment(_: int) -> None:
        store = another()
        while True:
            found = store.read("count.json")
            assert found is not None
            if store.write("count.json", b"%d" % (int(found.data) + 1), found.version):
                return

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(increment, range(20)))
    found = another().read("count.json")
    assert found is not None
    assert int(found.data) == 20


def test_names_come_in_order_and_in_pages(another: Callable[[], RecordStore]) -> None:
    store = another()
    assert store.names("list") == []
    versions = {name: store.write(f"list/{name}", b"x", None) for name in ("c", "a", "b", "d")}
    store.write("list-not/z", b"x", None)
    assert another().names("list") == sorted(versions.items())
    assert [name for name, _ in store.names("list", limit=3)] == ["a", "b", "c"]
    assert [name for name, _ in store.names("list", after="b", limit=1)] == ["c"]
    store.remove("list/b")
    assert [name for name, _ in store.names("list", after="b")] == ["c", "d"]
    assert store.names("list", after="d") == []
    changed = store.write("list/c", b"y", versions["c"])
    assert dict(store.names("list"))["c"] == changed


@pytest.mark.parametrize("path", ["", "../x.json", "/etc/x", "a//x", ".hidden", "a\0", "a\\b"])
def test_a_hostile_path_is_refused(records: RecordStore, path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        records.read(path)
    with pytest.raises(ValueError, match="path"):
        records.write(path, b"x", None)
    with pytest.raises(ValueError, match="path"):
        records.remove(path)
    with pytest.raises(ValueError, match="path"):
        records.names(path)


def test_a_lost_answer_is_no_lost_race(server: FakeBucket) -> None:
    line, bucket = LossyLine(server.endpoint), server.new()
    store = BucketRecords(f"gs://{bucket}", endpoint=line.endpoint)
    first = store.write("x.json", b"one", None)
    line.lose_answer(b'"generation"')
    second = store.write("x.json", b"two", first)
    assert line.lost
    assert second is not None
    found = store.read("x.json")
    assert found is not None
    assert (found.data, found.version) == (b"two", second)
    line.close()


def test_a_store_out_of_reach_is_named(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file, not a folder")
    folder = FolderRecords(tmp_path / "store")
    bucket = BucketRecords("gs://none", endpoint="http://127.0.0.1:9", timeout_s=0.5, retry_s=0.5)
    for store in (folder, bucket):
        with pytest.raises(StorageUnavailable):
            store.write("a/x.json", b"x", None)
    with pytest.raises(StorageUnavailable):
        bucket.names("a")
