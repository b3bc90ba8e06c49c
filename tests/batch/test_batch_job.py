"""Batches as tasks of a Cloud Run job: no disk, a real bucket server, killed and retried."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from fake_bucket import FakeBucket, running_bucket_server

from imagegen import cli
from imagegen.batch.output import OpenFile, RowResult
from imagegen.batch.output_bucket import OutputBucket
from imagegen.batch.script import PromptScript
from imagegen.storage.bucket_folder import ABSENT, BucketFolder

PRESET = "name: Plain\nbanned_terms: [casino]\ndefaults: {width: 16, height: 16}\n"
OUTPUT = "batches/winter"


@pytest.fixture(scope="module")
def server() -> Iterator[FakeBucket]:
    with running_bucket_server() as running:
        yield running


@pytest.fixture
def bucket(server: FakeBucket, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh bucket, which Google's library finds by itself, here and in child processes."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.endpoint)
    return server.new()


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    (tmp_path / "brand_presets" / "plain").mkdir(parents=True)
    (tmp_path / "brand_presets" / "plain" / "preset.yaml").write_text(PRESET)
    return tmp_path


def put(server: FakeBucket, bucket: str, name: str, text: str) -> None:
    server.client.bucket(bucket).blob(name).upload_from_string(text)


def names(server: FakeBucket, bucket: str, prefix: str) -> list[str]:
    return [blob.name for blob in server.client.list_blobs(bucket, prefix=prefix)]


def content(server: FakeBucket, bucket: str, name: str) -> bytes:
    return bytes(server.client.bucket(bucket).blob(name).download_as_bytes())


def manifest(server: FakeBucket, bucket: str) -> list[dict[str, object]]:
    rows = json.loads(content(server, bucket, f"{OUTPUT}/manifest.json"))["rows"]
    assert isinstance(rows, list)
    return rows


def start(folder: Path, bucket: str, index: int, count: int) -> subprocess.Popen[str]:
    """One task of a job: the arguments and the environment of deploy/job.yaml."""
    settings = {
        "IMAGEGEN_MODEL": "fake",
        "IMAGEGEN_STORAGE": f"gs://{bucket}/pictures",
        "CLOUD_RUN_TASK_INDEX": str(index),
        "CLOUD_RUN_TASK_COUNT": str(count),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "imagegen", "batch", f"gs://{bucket}/scripts/winter.csv",
         "-o", f"gs://{bucket}/{OUTPUT}"],
        cwd=folder, env=os.environ | settings, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_two_tasks_render_every_row_once_and_leave_one_whole_manifest(server, bucket, workplace):
    rows = "".join(f"plain,number {number}\n" for number in range(9))
    put(server, bucket, "scripts/winter.csv", f"brand,prompt\n{rows}plain,casino\nplian,x\n")
    tasks = [start(workplace, bucket, index, 2) for index in range(2)]
    said = [task.communicate(timeout=120) for task in tasks]

    told = [[line.partition(":")[0] for line in out.splitlines()] for out, _ in said]
    assert sorted(told[0] + told[1]) == sorted(f"line {line}" for line in range(2, 13))
    assert [task.returncode for task in tasks] == [1, 1]  # each has a row that is wrong
    assert "task 1 of 2: 5 requests, 5 pictures; 1 bad row\n" in said[0][1]
    assert "task 2 of 2: 4 requests, 4 pictures; 1 bad row\n" in said[1][1]
    assert len(names(server, bucket, "pictures/plain/")) == 9, "none was rendered twice"
    whole = manifest(server, bucket)
    assert [row["line"] for row in whole] == list(range(2, 13))
    assert [row["status"] for row in whole] == ["succeeded"] * 9 + ["invalid"] * 2
    page = content(server, bucket, f"{OUTPUT}/contact-sheet.html").decode()
    for row in whole[:9]:
        [name] = row["files"]
        assert content(server, bucket, f"{OUTPUT}/{name}").startswith(b"\x89PNG")
        assert f'src="./{name}"' in page

    again = start(workplace, bucket, 0, 1)  # the same job with another number of tasks
    _, err = again.communicate(timeout=120)
    assert "11 requests" not in err
    assert "9 requests, 9 pictures; 2 bad rows; 9 finished before" in err
    assert len(names(server, bucket, "pictures/plain/")) == 9


def test_a_task_killed_midway_and_retried_repeats_no_finished_row(server, bucket, workplace):
    rows = "".join(f"plain,!slow {number},1\n" for number in range(16))
    put(server, bucket, "scripts/winter.csv", f"brand,prompt,num_inference_steps\n{rows}")
    killed = start(workplace, bucket, 1, 2)
    until = time.monotonic() + 60
    while len(names(server, bucket, f"{OUTPUT}/rows/")) < 2:
        assert time.monotonic() < until, "no two rows within a minute"
        time.sleep(0.02)
    killed.kill()
    killed.communicate()
    folder = BucketFolder(f"gs://{bucket}/{OUTPUT}")
    before = {name: found for name, found in folder.look().items() if name.startswith("rows/")}
    assert 2 <= len(before) < 8
    assert "manifest.json" not in folder.look()

    retried = start(workplace, bucket, 1, 2)
    out, err = retried.communicate(timeout=120)
    assert retried.returncode == 0, err
    assert f"{len(before)} finished before" in err
    assert out.count("->") == 8 - len(before)
    after = folder.look()
    assert {name: after[name] for name in before} == before, "written once, never again"
    statuses = [row["status"] for row in manifest(server, bucket)]
    assert statuses == ["pending", "succeeded"] * 8  # the other task has not run


def result_of(key: str) -> RowResult:
    return RowResult(key=key, status="failed", error_code="render_failed", error="no")


def test_of_two_tasks_that_end_together_the_later_has_the_earlier_ones_rows(server, bucket):
    url = f"gs://{bucket}/{OUTPUT}"
    with OutputBucket(BucketFolder(url)) as first, OutputBucket(BucketFolder(url)) as second:
        first.record([result_of("a")])
        second.record([result_of("b")])
        asked: list[int] = []

        def write(output: OutputBucket, open_file: OpenFile) -> None:
            there = [key for key in "abc" if output.result(key)]
            for name in ("x.json", "y.csv"):
                with open_file(name) as file:
                    file.write(" ".join(there).encode())

        def slowly(open_file: OpenFile) -> None:
            write(first, open_file)
            if not asked:  # while the first makes its files, the second ends
                second.record([result_of("c")])
                second.publish(partial(write, second))
            asked.append(1)

        first.publish(slowly)
    assert len(asked) == 2
    for name in ("x.json", "y.csv"):
        assert content(server, bucket, f"{OUTPUT}/{name}") == b"a b c"


def test_what_somebody_deleted_cut_or_damaged_in_the_bucket_runs_again(server, bucket, workplace):
    put(server, bucket, "scripts/winter.csv", "brand,prompt\nplain,a\nplain,b\nplain,c\nplain,d\n")
    start(workplace, bucket, 0, 1).communicate(timeout=120)
    rows = {row["request"]["prompt"]: row for row in manifest(server, bucket)}
    there = server.client.bucket(bucket)
    there.blob(f"{OUTPUT}/{rows['a']['files'][0]}").delete()
    put(server, bucket, f"{OUTPUT}/{rows['b']['files'][0]}", "cut")
    put(server, bucket, f"{OUTPUT}/rows/{rows['c']['key']}.json", "{")
    out, err = start(workplace, bucket, 0, 1).communicate(timeout=120)
    assert "1 finished before" in err
    assert sorted(line.partition("  ->")[0] for line in out.splitlines()) == [
        "line 2: plain  a", "line 3: plain  b", "line 4: plain  c",
    ]  # fmt: skip


def test_a_script_in_a_bucket_has_its_pictures_beside_it(server, bucket, workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("IMAGEGEN_MODEL", "fake")
    put(server, bucket, "scripts/empty.csv", "brand,prompt\n")
    assert cli.main(["batch", f"gs://{bucket}/scripts/empty.csv"]) == 0
    assert sorted(names(server, bucket, "scripts/empty-pictures/")) == [
        f"scripts/empty-pictures/{name}"
        for name in ("batch-id", "contact-sheet.html", "manifest.csv", "manifest.json")
    ]


@pytest.mark.parametrize(
    ("arguments", "environ", "sentence"),
    [
        (["s.csv"], {"CLOUD_RUN_TASK_INDEX": "0", "CLOUD_RUN_TASK_COUNT": "1"},
         "a job's task loses its disk, and s-pictures with it"),
        (["s.csv"], {"CLOUD_RUN_TASK_INDEX": "2", "CLOUD_RUN_TASK_COUNT": "2"},
         "name no task of a job"),
        (["s.csv", "-o", "gs://no-such-bucket/x"], {}, "cannot list gs://no-such-bucket/x: 404"),
        (["gs://no-such-bucket/s.csv"], {}, "cannot read gs://no-such-bucket/s.csv: there is no"),
        (["gs://"], {}, "'gs:/' is not gs://bucket/prefix"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("bucket")
def test_what_a_job_cannot_do_is_one_sentence_and_exit_2(
    workplace, monkeypatch, capsys, arguments, environ, sentence
):
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("IMAGEGEN_MODEL", "fake")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    Path("s.csv").write_text("brand,prompt\nplain,x\n")
    assert cli.main(["batch", *arguments]) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1


def test_a_bucket_folder_replaces_only_what_it_has_seen(server, bucket):
    folder = BucketFolder(f"gs://{bucket}/a/b/")
    assert folder.look() == {}
    assert folder.read("x.json") is None
    assert folder.replace("x.json", b"1", ABSENT)
    assert not folder.replace("x.json", b"2", ABSENT)
    seen = folder.look()["x.json"]
    assert seen.size_bytes == 1
    assert folder.write("x.json", b"33") == folder.look()["x.json"] != seen
    assert not folder.replace("x.json", b"4", seen)
    assert folder.read("x.json") == b"33"
    assert names(server, bucket, "") == ["a/b/x.json"]
    with pytest.raises(ValueError, match="path"):
        folder.write("../x.json", b"")


def test_shares_are_disjoint_and_whole() -> None:
    for rows in range(12):
        script = PromptScript(tuple(range(rows)), tuple(range(100, 100 + rows // 3)))  # type: ignore[arg-type]
        for count in range(1, 6):
            shares = [script.share(index, count) for index in range(count)]
            assert sorted(row for share in shares for row in share.rows) == list(script.rows)
            assert sorted(r for share in shares for r in share.bad_rows) == list(script.bad_rows)
            sizes = [len(share.rows) for share in shares]
            assert max(sizes) - min(sizes) <= 1
