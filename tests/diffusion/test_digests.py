"""Digests are remembered until a file changes, whatever else may happen meanwhile."""

from __future__ import annotations

import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imagegen.diffusion import digests
from imagegen.diffusion.digests import Digests

CONTENT, OTHER = b"a" * 100, b"b" * 100


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Which files were hashed. Every file is large, and may be remembered at once."""
    monkeypatch.setattr(digests, "LARGE_BYTES", 1)
    monkeypatch.setattr(digests, "SETTLED_NS", -1_000_000_000)
    files: list[Path] = []
    hash_file = digests._hashed
    monkeypatch.setattr(digests, "_hashed", lambda path: files.append(path) or hash_file(path))
    return files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "digests"


def test_a_file_is_hashed_once(file: Path, kept: Path, hashed: list[Path]) -> None:
    assert [Digests(kept).of(file) for _ in range(3)] == [sha256(CONTENT)] * 3
    link = file.with_name("link")
    link.symlink_to(file)
    assert Digests(kept).of(link) == sha256(CONTENT)
    assert hashed == [file]
    assert len(list(kept.iterdir())) == 1


def test_one_that_changes_is_hashed_again(file: Path, kept: Path, hashed: list[Path]) -> None:
    """Also where it seems to be as it was: of the same size and time, and under the same inode."""
    Digests(kept).of(file)
    before = file.stat()
    time.sleep(0.05)  # a file system's clock may tick no oftener than every few milliseconds
    with file.open("r+b") as opened:
        opened.write(OTHER)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = file.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (
        before.st_size, before.st_mtime_ns, before.st_ino,
    )  # fmt: skip
    assert Digests(kept).of(file) == sha256(OTHER)
    file.with_name("new").write_bytes(CONTENT)
    file.with_name("new").replace(file)
    assert Digests(kept).of(file) == sha256(CONTENT)
    assert hashed == [file] * 3


def test_one_that_has_just_been_written_is_not_remembered(
    file: Path, kept: Path, hashed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "SETTLED_NS", 3_600_000_000_000)
    assert [Digests(kept).of(file) for _ in range(2)] == [sha256(CONTENT)] * 2
    assert len(hashed) == 2
    Digests(kept).take(file, sha256(CONTENT))  # but its writer knows that it is whole
    assert Digests(kept).of(file) == sha256(CONTENT)
    assert len(hashed) == 2


def test_one_that_changes_while_it_is_hashed_is_not_remembered(
    file: Path, kept: Path, hashed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def written_to(path: Path) -> str:
        with path.open("ab") as opened:
            opened.write(b"more")
        return sha256(CONTENT)

    monkeypatch.setattr(digests, "_hashed", written_to)
    Digests(kept).of(file)
    assert not kept.exists()


def test_small_files_are_not_worth_it(file: Path, kept: Path, hashed: list[Path]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digests, "LARGE_BYTES", 101)
        Digests(kept).of(file)
    assert not kept.exists()


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\xff" * 200])
def test_an_entry_that_makes_no_sense_is_made_anew(
    file: Path, kept: Path, hashed: list[Path], damage: bytes
) -> None:
    Digests(kept).of(file)
    [entry] = kept.iterdir()
    written = entry.read_bytes()
    for broken in (damage, written[1:], written[:-1], b"X" + written[1:]):
        entry.write_bytes(broken)
        assert Digests(kept).of(file) == sha256(CONTENT)
        assert entry.read_bytes() == written


def test_without_a_place_to_keep_them_files_are_hashed(file: Path, hashed: list[Path]) -> None:
    for folder in (file / "below", Path("/proc/imagegen")):
        assert [Digests(folder).of(file) for _ in range(2)] == [sha256(CONTENT)] * 2
        Digests(folder).take(file, sha256(CONTENT))
    assert len(hashed) == 4


def test_what_is_gone_is_forgotten(file: Path, kept: Path, hashed: list[Path]) -> None:
    others = [file.with_name(name) for name in ("with spaces", "\udcff")]  # no UTF-8
    for path in (file, *others):
        path.write_bytes(CONTENT)
        Digests(kept).of(path)
    assert len(list(kept.iterdir())) == 3
    for path in others:
        path.unlink()
    file.write_bytes(OTHER)
    assert Digests(kept).of(file) == sha256(OTHER)
    assert len(list(kept.iterdir())) == 1


def test_a_file_that_is_not_there_is_not_made_up(
    file: Path, kept: Path, hashed: list[Path]
) -> None:
    Digests(kept).of(file)
    file.unlink()
    with pytest.raises(FileNotFoundError):
        Digests(kept).of(file)
    Digests(kept).take(file, sha256(CONTENT))


def test_many_at_once(tmp_path: Path, kept: Path, hashed: list[Path]) -> None:
    files = [tmp_path / str(index) for index in range(8)]
    for index, path in enumerate(files):
        path.write_bytes(b"%d" % index)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            found = list(pool.map(lambda path: Digests(kept).of(path), files * 4))
            assert found == [sha256(b"%d" % index) for index in range(8)] * 4
            for place in kept.iterdir():
                place.unlink(missing_ok=True)
    assert not [left for left in kept.iterdir() if left.name.startswith(".")]
