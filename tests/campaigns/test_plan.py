"""What is pasted is read as its writer means it, and refused by line."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from sample_brands import write_brands
from sample_rendering import MODEL

from imagegen.callers import Caller
from imagegen.campaigns.plan import MOST_ROWS, Pasted, Plan, plan_of
from imagegen.errors import InvalidRequest
from imagegen.generation import Generation, Usage
from imagegen.presets import PresetCatalog

ELEVEN = "|".join("abcdefghijk")


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> PresetCatalog:
    return PresetCatalog.load(write_brands(tmp_path_factory.mktemp("brands")))


def read(catalog: PresetCatalog, text: str, **said: object) -> Plan:
    fields = {"name": "spring", "brand": "aurora"} | said
    return plan_of(Pasted(text=text, **fields), catalog, [], None)  # type: ignore[arg-type]


def told(plan: Plan) -> list[tuple[int, str, str]]:
    return [(row.line, row.request.brand, row.request.prompt) for row in plan.rows]


def test_a_list_of_prompts(catalog: PresetCatalog) -> None:
    plan = read(catalog, "\n a red mug, on a table \r\n\r\n“café” {a} \n", num_images=3)
    assert told(plan) == [(2, "aurora", "a red mug, on a table")]
    assert [bad.line for bad in plan.bad_lines] == [4], "a variable without values"
    assert plan.num_images == 3
    assert {row.request.campaign for row in plan.rows} == {"spring"}
    assert all(row.request.seed is not None for row in plan.rows)


def test_the_word_prompt_in_a_prompt_is_no_head(catalog: PresetCatalog) -> None:
    assert len(read(catalog, "prompt, said the clerk\na mug").rows) == 2
    assert told(read(catalog, "brand,prompt\npop,a mug")) == [(2, "pop", "a mug")]
    assert told(read(catalog, '{"brand": "pop", "prompt": "a mug"}')) == [(1, "pop", "a mug")]
    unnamed = read(catalog, "prompt\na mug", brand="")
    assert [bad.line for bad in unnamed.bad_lines] == [2], "names no brand"


def test_what_a_table_does_not_say_the_form_says(catalog: PresetCatalog) -> None:
    plan = read(catalog, "prompt,brand,num_images\na mug,,\na lamp,pop,1", num_images=3)
    assert told(plan) == [(2, "aurora", "a mug"), (3, "pop", "a lamp")]
    assert [row.request.num_images for row in plan.rows] == [3, 1]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tables_as_spreadsheets_write_them(
    catalog: PresetCatalog, delimiter: str, end: str
) -> None:
    head, row = ["brand", "prompt"], ["pop", f'"a ""red"" mug{delimiter} café"']
    text = "\ufeff" + end.join(delimiter.join(cells) for cells in (head, row, ["", ""])) + end
    [row] = read(catalog, text).rows
    assert row.request.brand == "pop"
    spoken = "" if delimiter == "\t" else delimiter
    assert row.request.prompt.split() == ["a", '"red"', f"mug{spoken}", "café"]


def test_what_can_be_known_is_told_before_the_start(catalog: PresetCatalog) -> None:
    table = "prompt,format,width,height\na mug,banana,,\na lamp,story,,\na hat,,8000,8000\n"
    asleep = read(catalog, table)
    assert [(bad.line, bad.message[:24]) for bad in asleep.bad_lines] == [
        (2, "format: no format 'banan"),
    ]  # fmt: skip
    awake = plan_of(Pasted("x", table, "aurora"), catalog, [], MODEL)
    assert [bad.line for bad in awake.bad_lines] == [2, 4], "the model is known"


def test_rows_that_say_the_same_are_counted(catalog: PresetCatalog) -> None:
    assert read(catalog, "a mug\na lamp\na mug\na mug").repeated == 2
    assert read(catalog, "a mug\na lamp").repeated == 0


def test_somebody_elses_brand_is_one_that_is_not_there(catalog: PresetCatalog) -> None:
    seen = catalog.seen_by(Caller("anna", frozenset({"aurora"})))
    text = "brand,prompt\npop,a mug\nnobody,a mug"
    [pop, nobody] = plan_of(Pasted("x", text), seen, [], None).bad_lines
    assert pop.message.replace("'pop'", "'nobody'") == nobody.message
    assert "pop" not in nobody.message


def test_braces_at_the_beginning_are_no_json(catalog: PresetCatalog) -> None:
    assert told(read(catalog, "{{literal}} mug\na mug"))[0] == (1, "aurora", "{literal} mug")
    assert len(read(catalog, "{\na mug").rows) == 1


def test_a_table_with_bad_rows(catalog: PresetCatalog) -> None:
    text = (
        "brand;prompt;num_images;seed\naurora;a mug;2;0\nnobody;a mug;1;\n"
        "pop;;1;\npop;a lamp;99;\npop;a lamp;;-1\n"
    )
    plan = read(catalog, text)
    assert told(plan) == [(2, "aurora", "a mug")]
    assert plan.rows[0].request.seed == 0
    assert [bad.line for bad in plan.bad_lines] == [3, 4, 5, 6]
    assert "nobody" in plan.bad_lines[0].message


def test_the_same_row_twice_is_two_pictures(catalog: PresetCatalog) -> None:
    first, second = read(catalog, "a mug\na mug").rows
    assert first.request.seed != second.request.seed


def test_no_file_of_this_machine_is_opened(catalog: PresetCatalog, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    for name in (str(secret), "gs://bucket/x.png", "AAAA"):
        plan = read(catalog, f"brand,prompt,init_image\naurora,a mug,{name}")
        assert not plan.rows
        assert "cannot be sent" in plan.bad_lines[0].message


@pytest.mark.parametrize(
    ("text", "said", "field"),
    [
        ("brand,prompt,colour\naurora,a mug,red", {}, "text"),
        ("", {}, "text"), ("  \n ", {}, "text"), ("\ufeff", {}, "text"),
        ("brand,prompt\n", {}, None),
        ("a mug", {"name": ""}, "name"), ("a mug", {"name": "x" * 65}, "name"),
        ("a mug", {"name": " \u200b "}, None),
        ("a mug\n" * (MOST_ROWS + 1), {}, "text"), ("x" * (1 << 20) + "x", {}, "text"),
        ("brand,prompt,var.a,var.b,var.c\naurora,{a}{b}{c}," + ",".join([ELEVEN] * 3), {}, "text"),
    ],
)  # fmt: skip
def test_what_concerns_the_whole_is_refused(
    catalog: PresetCatalog, text: str, said: dict[str, object], field: str | None
) -> None:
    if field is None:
        assert len(read(catalog, text, **said).rows) <= 1
        return
    with pytest.raises(InvalidRequest) as refused:
        read(catalog, text, **said)
    assert [fault.field for fault in refused.value.fields] == [field]


@pytest.mark.parametrize("text", ["a\n" * 500_000, "prompt\n" + '"a\n' * 300_000])
def test_far_too_many_rows_are_refused_at_once(catalog: PresetCatalog, text: str) -> None:
    began = time.process_time()
    with pytest.raises(InvalidRequest, match="over 1,000 rows"):
        read(catalog, text)
    assert time.process_time() - began < 1.5


def test_as_many_rows_as_there_may_be(catalog: PresetCatalog) -> None:
    plan = read(catalog, "\n\na mug" * MOST_ROWS + "\n\n")
    assert len(plan.rows) == MOST_ROWS
    assert plan.rows[-1].line == 2 * MOST_ROWS + 1


@pytest.mark.parametrize("num_images", [0, 9, -1])
def test_a_wrong_number_is_told_by_line(catalog: PresetCatalog, num_images: int) -> None:
    assert [bad.line for bad in read(catalog, "a mug", num_images=num_images).bad_lines] == [1]


def test_the_cost_is_judged_by_earlier_pictures(catalog: PresetCatalog) -> None:
    image = {
        "url": "", "storage_uri": "", "seed": 1, "width": 64, "height": 64,
        "content_type": "image/png", "size_bytes": 1, "sha256": "",
    }  # fmt: skip
    earlier = Generation.model_validate(
        {
            "id": "x", "status": "succeeded", "brand": "aurora", "preset_version": "", "model": "",
            "created_at": "2026-11-27T00:00:00Z", "images": [image],
            "usage": Usage(gpu_s=3.0, steps=20, estimated_cost_usd=0.01).model_dump(),
        }
    )  # fmt: skip
    plan = plan_of(Pasted("x", "a mug\na lamp", "aurora", 2), catalog, [earlier], None)
    assert plan.estimate is not None
    assert (plan.estimate.gpu_s, round(plan.estimate.cost_usd, 3)) == (12.0, 0.04)
