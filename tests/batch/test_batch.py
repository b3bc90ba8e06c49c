"""Batches: rendered by the real engine with the fake renderer, killed, resumed and asked again."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagegen.application import Application
from imagegen.batch.image_source import Delivery, LocalImages, checks_of
from imagegen.batch.manifest import ManifestRow
from imagegen.batch.output_folder import JOURNAL, OutputFolder
from imagegen.batch.run import Batch, Outcome, checked, file_names
from imagegen.batch.script import PromptScript, read_script
from imagegen.bootstrap import build
from imagegen.client.pace import Pace
from imagegen.errors import ModelLoading, OutputInUse, QueueFull
from imagegen.generation import GenerationRequest
from imagegen.settings import Settings

SLOW_ROWS = 8
PRESET = "name: Plain\nbanned_terms: [casino]\ndefaults: {width: 16, height: 16}\n"


@pytest.fixture(scope="module")
def presets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("presets")
    (folder / "plain").mkdir()
    (folder / "plain" / "preset.yaml").write_text(PRESET)
    return folder


@pytest.fixture(scope="module")
def application(presets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    storage = tmp_path_factory.mktemp("storage")
    made = build(Settings(model="fake", presets=str(presets), storage=f"file:{storage}"))
    made.start()
    made.engine.wait_ready(60)
    yield made
    made.stop()


@pytest.fixture
def source(application: Application) -> LocalImages:
    return LocalImages(application.service)


def script_of(folder: Path, text: str, **variables: list[str]) -> PromptScript:
    path = folder / "script.csv"
    path.write_text(text)
    return read_script(path, variables)


def run(
    script: PromptScript,
    folder: Path,
    source: LocalImages,
    on_row: Callable[[ManifestRow], None] = lambda row: None,
    *,
    retry_failed: bool = False,
) -> Outcome:
    with OutputFolder(folder) as output:
        batch = Batch("script.csv", script, output, retry_failed=retry_failed)
        batch.run(source, Pace(3), on_row)
        return batch.finish()


def manifest(folder: Path) -> list[dict[str, object]]:
    rows = json.loads((folder / "manifest.json").read_text())["rows"]
    assert isinstance(rows, list)
    return rows


def journal(folder: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (folder / JOURNAL).read_text().splitlines()]
    return [line for line in lines if "key" in line]  # another one names the folder


def test_every_row_has_its_pictures_and_its_place_in_the_manifest(tmp_path, source, application):
    script = script_of(
        tmp_path,
        "brand,prompt,num_images,seed,output_format\n"
        'plain,"ein {what}, 東京 <b>&""</b>",2,7,jpeg\n'
        "plain,=1+1,,,\nplain,!nan,,,\nplain,casino,,,\nplian,x,,,\nplain,twice,,,\nplain,twice,,,\n",
        what=["mug"],
    )
    told: list[ManifestRow] = []
    folder = tmp_path / "out"
    script = checked(script, checks_of(application.catalog))
    outcome = run(script, folder, source, told.append)

    assert outcome == Outcome(succeeded=4, failed=1, invalid=2, pending=0)
    assert not outcome.complete
    assert sorted(row.line for row in told) == [2, 3, 4, 7, 8]
    rows = {row["line"]: row for row in manifest(folder)}
    assert list(rows) == [2, 3, 4, 5, 6, 7, 8]
    assert rows[4]["error_code"] == "render_failed"
    assert "casino" in str(rows[5]["error"])
    assert "did you mean plain?" in str(rows[6]["error"])
    assert [image["seed"] for image in rows[2]["generation"]["images"]] == [7, 8]
    for row in rows.values():
        images = row["generation"]["images"] if row["generation"] else []
        for name, image in zip(row["files"], images, strict=True):
            data = (folder / name).read_bytes()
            assert hashlib.sha256(data).hexdigest() == image["sha256"]
    assert [Path(name).suffix for name in rows[2]["files"]] == [".jpg", ".jpg"]
    assert rows[7]["files"] != rows[8]["files"]
    with (folder / "manifest.csv").open(encoding="utf-8-sig", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["status"] for row in table].count("succeeded") == 4
    assert table[1]["prompt"] == "'=1+1"  # no spreadsheet runs it
    page = (folder / "contact-sheet.html").read_text()
    assert 'alt="ein mug, 東京 &lt;b&gt;&amp;&quot;&lt;/b&gt;"' in page
    assert "<b>" not in page
    assert page.count("<img ") == 5


def test_finished_rows_are_skipped_lost_ones_run_again_failed_ones_when_told(tmp_path, source):
    script = script_of(tmp_path, "brand,prompt\nplain,one\nplain,two\nplain,!nan\n")
    folder = tmp_path / "out"
    assert run(script, folder, source) == Outcome(2, 1, 0, 0)
    before = {path.name: path.read_bytes() for path in folder.glob("*.png")}
    [lost, cut] = sorted(before)
    (folder / lost).unlink()
    (folder / cut).write_bytes(before[cut][:100])

    again: list[ManifestRow] = []
    assert run(script, folder, source, again.append) == Outcome(2, 1, 0, 0)
    assert sorted(row.line for row in again) == [2, 3]
    # The same rows have the same seeds, hence the same pixels; only the record's ids are new.
    seeds = [image["seed"] for row in journal(folder) if row["status"] == "succeeded"
             for image in row["generation"]["images"]]  # fmt: skip
    assert len(seeds) == 4
    assert len(set(seeds)) == 2

    third: list[ManifestRow] = []
    run(script, folder, source, third.append, retry_failed=True)
    assert [row.line for row in third] == [4]
    attempts = [row["attempt"] for row in journal(folder) if row["status"] == "failed"]
    assert attempts == [1, 2], "another attempt is another request"


def test_a_script_that_changes_between_runs_renders_what_is_new(tmp_path, source):
    folder = tmp_path / "out"
    run(script_of(tmp_path, "brand,prompt\nplain,one\nplain,two\n"), folder, source)
    told: list[ManifestRow] = []
    changed = script_of(tmp_path, "brand,prompt\nplain,zero\nplain,two\nplain,one\nplain,one\n")
    outcome = run(changed, folder, source, told.append)
    assert sorted(row.line for row in told) == [2, 5]
    assert outcome == Outcome(succeeded=4, failed=0, invalid=0, pending=0)
    assert outcome.complete
    files = [name for row in manifest(folder) for name in row["files"]]
    assert len(set(files)) == 4
    assert len(list(folder.glob("*.png"))) == 4


def test_a_torn_or_damaged_journal_costs_only_its_damaged_lines(tmp_path, source):
    script = script_of(tmp_path, "brand,prompt\nplain,one\nplain,two\nplain,three\n")
    folder = tmp_path / "out"
    run(script, folder, source)
    head, first, second, third = (folder / JOURNAL).read_bytes().splitlines(keepends=True)
    (folder / JOURNAL).write_bytes(head + first + b"\xff\x00 not JSON\n[]\n" + second + third[:-30])
    (folder / ".half.png.part").write_bytes(b"x")
    told: list[ManifestRow] = []
    assert run(script, folder, source, told.append).complete
    assert len(told) == 1
    assert journal_lines_that_parse(folder) == 4
    assert not list(folder.glob(".*.part"))


def journal_lines_that_parse(folder: Path) -> int:
    parsed = 0
    for line in (folder / JOURNAL).read_bytes().splitlines():
        try:
            parsed += isinstance(json.loads(line), dict)
        except ValueError:
            continue
    return parsed


def test_a_journal_cannot_point_out_of_its_folder(tmp_path, source):
    script = script_of(tmp_path, "brand,prompt\nplain,one\n")
    folder = tmp_path / "out"
    run(script, folder, source)
    [picture] = folder.glob("*.png")
    picture.rename(tmp_path / "elsewhere.png")
    line = (folder / JOURNAL).read_text().replace(picture.name, "../elsewhere.png")
    (folder / JOURNAL).write_text(line)
    with OutputFolder(folder) as output:
        assert len(Batch("script.csv", script, output).todo) == 1


def test_two_batches_never_share_a_folder(tmp_path):
    with (
        OutputFolder(tmp_path / "out"),
        pytest.raises(OutputInUse, match="another batch"),
        OutputFolder(tmp_path / "out"),
    ):
        pass
    with OutputFolder(tmp_path / "out"):
        pass  # given back


class Refusing:
    """Says "not now" `refusals` times to everybody, and remembers who asked how often."""

    def __init__(self, source: LocalImages, refusals: int) -> None:
        self._source = source
        self._refusals = refusals
        self.asked: dict[str, int] = {}
        self._lock = threading.Lock()

    def generate(
        self, request: GenerationRequest, key: str | None, wanted: Callable[[], bool]
    ) -> Delivery:
        with self._lock:
            self.asked[request.prompt] = self.asked.get(request.prompt, 0) + 1
        if self.asked[request.prompt] <= self._refusals:
            raise QueueFull("64 pictures wait", retry_after_s=0.01)
        return self._source.generate(request, key, wanted)


def test_not_now_is_waited_for(tmp_path, source):
    script = script_of(tmp_path, "brand,prompt\nplain,one\nplain,two\n")
    refusing = Refusing(source, 2)
    with OutputFolder(tmp_path / "out") as output:
        batch = Batch("script.csv", script, output)
        batch.run(refusing, Pace(2), lambda row: None)
        assert batch.finish().complete
    assert refusing.asked == {"one": 3, "two": 3}


def test_not_now_for_too_long_ends_the_run_with_the_rest_pending(tmp_path):
    class Loading:
        def generate(
            self, request: GenerationRequest, key: str | None, wanted: Callable[[], bool]
        ) -> Delivery:
            raise ModelLoading("the model is loading", retry_after_s=30)

    rows = "".join(f"plain,{number}\n" for number in range(5))
    script = script_of(tmp_path, "brand,prompt\n" + rows)
    with OutputFolder(tmp_path / "out") as output:
        batch = Batch("script.csv", script, output, patience_s=5)
        batch.run(Loading(), Pace(1), lambda row: None)
        assert batch.finish() == Outcome(succeeded=0, failed=0, invalid=0, pending=5)
        assert isinstance(batch.gave_up, ModelLoading)
    assert [row["status"] for row in manifest(tmp_path / "out")] == ["pending"] * 5


def test_a_source_that_breaks_is_not_waited_for_for_ever(tmp_path):
    class Broken:
        def generate(
            self, request: GenerationRequest, key: str | None, wanted: Callable[[], bool]
        ) -> Delivery:
            raise KeyError("a bug")

    script = script_of(tmp_path, "brand,prompt\nplain,one\nplain,two\n")
    with OutputFolder(tmp_path / "out") as output, pytest.raises(KeyError, match="a bug"):
        Batch("script.csv", script, output).run(Broken(), Pace(2), lambda row: None)


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("A red mug!", "plain-a-red-mug-0123456789ab.png"),
        ("../../etc/passwd", "plain-etc-passwd-0123456789ab.png"),
        ("?!/\\", "plain-0123456789ab.png"),
        ("東京の" * 500, f"plain-{('東京の' * 20)[:40]}-0123456789ab.png"),
    ],
)
def test_files_have_readable_names_that_stay_in_the_folder(prompt, name):
    request = GenerationRequest(brand="plain", prompt=prompt)
    assert file_names(request, "0123456789abcdef") == [name]
    longest = GenerationRequest(brand="b" * 63, prompt="😀" * 3 + "\U00020000" * 90, num_images=8)
    assert all(len(f".{one}.part".encode()) <= 255 for one in file_names(longest, "0" * 16))


def start(folder: Path, presets: Path, *options: str) -> subprocess.Popen[bytes]:
    """A batch as a process of its own."""
    settings = {
        "IMAGEGEN_MODEL": "fake",
        "IMAGEGEN_PRESETS": str(presets),
        "IMAGEGEN_STORAGE": f"file:{folder / 'storage'}",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "imagegen", "batch", "script.csv", "-o", "out", *options],
        cwd=folder, env=os.environ | settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # a shell that runs the tests in the background makes its children deaf to Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )  # fmt: skip


def wait_for_rows(folder: Path, count: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        path = folder / "out" / JOURNAL
        if path.exists() and path.read_bytes().count(b"\n") > count:
            return
        time.sleep(0.02)
    pytest.fail(f"no {count} rows within a minute")


def slow_script(folder: Path) -> PromptScript:
    rows = "".join(f"plain,!slow {number},1\n" for number in range(SLOW_ROWS))
    return script_of(folder, "brand,prompt,num_inference_steps\n" + rows)


def test_killed_midway_and_run_again_nothing_is_lost_or_redone(tmp_path, presets):
    slow_script(tmp_path)
    process = start(tmp_path, presets)
    wait_for_rows(tmp_path, 2)
    process.kill()
    process.communicate()
    before = journal(tmp_path / "out")
    assert 2 <= len(before) < SLOW_ROWS
    assert not (tmp_path / "out" / "manifest.json").exists()

    again = start(tmp_path, presets)
    out, err = again.communicate(timeout=60)
    assert again.returncode == 0, err.decode()
    assert f"{len(before)} finished before" in err.decode()
    assert out.count(b"->") == SLOW_ROWS - len(before)
    after = journal(tmp_path / "out")
    assert after[: len(before)] == before
    assert len({row["key"] for row in after}) == len(after) == SLOW_ROWS
    assert {row["status"] for row in manifest(tmp_path / "out")} == {"succeeded"}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_a_manifest_and_goes_at_once(tmp_path, presets, how):
    slow_script(tmp_path)
    process = start(tmp_path, presets)
    wait_for_rows(tmp_path, 1)
    process.send_signal(how)
    started_s = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - started_s < 5
    assert process.returncode == 130
    assert b"Traceback" not in err
    assert b" pending; pictures and manifest are in out\nimagegen: interrupted\n" in err
    statuses = [row["status"] for row in manifest(tmp_path / "out")]
    assert len(statuses) == SLOW_ROWS
    assert set(statuses) == {"succeeded", "pending"}


def test_a_reader_that_leaves_stops_the_batch_quietly(tmp_path, presets):
    slow_script(tmp_path)
    process = start(tmp_path, presets, "--json")
    assert process.stdout is not None
    assert process.stderr is not None
    json.loads(process.stdout.readline())
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 1
    assert b"Traceback" not in err
    assert b"BrokenPipe" not in err
    assert (tmp_path / "out" / "manifest.json").exists()
