"""The folder: what a kill, a full disk or a link may do to it."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagegen.errors import InvalidSettings, ObjectExists, StorageUnavailable
from imagegen.storage import open_storage
from imagegen.storage.local import LocalStorage

WRITER = """
import sys
from imagegen.storage.local import LocalStorage
storage = LocalStorage(sys.argv[1])
print("ready", flush=True)
for number in range(100_000):
    storage.create(f"pictures/{number}.png", bytes([number % 251]) * 3_000_000, "image/png")
"""


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "store")


@pytest.fixture
def small_files() -> Iterator[int]:
    """Lets this process write no file beyond so many bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield 100_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, before)


def files_in(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def test_only_the_objects_lie_in_the_folder(storage: LocalStorage, tmp_path: Path) -> None:
    storage.check()
    storage.create("a/x.png", b"x", "image/png")
    with pytest.raises(ObjectExists):
        storage.create("a/x.png", b"y", "image/png")
    assert files_in(tmp_path / "store") == ["a/x.png"]
    assert (tmp_path / "store/a/x.png").stat().st_nlink == 1


def test_killed_writers_leave_whole_objects_only(tmp_path: Path) -> None:
    objects, drafts = 0, 0
    for attempt in range(40):  # mostly one is enough
        if objects and drafts:
            break
        folder = tmp_path / f"store-{attempt}"
        writer = subprocess.Popen([sys.executable, "-c", WRITER, folder], stdout=subprocess.PIPE)
        with writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(0.15 + 0.017 * attempt)
            writer.kill()
        for file in folder.rglob("*.png"):
            expected = bytes([int(file.stem) % 251]) * 3_000_000
            assert file.read_bytes() == expected
            objects += 1
        for draft in folder.glob(".drafts/*"):
            drafts += 1
            with pytest.raises(ValueError, match="path"):
                LocalStorage(folder).read(str(draft.relative_to(folder)))
            os.utime(draft, (0, 0))
        LocalStorage(folder).check()
        assert not list(folder.glob(".drafts/*"))
    assert objects
    assert drafts, "no writer was killed amid a file: the test has proved nothing"


def test_a_start_removes_what_is_ours_and_old_and_nothing_else(
    storage: LocalStorage, tmp_path: Path
) -> None:
    storage.check()
    drafts = tmp_path / "store/.drafts"
    kept = ["fresh", "notes.part", "0123456789abcdef0123456789abcdef.png"]
    ours = ["0123456789abcdef0123456789abcdef.part", "f" * 32 + ".part"]
    for name in kept + ours:
        (drafts / name).write_bytes(b"x")
        os.utime(drafts / name, (0, 0))
    fresh = drafts / ("0" * 32 + ".part")
    fresh.write_bytes(b"somebody writes this now")
    storage.create("a/x.png", b"x", "image/png")
    os.utime(tmp_path / "store/a/x.png", (0, 0))
    storage.check()
    assert files_in(tmp_path / "store") == sorted(
        ["a/x.png", *(f".drafts/{name}" for name in (*kept, fresh.name))]
    )


def test_a_full_disk_leaves_nothing_and_says_why(
    storage: LocalStorage, tmp_path: Path, small_files: int
) -> None:
    storage.create("small.png", b"x" * small_files, "image/png")
    with pytest.raises(StorageUnavailable, match=r"cannot write big\.png: File too large"):
        storage.create("big.png", b"x" * (small_files + 1), "image/png")
    assert storage.read("big.png") is None
    assert files_in(tmp_path / "store") == ["small.png"]


def test_a_link_that_leaves_the_folder_is_refused(storage: LocalStorage, tmp_path: Path) -> None:
    storage.create("inside/x.png", b"x", "image/png")
    (tmp_path / "secret.png").write_bytes(b"secret")
    store = tmp_path / "store"
    (store / "file.png").symlink_to(tmp_path / "secret.png")
    (store / "folder").symlink_to(tmp_path)
    (store / "dangling.png").symlink_to(tmp_path / "new.png")
    (store / "circle").symlink_to(store / "circle")
    for path in ("file.png", "folder/secret.png", "folder/new.png", "dangling.png", "circle/x.png"):
        with pytest.raises(ValueError, match="leads out"):
            storage.read(path)
        with pytest.raises(ValueError, match="leads out"):
            storage.create(path, b"x", "image/png")
    (store / "alias").symlink_to(store / "inside")
    found = storage.read("alias/x.png")
    assert found is not None
    assert found.data == b"x"
    assert not (tmp_path / "new.png").exists()


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    LocalStorage(tmp_path / "link").create("a/x.png", b"x", "image/png")
    assert files_in(tmp_path / "real") == ["a/x.png"]


def test_an_object_cannot_be_a_folder_of_others(storage: LocalStorage) -> None:
    storage.create("x.png", b"x", "image/png")
    for path in ("x.png/y.png", "x.png/deep/y.png"):
        with pytest.raises(ObjectExists, match="not a folder"):
            storage.create(path, b"y", "image/png")


def test_a_folder_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for folder in (tmp_path / "file", tmp_path / "file/below", Path("/proc/imagegen")):
        with pytest.raises(InvalidSettings, match=r"IMAGEGEN_STORAGE: cannot write in .*: \w+"):
            LocalStorage(folder).check()
    with pytest.raises(StorageUnavailable, match=r"cannot write x\.png: ") as refused:
        LocalStorage("/proc/imagegen").create("x.png", b"x", "image/png")
    assert refused.value.retry_after_s > 0


def test_a_uri_survives_any_name(storage: LocalStorage, tmp_path: Path) -> None:
    assert storage.uri("a b/ü.png") == (tmp_path / "store").as_uri() + "/a%20b/%C3%BC.png"


def test_a_folder_cannot_sign(storage: LocalStorage) -> None:
    with pytest.raises(InvalidSettings, match="IMAGEGEN_URLS=proxy"):
        storage.signed_url("x.png", 3_600)


def test_the_url_chooses_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url in ("file:out", "file:./out", f"file:{tmp_path}/out", f"file://{tmp_path}/out"):
        assert open_storage(url).uri("x.png") == (tmp_path / "out/x.png").as_uri()


@pytest.mark.parametrize("url", ["", "file:", "file://out", "out", "s3://bucket", "gs://", "gs:/x"])
def test_a_url_that_means_nothing_is_refused(url: str) -> None:
    with pytest.raises(InvalidSettings):
        open_storage(url)
