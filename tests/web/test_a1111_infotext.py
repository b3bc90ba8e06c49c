"""AUTOMATIC1111's text about a picture, ours and that of others, taken apart."""

from __future__ import annotations

import time

import pytest
from sample_rendering import RECORD, rendering

from imagegen.provenance import a1111_parameters
from imagegen.web.a1111.infotext import parse_infotext

FOREIGN = """\
masterpiece, (a cat:1.2),
<lora:cat:0.8>
Negative prompt: lowres, bad
hands
Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 0, Size: 512x768, \
Model: "a, b: c", Lora hashes: "cat: 0123", Version: v1.10.1"""


def test_a_text_of_ours() -> None:
    found = parse_infotext(a1111_parameters(rendering(), RECORD))
    assert found == {
        "Prompt": "a red mug", "Negative prompt": "text, watermark", "Steps": "20",
        "Sampler": "DPM++ 2M", "Schedule type": "Karras", "CFG scale": "5.5", "Seed": "0",
        "Size-1": "64", "Size-2": "48", "Model hash": "ab" * 5, "Model": "starter",
        "Lora hashes": "aurora: cdcdcdcdcdcd", "Version": "imagegen 0.1.0",
    }  # fmt: skip


def test_a_text_of_somebody_else() -> None:
    found = parse_infotext(FOREIGN)
    assert found["Prompt"] == "masterpiece, (a cat:1.2),\n<lora:cat:0.8>"
    assert found["Negative prompt"] == "lowres, bad\nhands"
    assert (found["Model"], found["Seed"], found["Size-2"]) == ("a, b: c", "0", "768")


@pytest.mark.parametrize(
    ("text", "prompt", "negative"),
    [
        ("a mug", "a mug", ""),
        ("a mug, Steps: 1, Seed: 2", "a mug, Steps: 1, Seed: 2", ""),
        ("a mug\nNegative prompt: blue", "a mug", "blue"),
        ("Negative prompt: blue\nSteps: 1, Sampler: Euler, Seed: 2", "", "blue"),
        ("Steps: 1, Sampler: Euler, Seed: 2", "", ""),
        ("x\nSteps: 1, Sampler: Euler, Seed: 1\ny", "x\nSteps: 1, Sampler: Euler, Seed: 1\ny", ""),
    ],
)
def test_texts_with_less_in_them(text: str, prompt: str, negative: str) -> None:
    found = parse_infotext(text)
    assert (found["Prompt"], found["Negative prompt"]) == (prompt, negative)


@pytest.mark.parametrize("text", ["", " \n "])
def test_no_text(text: str) -> None:
    assert parse_infotext(text) == {}


@pytest.mark.parametrize("piece", ["a", "a ", "a: ", 'a: "', 'a: "\\', "a: b,", "\n", "Size: 1x1,"])
def test_a_hostile_text_costs_no_more_than_its_length(piece: str) -> None:
    began = time.process_time()
    parse_infotext("x\n" + piece * 100_000)
    assert time.process_time() - began < 2
