"""The benchmarks' own arithmetic, and that each runs: their figures are not a test's business."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench import report
from bench.alike import OtherPictures, how_alike, psnr_db
from bench.machine import Machine
from bench.pairs import Comparison, Goal, in_turn, run_benchmark, table, write_results

MACHINE = Machine("0123456789ab", True, "a processor, 2 cores", {"python": "3.11"}, "2026-01-02")


def comparison(*pairs: tuple[float, float], goals: tuple[Goal, ...] = ()) -> Comparison:
    return Comparison("what", "pictures/s", "naive", "imagegen", pairs, goals, "the same")


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (8, 8, 3)).astype(np.uint8)


def test_sides_run_in_turn_after_one_warm_up_each() -> None:
    calls: list[str] = []

    def side(name: str) -> float:
        calls.append(name)
        return float(len(calls))

    pairs = in_turn(lambda: side("A"), lambda: side("B"), 2)
    assert "".join(calls) == "ABABAB"
    assert pairs == ((3, 4), (5, 6))


def test_the_ratio_is_taken_within_each_pair() -> None:
    """A machine that became ten times slower midway does not change it."""
    each = comparison((1, 3), (0.1, 0.3), (10, 20))
    assert each.ratios == pytest.approx([3, 3, 2])
    facts = each.to_json()
    assert facts["ratio"] == pytest.approx({"median": 3, "min": 2, "max": 3})
    assert (facts["other_median"], facts["ours_median"]) == (1, 3)


@pytest.mark.parametrize(
    ("goals", "met"),
    [
        ((), None),
        ((Goal("ratio", ">=", 1.1),), True),
        ((Goal("ratio", ">=", 1.11),), False),
        ((Goal("ratio", "<=", 1.02),), False),
        ((Goal("difference", "<=", 10),), True),
        ((Goal("difference", "<=", 9.9),), False),
        ((Goal("ratio", "<=", 1.02), Goal("difference", "<=", 10)), True),
        ((Goal("figure", "<=", 110),), True),
        ((Goal("figure", "<=", 109),), False),
    ],
)
def test_one_goal_of_several_is_enough(goals: tuple[Goal, ...], met: bool | None) -> None:
    assert comparison((100, 110), (100, 110), goals=goals).met is met


def test_the_table_says_where_we_lose() -> None:
    lines = table([comparison((2, 1), goals=(Goal("ratio", ">=", 2.5),))]).splitlines()
    assert " ".join(lines[1].split()) == "what 2 1 pictures/s 0.5 0.5-0.5 ratio >= 2.5 MISSED"


def test_psnr() -> None:
    black, grey = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    assert psnr_db(black, grey) == 0
    assert psnr_db(noise(1), noise(1)) == float("inf")
    one_off = noise(1) ^ 1
    assert psnr_db(noise(1), one_off) == pytest.approx(48.13, abs=0.01)  # 20 log10(255)


def test_other_pictures_are_no_comparison() -> None:
    assert how_alike([noise(1)], [noise(1)]) == "1 pictures, the same on both sides"
    assert how_alike([noise(1), noise(2)], [noise(1), noise(2) ^ 1]).endswith("48.1 dB")
    with pytest.raises(OtherPictures, match=r"PSNR \d"):
        how_alike([noise(1), noise(2)], [noise(1), noise(3)])
    with pytest.raises(OtherPictures, match="one colour"):
        how_alike([np.zeros_like(noise(1))], [np.zeros_like(noise(1))])
    with pytest.raises(OtherPictures, match="one picture is"):
        how_alike([noise(1)], [noise(1)[:4]])


def test_a_run_writes_what_it_has_before_it_fails(tmp_path: Path) -> None:
    def measure(_options: object) -> object:
        yield comparison((1, 2))
        raise RuntimeError("the machine was taken away")

    with pytest.raises(RuntimeError):
        run_benchmark("some", "…", measure, ["--results", str(tmp_path), "--commit", "abc"])
    facts = json.loads((tmp_path / "some.json").read_text())
    assert [each["pairs"] for each in facts["comparisons"]] == [[[1, 2]]]
    assert facts["machine"]["commit"] == "abc"
    assert {"python", "torch", "diffusers"} <= set(facts["machine"]["versions"])


def test_a_smoke_run_writes_no_result(capsys: pytest.CaptureFixture[str]) -> None:
    def measure(options: object) -> object:
        assert (options.pairs, options.smoke) == (1, True)
        yield comparison((1, 2))

    assert run_benchmark("smoke-of-a-test", "…", measure, ["--smoke"]) == 0
    assert "naive" not in capsys.readouterr().err
    assert not (report.RESULTS / "smoke-of-a-test.json").exists()


def test_the_page_gets_a_line_for_each_comparison(tmp_path: Path) -> None:
    lost = comparison((2000, 1), goals=(Goal("ratio", ">=", 2.5),))
    write_results("some", "…", [comparison((1, 3), (2, 3)), lost], MACHINE, tmp_path)
    page = "a\n<!-- results: some -->\nold\n<!-- end -->\nb\n<!-- results: none -->\n<!-- end -->\n"
    written = report.with_results(page, tmp_path)
    assert "| what | 1.5 | 3 | pictures/s | **2.25** (1.5 – 3) |  |  |\n" in written
    assert "| what | 2,000 | 1 | pictures/s | **0.0005** (0.0005 – 0.0005) | ratio ≥ 2.5 | **missed** |" in written  # fmt: skip  # noqa: E501
    assert "a processor, 2 cores; commit `0123456789ab` with changes; 2026-01-02 UTC" in written
    assert "old" not in written
    assert written.endswith("<!-- results: none -->\nNot measured yet.\n<!-- end -->\n")
    assert report.with_results(written, tmp_path) == written


def test_the_page_says_what_the_results_say() -> None:
    page = report.PAGE.read_text()
    assert report.with_results(page, report.RESULTS) == page, "run python -m bench.report"


def test_every_result_has_its_place_on_the_page() -> None:
    page = report.PAGE.read_text()
    for file in report.RESULTS.glob("*.json"):
        assert f"<!-- results: {file.stem} -->" in page


def test_calls_of_the_denoiser_are_counted_from_what_moves() -> None:
    join = pytest.importorskip("bench.join")
    calls = join.Calls(steps_to_half_way=3)
    for picture in (0, 1, 0):
        calls.hear(picture)
    assert calls.half_way.is_set()
    assert calls.last == 2
    for picture in (1, 0, 1, 8):  # the second call ends, and the ninth joins in the third
        calls.hear(picture)
    assert calls.first[8] == 3


@pytest.mark.torch
@pytest.mark.parametrize("name", ["gpu", "join", "switch"])
def test_a_smoke_run_ends_well(name: str, tmp_path: Path) -> None:
    """gpu's is also that of mixed, overhead and tax: it calls theirs."""
    module = pytest.importorskip(f"bench.{name}")
    arguments = ["--smoke", "--results", str(tmp_path)]
    assert run_benchmark(name, str(module.__doc__), module.measure, arguments) == 0
    comparisons = json.loads((tmp_path / f"{name}.json").read_text())["comparisons"]
    assert all(min(pair) > 0 for each in comparisons for pair in each["pairs"])
