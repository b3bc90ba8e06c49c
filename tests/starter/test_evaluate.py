"""The report on the starter model: what is asked, how it is counted, how it is written down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from imagegen.generation import RenderSpec
from imagegen.starter.evaluate import (
    BEGIN,
    END,
    Row,
    held_out_scenes,
    judge_starter,
    sheet,
    write_card,
)
from imagegen.starter.judge import Judge
from imagegen.starter.scenes import Scene, draw, is_held_out

pytestmark = pytest.mark.torch


def test_more_than_three_hundred_unseen_scenes_are_asked_for_half_in_unseen_words() -> None:
    asked = held_out_scenes(None)
    assert len(asked) >= 300
    assert all(is_held_out(scene.triple) for scene, _, _ in asked)
    assert len({scene.triple for scene, _, _ in asked}) == len(asked)
    assert abs(sum(new for _, _, new in asked) - len(asked) / 2) <= 1
    assert asked == held_out_scenes(None), "the same questions every time"


def test_a_row_says_whether_its_goal_is_met() -> None:
    assert Row("object right", 93.0, 93).met
    assert not Row("object right", 92.9, 93).met
    assert Row("distance", 50.0, 50, at_most=True).met
    assert not Row("distance", 50.1, 50, at_most=True).met
    assert str(Row("PSNR", 31.96, 32, unit="dB")) == "| PSNR | 32.0 dB | ≥ 32 dB | **no** |"


class Draughtsman:
    """In place of the model: draws what it is told to, so that every count is known."""

    model = SimpleNamespace(native_px=64)

    def __init__(self, scenes: Sequence[Scene]) -> None:
        self._scenes = scenes

    def render(self, specs: Sequence[RenderSpec]) -> Iterator[Image.Image]:
        assert [spec.seed for spec in specs] == list(range(len(self._scenes)))
        return (draw(scene, 64, 64) for scene in self._scenes)


class SeesTheTruth(Judge):
    def __init__(self, scenes: Sequence[Scene]) -> None:
        super().__init__()
        self._scenes = iter(scenes)

    def verdict(self, picture: Image.Image) -> tuple[str, str]:
        scene = next(self._scenes)
        return scene.object, scene.colour


def test_a_model_that_draws_as_asked_has_everything_right() -> None:
    scenes = [scene for scene, _, _ in held_out_scenes(12)]
    rows, pictures, faults = judge_starter(Draughtsman(scenes), SeesTheTruth(scenes), 12)
    assert [row.value for row in rows] == [100.0] * 6
    assert len(pictures) == 12
    assert faults == []


def test_what_is_not_as_asked_is_counted_and_told() -> None:
    asked = held_out_scenes(4)
    shown = [Scene(each.object, each.colour, "pink") for each, _, _ in asked]
    rows, _, faults = judge_starter(Draughtsman(shown), SeesTheTruth(shown), 4)
    wrong = [words for scene, words, _ in asked if scene.background != "pink"]
    assert len(faults) == len(wrong) > 0
    assert all(any(repr(words) in fault for fault in faults) for words in wrong)
    assert {row.name.split(" right")[0] for row in rows if row.value < 100} == {"background colour"}


def test_the_card_keeps_its_words_around_the_figures(tmp_path: Path) -> None:
    card = tmp_path / "starter.md"
    card.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_card(card, [Row("object right", 95.0, 93)], "cpu")
    once = card.read_text()
    write_card(card, [Row("object right", 95.0, 93)], "cpu")
    assert card.read_text() == once
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert "| object right | 95.0 % | ≥ 93 % | yes |" in once
    assert "old" not in once


def test_a_sheet_has_a_place_for_each_picture() -> None:
    assert sheet([Image.new("RGB", (64, 32))] * 5, columns=2).size == (256, 384)
