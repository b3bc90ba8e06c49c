"""Published folders: pushed, fetched in parts, resumed, verified, kept within bounds."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from fake_bucket import FakeBucket, running_bucket_server

from imagegen.diffusion.loading import fetch_model
from imagegen.errors import InvalidSettings, StorageUnavailable
from imagegen.storage import fetching, folder_cache
from imagegen.storage.bucket_folder import BucketFolder
from imagegen.storage.folder_cache import FolderCache
from imagegen.storage.manifest import FileEntry, FolderManifest, read_manifest
from imagegen.storage.pushing import Push, Pushed

MIB = 1 << 20
FILES = {
    "model_index.json": b"{}",
    "unet/diffusion_pytorch_model.safetensors": bytes(range(256)) * 1_000,
    "unet/twice.safetensors": bytes(range(256)) * 1_000,
    "vae/ü/empty.json": b"",
}


@pytest.fixture(scope="module")
def server() -> Iterator[FakeBucket]:
    with running_bucket_server() as running:
        yield running


@pytest.fixture
def url(server: FakeBucket) -> str:
    return f"gs://{server.new()}/models/tiny"


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def push(server: FakeBucket, folder: Path, url: str) -> Pushed:
    return Push(folder).run(BucketFolder(url, endpoint=server.endpoint), lambda *_: None)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def overwrite(server: FakeBucket, url: str, name: str, data: bytes) -> None:
    bucket, _, prefix = url.removeprefix("gs://").partition("/")
    server.client.bucket(bucket).blob(f"{prefix}/{name}").upload_from_string(data)


def cache_of(server: FakeBucket, root: Path, most_bytes: int = 1 << 40) -> FolderCache:
    return FolderCache(root, most_bytes=most_bytes, endpoint=server.endpoint)


def test_what_is_pushed_is_what_is_fetched(server: FakeBucket, url: str, tmp_path: Path) -> None:
    model = write(tmp_path / "model", FILES | {".git/config": b"not ours", ".hidden": b""})
    first = push(server, model, url)
    assert (first.files, first.sent_files, first.changed) == (4, 3, True)  # equal ones go once
    folder = cache_of(server, tmp_path / "cache").folder(url)
    assert contents(folder) == FILES
    assert cache_of(server, tmp_path / "cache").folder(url) == folder


def test_only_what_is_not_there_is_sent(server: FakeBucket, url: str, tmp_path: Path) -> None:
    model = write(tmp_path / "model", FILES)
    first = push(server, model, url)
    again = push(server, model, url)
    assert (again.sent_files, again.changed, again.version) == (0, False, first.version)
    write(model, {"model_index.json": b"{} "})
    third = push(server, model, url)
    assert (third.sent_files, third.sent_bytes, third.changed) == (1, 3, True)


def test_a_new_version_is_taken_and_shares_what_did_not_change(
    server: FakeBucket, url: str, tmp_path: Path
) -> None:
    model = write(tmp_path / "model", FILES)
    push(server, model, url)
    cache = cache_of(server, tmp_path / "cache")
    old = cache.folder(url)
    write(model, {"model_index.json": b"[]"})
    push(server, model, url)
    new = cache.folder(url)
    assert new != old
    assert contents(old) == FILES
    assert contents(new) == FILES | {"model_index.json": b"[]"}
    name = "unet/diffusion_pytorch_model.safetensors"
    assert (new / name).samefile(old / name)


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_half_done_push_is_not_seen(
    server: FakeBucket, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write(tmp_path / "model", FILES)
    push(server, model, url)
    write(model, {"model_index.json": b"new", "vae/more.json": b"more"})
    with monkeypatch.context() as patch:
        patch.setattr(BucketFolder, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            push(server, model, url)
    assert contents(cache_of(server, tmp_path / "cache").folder(url)) == FILES
    assert push(server, model, url).sent_files == 0


def test_of_two_who_push_at_once_one_is_told(
    server: FakeBucket, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = (write(tmp_path / name, {"a.json": name.encode()}) for name in ("o", "t"))
    look = BucketFolder.look

    def late(self: BucketFolder) -> object:
        seen = look(self)
        monkeypatch.setattr(BucketFolder, "look", look)
        push(server, theirs, url)
        return seen

    monkeypatch.setattr(BucketFolder, "look", late)
    with pytest.raises(InvalidSettings, match="somebody else published"):
        push(server, ours, url)
    assert contents(cache_of(server, tmp_path / "cache").folder(url)) == {"a.json": b"t"}


def test_a_file_that_changes_while_it_is_sent_stops_the_push(
    server: FakeBucket, url: str, tmp_path: Path
) -> None:
    pushing = Push(write(tmp_path / "model", FILES))
    write(tmp_path / "model", {"model_index.json": b"longer"})
    target = BucketFolder(url, endpoint=server.endpoint)
    with pytest.raises(InvalidSettings, match=r"model_index\.json changed while"):
        pushing.run(target, lambda *_: None)
    assert f"objects/{hashlib.sha256(b'longer').hexdigest()}" not in target.look()
    assert "manifest.json" not in target.look()


def test_a_damaged_file_is_refused_by_name(server: FakeBucket, url: str, tmp_path: Path) -> None:
    push(server, write(tmp_path / "model", FILES), url)
    name = "unet/diffusion_pytorch_model.safetensors"
    sha256 = hashlib.sha256(FILES[name]).hexdigest()
    overwrite(server, url, f"objects/{sha256}", FILES[name][:-1] + b"!")
    with pytest.raises(InvalidSettings, match=rf"{name} is damaged.*objects/{sha256}"):
        cache_of(server, tmp_path / "cache").folder(url)
    overwrite(server, url, f"objects/{sha256}", FILES[name])
    assert contents(cache_of(server, tmp_path / "cache").folder(url)) == FILES


@pytest.mark.parametrize("left", [b"", b"cut off"])
def test_an_object_that_is_shorter_than_the_manifest_says_is_refused_by_name(
    server: FakeBucket, url: str, tmp_path: Path, left: bytes
) -> None:
    """Not as if the bucket were out of reach: asking for it again and again would not help."""
    push(server, write(tmp_path / "model", FILES), url)
    sha256 = hashlib.sha256(FILES["unet/twice.safetensors"]).hexdigest()
    overwrite(server, url, f"objects/{sha256}", left)
    with pytest.raises(InvalidSettings, match=rf"objects/{sha256} ends at {len(left)} bytes"):
        cache_of(server, tmp_path / "cache").folder(url)
    push(server, tmp_path / "model", url)  # which sends what has another size
    assert contents(cache_of(server, tmp_path / "cache").folder(url)) == FILES


def test_what_a_power_cut_left_damaged_is_fetched_again(
    server: FakeBucket, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(server, write(tmp_path / "model", FILES), url)
    sha256 = hashlib.sha256(FILES["unet/twice.safetensors"]).hexdigest()
    [(manifest, _)] = [read_manifest(BucketFolder(url, endpoint=server.endpoint)) or (None, None)]
    key = hashlib.sha256(url.encode()).hexdigest()[:32]
    partial = tmp_path / "cache" / f"{key}-{manifest.version[:16]}.partial"
    write(partial / ".parts", {sha256: bytes(256_000), f"{sha256}.{fetching.PART_BYTES}": b"1"})
    assert contents(cache_of(server, tmp_path / "cache").folder(url)) == FILES


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"path": "../x.json"}, "dotted"),
        ({"path": "unet/../../x.json"}, "dotted"),
        ({"path": "/etc/x.json"}, "relative"),
        ({"path": ".parts/x"}, "dotted"),
        ({"path": "a\\b"}, "backslash"),
        ({"sha256": "../x"}, "sha256"),
        ({"size_bytes": -1}, "size_bytes"),
        ({"size_bytes": "1"}, "size_bytes"),
        ({"mode": 1}, "mode"),
    ],
)
def test_a_manifest_that_leads_elsewhere_is_refused(
    server: FakeBucket, url: str, tmp_path: Path, entry: dict[str, object], words: str
) -> None:
    right = {"path": "x.json", "size_bytes": 1, "sha256": "0" * 64}
    overwrite(server, url, "manifest.json", json.dumps({"files": [right | entry]}).encode())
    with pytest.raises(InvalidSettings, match=rf"manifest\.json: files\.0.*{words}"):
        cache_of(server, tmp_path / "cache").folder(url)
    assert not list(tmp_path.rglob("x.json"))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"files": []}', '{"files": 1, "x": 1}', "\xff", "x" * (5 * MIB)]
)
def test_what_is_no_manifest_is_refused(
    server: FakeBucket, url: str, tmp_path: Path, text: str
) -> None:
    overwrite(server, url, "manifest.json", text.encode("latin-1"))
    with pytest.raises(InvalidSettings, match=r"manifest\.json"):
        cache_of(server, tmp_path / "cache").folder(url)


@pytest.mark.parametrize("paths", [["a", "a"], ["a", "a/b"], ["a/b/c", "a/b"]])
def test_no_two_files_want_one_place(paths: list[str]) -> None:
    with pytest.raises(ValueError, match=r"twice|is a file and a folder"):
        FolderManifest.of(FileEntry(path=p, size_bytes=0, sha256="0" * 64) for p in paths)


class Counting(ThreadingHTTPServer):
    """A line to the bucket that counts what is fetched and can be made slow."""

    daemon_threads = True

    def __init__(self, endpoint: str, pause_s: float) -> None:
        self.far, self.pause_s = endpoint, pause_s
        self.ranges: list[tuple[str, str]] = []
        super().__init__(("127.0.0.1", 0), Forward)
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"


class Forward(BaseHTTPRequestHandler):
    server: Counting

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        headers = {} if asked is None else {"Range": asked}
        answer = requests.get(self.server.far + self.path, headers=headers, timeout=10)
        if asked is not None:
            time.sleep(self.server.pause_s)
            self.server.ranges.append((self.path.partition("?")[0], asked))
        self.send_response(answer.status_code)
        for name in ("Content-Type", "Content-Range"):
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # who asked may have been killed
            self.wfile.write(answer.content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def counting(server: FakeBucket) -> Iterator[Callable[[float], Counting]]:
    opened: list[Counting] = []

    def start(pause_s: float) -> Counting:
        opened.append(Counting(server.endpoint, pause_s))
        threading.Thread(target=opened[-1].serve_forever, daemon=True).start()
        return opened[-1]

    yield start
    for line in opened:
        line.shutdown()
        line.server_close()


FETCH = """
import sys
from pathlib import Path
from imagegen.storage import fetching
from imagegen.storage.folder_cache import FolderCache
fetching.PART_BYTES, fetching.PARTS_AT_ONCE = 65_536, 2
print(FolderCache(Path(sys.argv[1]), endpoint=sys.argv[3]).folder(sys.argv[2]))
"""


def fetching_process(root: Path, url: str, endpoint: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, str(root), url, endpoint],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip


def test_a_killed_fetch_goes_on_where_it_was(
    server: FakeBucket, url: str, tmp_path: Path, counting: Callable[[float], Counting]
) -> None:
    files = {"weights.safetensors": os.urandom(40 * 65_536 + 5), "model_index.json": b"{}"}
    push(server, write(tmp_path / "model", files), url)
    slow = counting(0.02)
    process = fetching_process(tmp_path / "cache", url, slow.endpoint)
    while len(slow.ranges) < 12:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    sha256 = hashlib.sha256(files["weights.safetensors"]).hexdigest()
    [journal] = (tmp_path / "cache").rglob(f"{sha256}.65536")
    done = journal.read_bytes().count(b"1")
    assert 0 < done < 41
    fast = counting(0.0)
    again = fetching_process(tmp_path / "cache", url, fast.endpoint)
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert contents(Path(out.strip())) == files
    of_weights = [one for one in fast.ranges if one[1] != "bytes=0-1"]
    assert len(of_weights) == 41 - done
    assert not list((tmp_path / "cache").glob("*.partial"))


def test_two_processes_fetch_once(
    server: FakeBucket, url: str, tmp_path: Path, counting: Callable[[float], Counting]
) -> None:
    files = {f"{index}.bin": os.urandom(200_000) for index in range(4)}
    push(server, write(tmp_path / "model", files), url)
    line = counting(0.02)
    processes = [fetching_process(tmp_path / "cache", url, line.endpoint) for _ in range(3)]
    answers = [process.communicate(timeout=120) for process in processes]
    assert {process.returncode for process in processes} == {0}, answers
    [folder] = {out.strip() for out, _ in answers}
    assert contents(Path(folder)) == files
    assert len(line.ranges) == len(set(line.ranges)) == 16


def test_the_cache_is_bounded_and_spares_what_is_in_use(server: FakeBucket, tmp_path: Path) -> None:
    """What a process holds stays; what an ended one held goes, the longest unused first."""
    urls = [f"gs://{server.new()}/m" for _ in range(4)]
    for index, url in enumerate(urls):
        push(server, write(tmp_path / f"{index}", {"w.bin": os.urandom(MIB)}), url)
    root = tmp_path / "cache"
    for url in urls[:2]:  # in processes that end
        process = fetching_process(root, url, server.endpoint)
        assert process.communicate(timeout=120)[1] == ""
    before = {hashlib.sha256(url.encode()).hexdigest()[:32] for url in urls[:2]}
    (root / "abandoned.partial").mkdir()
    write(root / "abandoned.partial", {"w.bin": bytes(MIB)})
    held = cache_of(server, root, int(3.5 * MIB)).folder(urls[2])
    names = {folder.name.partition("-")[0] for folder in root.glob("[0-9a-f]*")}
    assert names == before | {held.name.partition("-")[0]}  # the abandoned one went first
    cache_of(server, root, int(2.5 * MIB)).folder(urls[3])
    left = [f for f in root.glob("[0-9a-f]*") if f.name.partition("-")[0] in before]
    assert left == []
    assert held.is_dir()
    assert not list(root.glob(".removed-*"))
    cache_of(server, root, 1).folder(urls[0])  # larger than the bound, but nothing works without
    assert held.is_dir()


def test_a_full_disk_is_a_clear_sentence(
    server: FakeBucket, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(server, write(tmp_path / "model", FILES), url)
    usage = SimpleNamespace(free=100_000)
    with monkeypatch.context() as patch:
        patch.setattr(folder_cache.shutil, "disk_usage", lambda _: usage)
        with pytest.raises(InvalidSettings, match=r"needs 0\.5 MB, and the disk of .* 0\.1 MB"):
            cache_of(server, tmp_path / "cache").folder(url)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(fetching.os, "pwrite", full)
        with pytest.raises(InvalidSettings, match=r"cannot keep gs://.*No space left"):
            cache_of(server, tmp_path / "cache").folder(url)
    assert contents(cache_of(server, tmp_path / "cache").folder(url)) == FILES


def test_what_would_fit_on_no_disk_drives_nothing_out(
    server: FakeBucket, url: str, tmp_path: Path
) -> None:
    root, target = tmp_path / "cache", BucketFolder(url, endpoint=server.endpoint)
    other = f"gs://{server.new()}/m"
    push(server, write(tmp_path / "other", {"w.bin": b"w"}), other)
    assert fetching_process(root, other, server.endpoint).communicate(timeout=120)[1] == ""
    push(server, write(tmp_path / "model", FILES), url)
    lying = json.loads(target.read("manifest.json") or b"")
    lying["files"][0]["size_bytes"] = 10**18
    target.write("manifest.json", json.dumps(lying).encode())
    with pytest.raises(InvalidSettings, match="needs 1000000000"):
        cache_of(server, root).folder(url)
    [kept] = root.glob(f"{hashlib.sha256(other.encode()).hexdigest()[:32]}*")
    assert contents(kept) == {"w.bin": b"w"}


def test_a_cache_that_cannot_be_written_is_a_clear_sentence(
    server: FakeBucket, url: str, tmp_path: Path
) -> None:
    push(server, write(tmp_path / "model", FILES), url)
    with pytest.raises(InvalidSettings, match="cannot keep what comes from buckets in /proc/x"):
        cache_of(server, Path("/proc/x")).folder(url)


def test_without_the_bucket_the_last_version_serves(
    server: FakeBucket, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(server, write(tmp_path / "model", FILES), url)
    folder = cache_of(server, tmp_path / "cache").folder(url)

    def unreachable(_: BucketFolder) -> None:
        raise StorageUnavailable(f"cannot look for {url}/manifest.json: no way", 1.0)

    monkeypatch.setattr(folder_cache, "read_manifest", unreachable)
    assert cache_of(server, tmp_path / "cache").folder(url) == folder
    with pytest.raises(StorageUnavailable, match=re.escape(url)):
        cache_of(server, tmp_path / "other").folder(url)


def test_a_folder_without_a_manifest_is_fetched_as_it_is(
    server: FakeBucket, url: str, tmp_path: Path
) -> None:
    for name, data in FILES.items():
        overwrite(server, url, name, data)
    folder = cache_of(server, tmp_path / "cache").folder(url)
    assert contents(folder) == FILES
    with pytest.raises(InvalidSettings, match="nothing under"):
        cache_of(server, tmp_path / "cache").folder(f"{url}-2")


def test_a_published_model_is_what_the_renderer_gets(
    server: FakeBucket, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.endpoint)
    push(server, write(tmp_path / "model", FILES), url)
    assert contents(fetch_model(url, tmp_path / "cache")) == FILES
    write(tmp_path / "model", {"model_index.json": b"[]"})
    push(server, tmp_path / "model", url)
    folder = fetch_model(url, tmp_path / "cache")
    assert contents(folder) == FILES | {"model_index.json": b"[]"}


def test_many_threads_read_while_versions_change(
    server: FakeBucket, url: str, tmp_path: Path
) -> None:
    """Whenever somebody fetches, he gets one version, whole."""
    model = write(tmp_path / "model", {"a.json": b"0", "b.json": b"0"})
    push(server, model, url)

    def fetch(index: int) -> bool:
        seen = contents(cache_of(server, tmp_path / f"cache-{index}").folder(url))
        return seen["a.json"] == seen["b.json"]

    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(fetch, index) for index in range(8)]
        for number in (b"1", b"2", b"3"):
            push(server, write(model, {"a.json": number, "b.json": number}), url)
        assert all(future.result() for future in waiting)
