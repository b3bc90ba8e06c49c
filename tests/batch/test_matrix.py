"""YAML matrices: products, what is left out and what is added, and faults by their line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from imagegen.batch.matrix import MAX_REQUESTS
from imagegen.batch.script import PromptScript, read_script
from imagegen.errors import InvalidScript

MATRIX = """\
# the winter campaign
brand: [aurora, pop]
prompt:
  - a {colour} {product}
  - a landscape
variables:
  colour: [red, blue]
  product: [mug, 7]
format: [square, story]
num_images: 2
exclude:
  - {brand: pop, colour: blue}
  - {prompt: a landscape, format: [square, banner]}
include:
  - {brand: botanic, prompt: "a green leaf, {{really}}", format: null}
  - brand: [aurora, botanic]
    prompt: a {product} alone
    variables: {product: [book]}
    format: banner
    seed: 0
"""


def matrix(folder: Path, text: str, **variables: list[str]) -> PromptScript:
    path = folder / "campaign.yaml"
    path.write_text(text)
    return read_script(path, variables)


def test_the_product_less_what_is_excluded_and_more_what_is_included(tmp_path):
    script = matrix(tmp_path, MATRIX)
    assert not script.bad_rows
    rows = [(row.line, row.request) for row in script.rows]
    told = [(line, r.brand, r.prompt, r.format, r.num_images, r.seed == 0) for line, r in rows]
    coloured = [("aurora", c, p) for c in ("red", "blue") for p in ("mug", "7")]
    coloured += [("pop", "red", p) for p in ("mug", "7")]
    expected = [
        (3, brand, f"a {colour} {product}", size, 2, False)
        for brand, colour, product in coloured for size in ("square", "story")
    ]  # fmt: skip
    expected += [(3, brand, "a landscape", "story", 2, False) for brand in ("aurora", "pop")]
    expected += [(15, "botanic", "a green leaf, {really}", None, 2, False)]
    expected += [(16, b, "a book alone", "banner", 2, True) for b in ("aurora", "botanic")]
    assert sorted(told, key=str) == sorted(expected, key=str)


def test_variables_may_come_from_the_command_line_and_rows_from_include_alone(tmp_path):
    text = "include:\n- {brand: a, prompt: 'a {x}'}\n"
    script = matrix(tmp_path, text, x=["mug", "lamp"])
    assert [row.request.prompt for row in script.rows] == ["a mug", "a lamp"]
    assert [row.line for row in script.rows] == [2, 2]


def test_a_row_that_is_wrong_is_one_bad_row(tmp_path):
    script = matrix(tmp_path, "brand: a\nprompt: [good, '{y}']\nseed: 1.5\ninclude: [{brand: b}]\n")
    assert {bad.line: bad.message.partition(":")[0] for bad in script.bad_rows} == {
        2: "prompt", 4: "prompt",
    }  # fmt: skip
    assert not script.rows
    assert any("seed: must be a whole number" in bad.message for bad in script.bad_rows)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("brand: a\npromt: x\n", "campaign.yaml:2: unknown key 'promt' (did you mean prompt?)"),
        ("brand: a\nprompt: x\nvariables: {a: [1]}\n", "campaign.yaml:3: no prompt uses {a}"),
        ("brand: a\nprompt: x\nvariables: [1]\n", "campaign.yaml:3: write a table"),
        ("brand: a\nprompt: x\nexclude: {brand: a}\n", "campaign.yaml:3: exclude: write a list"),
        ("brand: a\nprompt: x\nexclude:\n- {brnd: a}\n", "campaign.yaml:4: unknown key 'brnd'"),
        ("brand: a\nprompt: x\ninclude:\n- aurora\n", "campaign.yaml:4: write a table"),
        ("brand: []\nprompt: x\n", "campaign.yaml:1: brand: write a text, a number or a list"),
        ("brand: a\nprompt: x\ncampaign: 2026-11-23\n", "campaign.yaml:3: campaign: write a text"),
        ("brand: a\nprompt: {x: y}\n", "campaign.yaml:2: prompt: write a text"),
        ("- brand: a\n", "campaign.yaml:1: write a table"),
        ("", "campaign.yaml:1: write a table"),
        ("brand: a\nbrand: b\n", "campaign.yaml:2: 'brand' is said twice, first on line 1"),
        ("a: &x [1]\nb: *x\n", "campaign.yaml:2: aliases"),
        ("brand: [a\n", "campaign.yaml:2"),
        ("brand: a\nprompt: '{a}{b}{c}{d}'\nvariables:\n"
         + "".join(f"  {name}: {list(range(60))}\n" for name in "abcd"),
         f"makes 12,960,000 requests; {MAX_REQUESTS:,} are taken at most"),
    ],
)  # fmt: skip
def test_faults_of_the_file_are_told_with_their_line(tmp_path, text, sentence):
    with pytest.raises(InvalidScript, match=re.escape(sentence)):
        matrix(tmp_path, text)
