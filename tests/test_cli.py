"""The command line as people type it: exit codes, sentences, options that come from the request."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from sent_pictures import half_mask, scene

from imagegen import cli
from imagegen.batch.manifest import ManifestRow
from imagegen.commands.progress import (
    BatchProgress,
    RenderProgress,
    StepProgress,
)
from imagegen.engine.process import Progress
from imagegen.errors import StorageUnavailable
from imagegen.generation import GenerationRequest

PRESET = """\
name: Plain
description: No words of its own.
banned_terms: [casino]
defaults: {width: 16, height: 16}
"""


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one brand, and settings that need no torch."""
    (tmp_path / "brand_presets" / "plain").mkdir(parents=True)
    (tmp_path / "brand_presets" / "plain" / "preset.yaml").write_text(PRESET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMAGEGEN_MODEL", "fake")
    return tmp_path


def imagegen(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A real run, with torch out of reach: only rendering may need it."""
    (folder / "torch.py").write_text("raise ImportError('torch was imported')\n")
    path = os.pathsep.join([str(folder), str(Path(__file__).parents[1])])
    return subprocess.run(
        [sys.executable, "-m", "imagegen", *arguments],
        cwd=folder, env=os.environ | {"PYTHONPATH": path},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_generate_writes_the_pictures_it_names(workplace):
    done = imagegen(
        workplace, "generate", "--brand", "plain", "a red mug", "-o", "out", "--num-images", "2",
        "--seed", "7", "--output-format", "webp", "--guidance-scale", "0", "--exact",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.partition("  ")[2] for line in lines] == ["16 x 16  seed 7", "16 x 16  seed 8"]
    assert all((workplace / line.split("  ")[0]).stat().st_size for line in lines)


def test_generate_from_a_picture(workplace, capsys):
    scene(48, 32).save("mug.jpg")
    half_mask(48, 32).save("mask.png")
    assert cli.main([
        "generate", "--brand", "plain", "a blue mug", "--init-image", "mug.jpg",
        "--mask", "mask.png", "--strength", "0.5", "--json",
    ]) == 0  # fmt: skip
    answer = json.loads(capsys.readouterr().out)
    assert (answer["images"][0]["width"], answer["usage"]["steps"]) == (48, 10)
    assert Image.open(answer["files"][0]).getpixel((40, 5)) != scene(48, 32).getpixel((40, 5))


def test_a_folder_that_cannot_be_made_is_told_before_anything_is_rendered(workplace, capsys):
    (workplace / "taken").write_text("")
    assert cli.main(["generate", "--brand", "plain", "a mug", "-o", "taken"]) == 1
    assert capsys.readouterr().err == "imagegen: taken: File exists\n"
    assert not (workplace / "output").exists()  # no model was loaded, nothing stored


def test_generate_for_machines_and_the_same_seed_gives_the_same_picture(workplace, capsys):
    answers = []
    for _ in range(2):
        assert cli.main(["generate", "--brand", "plain", "a mug", "--seed", "0", "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert [answer["images"][0]["seed"] for answer in answers] == [0, 0]
    assert answers[0]["files"] != answers[1]["files"]
    assert all(Path(answer["files"][0]).is_file() for answer in answers)


def test_every_field_of_a_request_is_an_option_with_its_description(workplace, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(["generate", "--help"])
    assert left.value.code == 0
    told = " ".join(capsys.readouterr().out.split())
    for name, field in GenerationRequest.model_fields.items():
        if name != "prompt":
            assert f"--{name.replace('_', '-')}" in told
        assert (field.description or "?").replace("`", "").split(";")[0] in told
    assert "examples:" in told


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["generate", "--brand", "plian", "x"], "no brand 'plian' (did you mean plain?)"),
        (["generate", "--brand", "plain", ""], "prompt: must say something"),
        (["generate", "--brand", "plain", "a casino"], "does not allow 'casino'"),
        (["generate", "--brand", "plain", "x", "--format", "stroy"], "format"),
        (["generate", "--brand", "plain", "x", "--num-images", "9", "--seed", "1.5"],
         "--num-images: must be 8 or less; --seed: must be a whole number"),
        (["generate", "--brand", "plain", "x\udcff"], "prompt: must not contain control char"),
        (["generate", "--brand", "plain", "x", "--init-image", "empty.csv"],
         "--init-image: is no PNG, JPEG or WebP picture"),
        (["generate", "--brand", "plain", "x", "--strength", "0.5"],
         "--strength: goes with init_image"),
        (["generate", "--brand", "plain", "x", "--url", "ftp://x"], "no http(s) address"),
        (["batch", "none.csv"], "cannot read none.csv: No such file"),
        (["batch", "empty.csv"], "the script is empty"),
        (["batch", "typo.csv"], "unknown column 'promt' (did you mean prompt?)"),
        (["batch", "good.csv", "--var", "product"], "write --var product=mug,lamp"),
        (["presets", "show", "plane"], "did you mean plain?"),
        (["train-lora", "--brand", "plane", "--images", "."], "did you mean plain?"),
        (["train-lora", "--brand", "plain", "--images", "."], "training needs IMAGEGEN_MODEL"),
        (["train-lora", "--brand", "odd", "--images", "."], "preset.yaml:2: colour: is not a"),
        (["train-lora", "--brand", "bare", "--images", "."], "preset.yaml: there is no such file"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_and_exit_2(workplace, capsys, arguments, sentence):
    if arguments[0] == "train-lora":
        for brand in ("odd", "bare"):
            (workplace / "brand_presets" / brand).mkdir()
        (workplace / "brand_presets/odd/preset.yaml").write_text("name: Odd\ncolour: red\n")
    (workplace / "empty.csv").write_text("")
    (workplace / "typo.csv").write_text("brand,promt\nplain,x\n")
    (workplace / "good.csv").write_text("brand,prompt\nplain,x\n")
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err
    assert err.startswith("imagegen: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["paint"],
        ["generate", "x"],
        ["generate", "--brand", "plain"],
        ["generate", "--bra", "plain", "x"],
        ["batch", "f", "--url", "http://x", "--local"],
        ["batch", "f", "--concurrency", "0"],
        ["batch", "f", "--concurrency", "٣"],
        ["train-lora", "--brand", "plain", "--images", ".", "--steps", "0"],
        ["train-lora", "--brand", "plain", "--images", ".", "--rank", "-8"],
        ["starter", "train"],
    ],
)
def test_usage_is_exit_2(workplace, capsys, arguments):
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    assert left.value.code == 2
    assert "usage: imagegen" in capsys.readouterr().err


def test_a_bad_setting_stops_every_command(workplace, monkeypatch, capsys):
    monkeypatch.setenv("IMAGEGEN_DEVICE", "abacus")
    for arguments in (["serve"], ["presets", "list"], ["generate", "--brand", "plain", "x"]):
        assert cli.main(arguments) == 2
        assert "IMAGEGEN_DEVICE" in capsys.readouterr().err


def test_failures_that_may_pass_are_exit_1(workplace, monkeypatch, capsys):
    def unavailable(_: object) -> int:
        raise StorageUnavailable("the bucket does not answer", retry_after_s=5)

    monkeypatch.setattr(cli.rendering, "generate", unavailable)
    assert cli.main(["generate", "--brand", "plain", "x"]) == 1
    assert capsys.readouterr().err == "imagegen: the bucket does not answer\n"


def test_a_dry_run_of_a_thousand_rows_is_quick_and_leaves_nothing(workplace):
    lines = "".join(f'plain,"{{product}}, number {n} – ä"\n' for n in range(999)) + "plian,x\n"
    (workplace / "s.csv").write_text("brand,prompt\n" + lines)
    before = sorted(path.name for path in workplace.iterdir())
    started_s = time.monotonic()
    done = imagegen(workplace, "batch", "s.csv", "--dry-run", "--var", "product=mug,lamp")
    assert time.monotonic() - started_s < 20
    assert done.returncode == 1
    told = done.stdout.splitlines()
    assert told[0] == (
        "line 1001: invalid: no brand 'plian' (did you mean plain?); there are plain"
    )
    assert told[1] == "1,998 requests, 1,998 pictures; 1 bad row"
    assert told[2] == "GPU-seconds and cost are not known: nothing has been rendered there yet"
    assert told[3] == "  line 2: plain  mug, number 0 – ä"
    assert told[-1] == "  … and 1,993 more"
    assert sorted(path.name for path in workplace.iterdir()) == sorted([*before, "torch.py"])


def test_a_dry_run_for_machines(workplace, capsys):
    (workplace / "s.jsonl").write_text('{"brand": "plain", "prompt": "a"}\n{"brand": 7}\n')
    assert cli.main(["batch", "s.jsonl", "--dry-run", "--json"]) == 1
    *lines, last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["line"], line["status"]) for line in lines] == [(2, "invalid"), (1, "pending")]
    assert lines[1]["request"]["prompt"] == "a"
    assert last == {"requests": 1, "pictures": 1, "todo": 1, "estimate": None}


def test_a_dry_run_judges_by_earlier_runs(workplace, capsys):
    (workplace / "s.csv").write_text("brand,prompt\nplain,a\nplain,b\n")
    assert cli.main(["batch", "s.csv", "--zip"]) == 0
    with zipfile.ZipFile("s-pictures.zip") as archive:
        assert archive.testzip() is None
        names = {Path(name).name for name in archive.namelist()}
        page = archive.read("s-pictures/contact-sheet.html").decode()
    assert all(f'src="./{name}"' in page for name in names if name.endswith(".png"))
    assert names == {path.name for path in Path("s-pictures").iterdir()} - {
        "journal.jsonl", ".lock",
    }  # fmt: skip
    before = sorted(Path("s-pictures").iterdir())
    (workplace / "s.csv").write_text("brand,prompt,num_images\nplain,a,\nplain,c,3\n")
    capsys.readouterr()
    assert cli.main(["batch", "s.csv", "--dry-run", "--json"]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (last["requests"], last["pictures"], last["todo"]) == (2, 4, 1)
    assert last["estimate"]["pictures"] == 2
    assert last["estimate"]["gpu_s"] > 0
    assert last["estimate"]["source"] == "of earlier runs in s-pictures"
    assert cli.main(["batch", "s.csv", "--dry-run"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "2 requests, 4 pictures; 1 finished before"
    assert told[1].endswith("judged by 2 pictures of earlier runs in s-pictures")
    assert sorted(Path("s-pictures").iterdir()) == before


def test_a_zip_of_a_bucket_is_refused_before_anything_is_made(workplace, capsys):
    (workplace / "s.csv").write_text("brand,prompt\nplain,a\n")
    assert cli.main(["batch", "s.csv", "--zip", "-o", "gs://bucket/x"]) == 2
    assert "--zip is made of a folder on this machine" in capsys.readouterr().err


def test_a_script_without_rows_is_done_at_once_without_a_model(workplace):
    (workplace / "s.csv").write_text("brand,prompt\n")
    done = imagegen(workplace, "batch", "s.csv")
    assert (done.returncode, done.stdout) == (0, "")
    assert "no rows" in done.stderr
    assert "model" not in done.stderr
    assert (workplace / "s-pictures" / "contact-sheet.html").is_file()


def test_presets_list_show_and_check_need_no_torch(workplace):
    assert imagegen(workplace, "presets", "list").stdout.split() == [
        "plain", "Plain:", "No", "words", "of", "its", "own.",
    ]  # fmt: skip
    shown = json.loads(imagegen(workplace, "presets", "show", "plain", "--json").stdout)
    assert (shown["name"], shown["banned_terms"]) == ("Plain", ["casino"])
    good = imagegen(workplace, "presets", "check")
    assert good.returncode == 0
    assert good.stdout == (
        "brand_presets: every brand is in order; whether LoRAs and sizes fit fake was not checked: "
        "it is not a folder here\n"
    )


def test_presets_check_names_every_fault_and_exits_1(workplace):
    (workplace / "brand_presets" / "plain" / "preset.yaml").write_text("name: Plain\nnmae: x\n")
    (workplace / "brand_presets" / "bare").mkdir()
    found = imagegen(workplace, "presets", "check")
    assert found.returncode == 1
    assert "plain/preset.yaml:2: nmae" in found.stdout
    assert "bare/preset.yaml" in found.stdout
    faults = json.loads(imagegen(workplace, "presets", "check", "--json").stdout)["faults"]
    assert faults == found.stdout.splitlines()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_a_bar_and_failures_only():
    out, err = io.StringIO(), Terminal()
    progress = BatchProgress(4, out, err, as_json=False)
    request = {"brand": "plain", "prompt": "x"}
    progress.row(ManifestRow(2, "succeeded", "k", request))
    progress.row(ManifestRow(3, "failed", "k", request, error="\x1b[31mred\nline"))
    assert "2/4 · 1 without pictures · 0:00 left" in err.getvalue()
    assert out.getvalue() == "line 3: failed: \\x1b[31mred\\nline\n"
    progress.close()
    assert err.getvalue().endswith("\r\x1b[K")


def test_the_steps_of_a_request_fill_one_bar():
    err = Terminal()
    progress = RenderProgress(2, err)
    progress.hear(Progress(0, 1, 4, None))
    progress.hear(Progress(1, 3, 4, 61.2))
    assert err.getvalue().endswith("4/8 steps · 1:01 left")
    progress.close()
    assert err.getvalue().endswith("\r\x1b[K")


def test_training_is_told_in_few_lines_where_nobody_watches():
    err = io.StringIO()
    progress = StepProgress(err)
    for step in range(1, 121):
        progress.step(step, 120, 0.5)
    progress.close()
    assert err.getvalue().splitlines() == [
        f"step {step}/120  loss 0.5000" for step in (50, 100, 120)
    ]
