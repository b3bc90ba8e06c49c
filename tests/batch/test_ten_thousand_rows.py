"""A campaign of ten thousand rows: killed twenty times at random instants, and the memory it takes.

The command is the real one. In place of an engine in a process of its own the FakeRenderer draws
rows where they are asked for, so that the batch's own work is what takes the time; and its runs are
forks of this process, which need not import everything again.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import signal
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import pytest

from imagegen import cli
from imagegen.batch.image_source import Delivery, checks_of, steps_in
from imagegen.bootstrap import load_brands
from imagegen.commands import batching
from imagegen.commands.rendering import Maker
from imagegen.encoding import write_png
from imagegen.engine.fake import FakeRenderer
from imagegen.generation import GeneratedImage, Generation, GenerationRequest
from imagegen.presets import PresetCatalog
from imagegen.settings import Settings

ROWS, KILLS = 10_000, 20
FEW_ROWS = 500
# A row's text, its request, where its line of the journal stands; not its pictures and its answer.
MOST_BYTES_A_ROW = 2_500
PRESET = "name: Plain\ndefaults: {width: 16, height: 16, num_inference_steps: 1}\n"


class Drawn:
    """An ImageSource: one step of the FakeRenderer. Who asked with which key goes into a log."""

    def __init__(self, catalog: PresetCatalog, log: Path) -> None:
        self._catalog = catalog
        self._renderer = FakeRenderer()
        self._model = self._renderer.load(lambda phase: None)
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def generate(
        self, request: GenerationRequest, key: str | None, wanted: Callable[[], bool]
    ) -> Delivery:
        os.write(self._log, f"{key} {request.prompt}\n".encode())
        preset = self._catalog.get(request.brand)
        [spec] = preset.resolve(request, self._model)
        picture = self._renderer.begin(spec)
        self._renderer.step([picture])
        [drawn] = self._renderer.finish([picture])
        data = write_png(drawn.pixels, drawn.width, drawn.height, {"prompt": request.prompt}, None)
        image = GeneratedImage(
            url="/images/x.png", storage_uri="file:///x.png", seed=spec.seed, width=drawn.width,
            height=drawn.height, content_type="image/png", size_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )  # fmt: skip
        generation = Generation(
            id=f"gen_{uuid.uuid4().hex[:20]}", status="succeeded", brand=request.brand,
            preset_version=preset.version, model="fake", created_at=datetime.now(UTC),
            images=(image,),
        )  # fmt: skip
        return Delivery(generation, (data,))


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "brand_presets" / "plain").mkdir(parents=True)
    (tmp_path / "brand_presets" / "plain" / "preset.yaml").write_text(PRESET)
    for name, count in (("many.csv", ROWS), ("few.csv", FEW_ROWS)):
        rows = "".join(f"plain,picture number {n} of a campaign\n" for n in range(count))
        (tmp_path / name).write_text("brand,prompt\n" + rows)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMAGEGEN_MODEL", "fake")
    catalog = load_brands(Settings.from_environment())[0]
    source = Drawn(catalog, tmp_path / "asked.log")
    there = Maker(checks_of(catalog), steps_in(catalog), lambda: nullcontext(source))
    monkeypatch.setattr(batching, "pictures_from", lambda arguments: there)
    return tmp_path


def start(script: str) -> int:
    """The process id of `imagegen batch SCRIPT`."""
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            code = cli.main(["batch", script])
        finally:
            os._exit(code)  # nothing of the test's own is taken down
    return pid


def ended(pid: int) -> tuple[int, int]:
    """(exit code or minus the signal, most memory it ever had in bytes)."""
    _, status, used = os.wait4(pid, 0)
    return os.waitstatus_to_exitcode(status), used.ru_maxrss * 1024


def size_of(journal: Path) -> int:
    return journal.stat().st_size if journal.exists() else 0


def wait_for_a_row(journal: Path) -> None:
    """Until the journal grows, or for ten seconds: all may be done already."""
    before, until = size_of(journal), time.monotonic() + 10
    while size_of(journal) == before and time.monotonic() < until:
        time.sleep(0.005)


def test_killed_twenty_times_every_row_is_there_exactly_once(workplace: Path) -> None:
    code, few_bytes = ended(start("few.csv"))
    assert code == 0
    os.truncate(workplace / "asked.log", 0)
    chance = random.Random(5)
    most_bytes, killed, progress = few_bytes, 0, []
    journal = workplace / "many-pictures" / "journal.jsonl"
    while killed < KILLS:
        pid = start("many.csv")
        if killed % 2:  # else also while it reads, before the first row
            wait_for_a_row(journal)
        time.sleep(chance.uniform(0.0, 0.9))
        os.kill(pid, signal.SIGKILL)
        code, used_bytes = ended(pid)
        most_bytes = max(most_bytes, used_bytes)
        killed += code == -signal.SIGKILL
        progress.append(size_of(journal))
    code, used_bytes = ended(start("many.csv"))
    assert code == 0
    most_bytes = max(most_bytes, used_bytes)
    sys.stdout.write(
        f"bytes of journal after each kill: {progress}; "
        f"{few_bytes / 1e6:.0f} MB for {FEW_ROWS} rows, {most_bytes / 1e6:.0f} MB for {ROWS}\n"
    )
    assert len(set(progress)) > 5, "no kills came while rows were drawn"

    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    recorded = [line["key"] for line in lines if "key" in line]
    assert len(recorded) == len(set(recorded)) == ROWS
    rows = json.loads((workplace / "many-pictures" / "manifest.json").read_text())["rows"]
    assert [row["line"] for row in rows] == list(range(2, ROWS + 2))
    assert {row["status"] for row in rows} == {"succeeded"}
    pictures = {path.name: path for path in (workplace / "many-pictures").glob("*.png")}
    assert sorted(name for row in rows for name in row["files"]) == sorted(pictures)
    for row in rows:
        data = pictures[row["files"][0]].read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["generation"]["images"][0]["sha256"]
    with (workplace / "many-pictures" / "manifest.csv").open(encoding="utf-8-sig") as table:
        assert sum(1 for _ in csv.reader(table)) == ROWS + 1
    assert not list((workplace / "many-pictures").glob(".*.part"))

    asked = (workplace / "asked.log").read_text().splitlines()
    assert len(asked) < ROWS + KILLS * 64, "no more than what was under way is asked for again"
    assert len(set(asked)) == ROWS, "and with the same key, so that a service has it already"
    assert len({line.split(" ")[0] for line in asked}) == ROWS
    assert most_bytes - few_bytes < (ROWS - FEW_ROWS) * MOST_BYTES_A_ROW
