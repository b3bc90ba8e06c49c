"""`imagegen cost` as people type it, and its page."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from imagegen import cli
from imagegen.cost.assumptions import Assumptions
from imagegen.cost.scenarios import SCENARIOS

HEADER = "| option | default | what | where from |\n|---|--:|---|---|\n"


def test_without_a_trace_the_sample_prints_a_line_a_scenario(capsys):
    assert cli.main(["cost"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "a sparse working day (--trace FILE for your own): "
        "72 pages, 26 requests, 1 script, 133 pictures, 1 day"
    )
    assert [line[:23].strip() for line in lines[3:]] == [each.name for each in SCENARIOS]


def test_for_machines_with_everything_it_was_made_from(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("IMAGEGEN_USD_PER_HOUR", "2")
    (tmp_path / "t.csv").write_text("time\n100\n")
    arguments = ["cost", "--trace", str(tmp_path / "t.csv"), "--json", "--start-s", "80"]
    assert cli.main([*arguments, "--web-usd-per-hour", "0"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["trace"] == {"pages": 0, "requests": 1, "scripts": 0, "pictures": 1, "days": 1}
    assert said["prices"] == {"render_usd_per_hour": 2, "web_usd_per_hour": 0}
    assert said["assumptions"] == Assumptions(start_s=80).model_dump()
    ours = next(each for each in said["scenarios"] if each["scenario"] == "imagegen, one service")
    assert ours["usd"] == pytest.approx((80 + 7.95 + 900) / 3_600 * 2)


def test_the_slowest_that_may_be_assumed_has_an_end(capsys):
    slow = [f"--{name}-s=1000000" for name in ("start", "picture", "page", "idle-tail", "pend")]
    assert cli.main(["cost", *slow]) == 0
    assert "133 pictures" in capsys.readouterr().out


def test_the_plot_is_a_file(tmp_path, capsys):
    assert cli.main(["cost", "--plot", str(tmp_path / "day.svg")]) == 0
    assert capsys.readouterr().out.endswith(f"\n\nthe plot is in {tmp_path / 'day.svg'}\n")
    assert (tmp_path / "day.svg").read_text().startswith("<svg ")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--trace", "bad.csv"],
            "imagegen: bad.csv:3: kind: 'pge' is none of page, generate, batch",
        ),
        (["--trace", "nix.csv"], "imagegen: cannot read nix.csv: No such file or directory"),
        (["--picture-s", "3e9"], "imagegen: --picture-s: "),
        (["--max-batch", "0"], "imagegen: --max-batch: "),
        (["--idle-tail-s", "inf"], "imagegen: --idle-tail-s: "),
        (["--usd-per-hour", "-1"], "imagegen: --usd-per-hour: "),
        (["--warm-hours", "18-9"], "imagegen: --warm-hours: write two hours of a day"),
        (["--warm-hours", "9-25"], "imagegen: --warm-hours: write two hours of a day"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_2(tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    Path("bad.csv").write_text("time,kind\n1,page\n2,pge\n")
    assert cli.main(["cost", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(sentence)


def test_every_assumption_is_an_option_with_its_default(capsys):
    with pytest.raises(SystemExit):
        cli.main(["cost", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    for name, field in Assumptions.model_fields.items():
        assert f"--{name.replace('_', '-')} " in told
        assert f"{field.description} ({field.default})" in told


def assumptions_table() -> str:
    rows = []
    for name, field in Assumptions.model_fields.items():
        assert isinstance(field.json_schema_extra, dict)
        option, source = f"`--{name.replace('_', '-')}`", field.json_schema_extra["source"]
        rows.append(f"| {option} | {field.default} | {field.description} | {source} |\n")
    return HEADER + "".join(rows)


def test_the_page_has_every_assumption_and_its_source(repository):
    expected = assumptions_table()
    page = (repository / "docs" / "cost.md").read_text()
    assert expected in page, f"docs/cost.md should say:\n\n{expected}"


def test_the_page_shows_what_the_sample_comes_to(repository, tmp_path, capsys):
    assert cli.main(["cost"]) == 0
    expected = f"```\n{capsys.readouterr().out}```\n"
    page = (repository / "docs" / "cost.md").read_text()
    assert expected in page, f"docs/cost.md should say:\n\n{expected}"
    cli.main(["cost", "--plot", str(tmp_path / "cost.svg")])
    drawn = (repository / "docs" / "images" / "cost.svg").read_text()
    assert (tmp_path / "cost.svg").read_text() == drawn, "imagegen cost --plot draws it"


def test_the_benchmark_runs(repository):
    done = subprocess.run(
        [sys.executable, "-m", "bench.cost", "--smoke"],
        cwd=repository, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "sparse day" in done.stdout
