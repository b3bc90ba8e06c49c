"""Prompt scripts: CSV and JSONL, variables, and rows that are wrong in every way met so far."""

from __future__ import annotations

import base64
import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagegen.batch.script import PromptScript, read_script
from imagegen.errors import InvalidRequest, InvalidScript


def csv_script(folder: Path, text: str | bytes, **variables: list[str]) -> PromptScript:
    path = folder / "script.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_script(path, variables)


def jsonl_script(folder: Path, *rows: Any) -> PromptScript:
    path = folder / "script.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return read_script(path)


def prompts(script: PromptScript) -> list[str]:
    assert not script.bad_rows
    return [row.request.prompt for row in script.rows]


def test_csv_cells_are_parsed_to_the_fields_types_and_empty_ones_are_not_said(tmp_path):
    script = csv_script(
        tmp_path,
        "brand,prompt,num_images,guidance_scale,exact,scheduler,width,height,campaign\n"
        "aurora,a mug,2,0,true,ddim,64,72,\n"
        "aurora,a lamp,,,,,,,spring\n",
    )
    first, second = (row.request for row in script.rows)
    assert (first.num_images, first.guidance_scale, first.exact) == (2, 0.0, True)
    assert (first.scheduler, first.width, first.height, first.campaign) == ("ddim", 64, 72, None)
    assert (second.num_images, second.guidance_scale, second.campaign) == (1, None, "spring")
    assert script.num_images == 3


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_as_spreadsheets_write_it(tmp_path, delimiter, line_end, mark):
    rows = [
        ["brand", "prompt", "", ""],
        ["aurora", '"a mug, red; with\ta tab, naïve 東京"', "", ""],
        ["", "", "", ""],
    ]
    text = mark + line_end.join(delimiter.join(row) for row in rows)
    assert prompts(csv_script(tmp_path, text)) == ["a mug, red; with a tab, naïve 東京"]


def test_jsonl_as_in_the_api(tmp_path):
    script = jsonl_script(
        tmp_path,
        {"brand": "aurora", "prompt": "a mug", "seed": 0, "format": None},
        "",
        {"brand": "aurora", "prompt": "{a} and {b}\u2028", "variables": {"a": ["x", 2], "b": "z"}},
    )
    assert prompts(script) == ["a mug", "x and z\u2028".strip(), "2 and z"]
    assert [row.line for row in script.rows] == [1, 3, 3]
    assert script.rows[0].request.seed == 0


def test_variables_make_every_combination_the_rows_own_values_first(tmp_path):
    script = csv_script(
        tmp_path,
        "brand,prompt,var.product\n"
        "aurora,a { colour } {product} {{as is}} {{{product}}},mug| lamp |\n"
        'aurora,"a {product}",\n',
        product=["book"],
        colour=["red", "blue"],
    )
    assert prompts(script) == [
        "a red mug {as is} {mug}",
        "a red lamp {as is} {lamp}",
        "a blue mug {as is} {mug}",
        "a blue lamp {as is} {lamp}",
        "a book",
    ]


def test_a_value_with_braces_is_not_expanded_again(tmp_path):
    script = jsonl_script(
        tmp_path, {"brand": "a", "prompt": "{x}", "variables": {"x": ["{y}", "{{}}"]}}
    )
    assert prompts(script) == ["{y}", "{{}}"]


def test_bad_rows_are_named_by_line_and_the_others_go_on(tmp_path):
    script = csv_script(
        tmp_path,
        "brand,prompt,seed,format,width,height,var.product\n"
        "aurora,good,1\n"
        "aurora,{prodct},,,,,mug\n"
        "aurora,open { brace,\n"
        'aurora,"two\nlines",x\n'
        "aurora,too,7,,,,,many\n"
        "aurora,,1\n"
        "aurora,both,1,square,64,64\n"
        f"aurora,{'x' * 2_001},\n"
        f"aurora,{'x' * 200_000},\n"
        'aurora,"quoted"badly,\n'
        "Not A Brand,x,\n"
        "aurora,last,4294967295\n",
    )
    assert [row.request.prompt for row in script.rows] == ["good", "last"]
    told = {bad.line: bad.message for bad in script.bad_rows}
    expected = {
        3: "prompt: no values for {prodct} (did you mean product?)",
        4: "prompt: a lone {",
        5: "seed: must be a whole number",
        7: "8 cells under 7 columns",
        8: "prompt: is required",
        9: "say either format or width and height",
        10: "prompt: must have at most 2000 characters",
        11: "not CSV: field larger than field limit",
        12: "not CSV: ',' expected",
        13: "brand: must be a brand's id",
    }
    assert told.keys() == expected.keys()
    for line, message in expected.items():
        assert message in told[line]


def test_an_open_quote_spoils_its_own_line_only(tmp_path):
    script = csv_script(
        tmp_path, 'brand,prompt\naurora,ok\naurora,"open\naurora,"two\nlines"\naurora,last\n'
    )
    assert [row.request.prompt for row in script.rows] == ["ok", "two lines", "last"]
    assert [bad.line for bad in script.bad_rows] == [3]
    script = csv_script(tmp_path, 'brand,prompt\naurora,"open\naurora,ok\n')
    assert [row.request.prompt for row in script.rows] == ["ok"]
    assert [bad.line for bad in script.bad_rows] == [2]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "not a JSON object"),
        ('{"brand": "a", "prompt": "x", "seed": "7"}', "seed: must be a whole number"),
        ('{"brand": "a", "prompt": "x", "guidance_scale": NaN}', "guidance_scale"),
        ('{"brand": "a", "prompt": ["x"]}', "prompt: must be a text"),
        ('{"brand": "a"}', "prompt: is required"),
        ('{"brand": "a", "prompt": "\\ud800"}', "half of a character"),
        ('{"brand": "a", "prompt": "{\\ud800}"}', "half of a character"),
        ('{"brand": "a", "prompt": "{x}", "variables": ["x"]}', "variables"),
        ('{"brand": "a", "prompt": "{x}", "variables": {"x": []}}', "no values for {x}"),
        ('{"brand": "a", "prompt": "{x}", "variables": {"x": [null]}}', "only text and numbers"),
        ('{"brand": "a", "prompt": "{}"}', "no values for {}"),
    ],
)
def test_bad_jsonl_rows(tmp_path, row, message):
    script = jsonl_script(tmp_path, row, {"brand": "a", "prompt": "good"})
    assert [row.request.prompt for row in script.rows] == ["good"]
    [bad] = script.bad_rows
    assert bad.line == 1
    assert message in bad.message


def test_a_row_cannot_expand_without_bound(tmp_path):
    values = [str(number) for number in range(100)]
    names = [f"v{number}" for number in range(10)]
    script = jsonl_script(
        tmp_path,
        {
            "brand": "a",
            "prompt": "".join(f"{{{name}}}" for name in names),
            "variables": dict.fromkeys(names, values),
        },
    )
    assert "100,000,000,000,000,000,000 requests" in script.bad_rows[0].message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("\n \n", "empty"),
        ("brand,promt\na,b\n", "unknown column 'promt' (did you mean prompt?)"),
        ("brand,,prompt\na,,b\n", "unknown column ''"),
        ("brand,prompt,var.\na,b,\n", "unknown column 'var.'"),
        ("brand,prompt,prompt\na,b,c\n", "'prompt' stands there twice"),
        ('brand,"prompt\na,b\n', "line 1"),
        (b"brand,prompt\na,caf\xe9\n", "script.csv:2: not UTF-8"),
        ("brand,prompt\n".encode("utf-16"), "not UTF-8"),
    ],
)
def test_faults_of_the_whole_file(tmp_path, text, message):
    with pytest.raises(InvalidScript, match=re.escape(message)):
        csv_script(tmp_path, text)


def test_unknown_json_names_are_told_once_with_their_line(tmp_path):
    rows = [{"brand": "a", "prompt": "b"}, {"steps": 3, "sed": 1}, {"steps": 4}]
    with pytest.raises(InvalidScript, match=r"line 2: unknown column 'steps'") as caught:
        jsonl_script(tmp_path, *rows)
    assert str(caught.value).count("'steps'") == 1
    assert "line 2: unknown column 'sed' (did you mean seed?)" in str(caught.value)


def test_a_missing_file_and_an_unused_variable(tmp_path):
    with pytest.raises(InvalidScript, match="No such file"):
        read_script(tmp_path / "none.csv")
    with pytest.raises(
        InvalidScript, match=r"no prompt uses \{produkt\} \(did you mean product\?\)"
    ):
        csv_script(tmp_path, "brand,prompt\na,{product}\n", produkt=["x"], product=["y"])


def test_a_header_alone_is_a_script_without_rows(tmp_path):
    assert csv_script(tmp_path, "brand,prompt\n") == PromptScript((), ())
    assert jsonl_script(tmp_path, "") == PromptScript((), ())


def test_keys_and_seeds_follow_the_content_not_the_place(tmp_path):
    before = csv_script(tmp_path, "brand,prompt,seed\na,mug,\na,mug,\na,lamp,7\n").rows
    after = csv_script(tmp_path, "prompt;brand\nnew;a\nmug;a\nmug;a\n").rows
    again = jsonl_script(tmp_path, {"prompt": "mug", "brand": "a", "num_images": 1}).rows
    assert [row.key for row in after[1:]] == [row.key for row in before[:2]]
    assert again[0] == replace(after[1], line=1)
    assert len({row.key for row in (*before, after[0])}) == 4
    assert len({row.request.seed for row in before}) == 3  # duplicates are other pictures
    assert before[2].request.seed == 7


def test_a_thousand_rows_are_read_at_once(tmp_path):
    lines = "".join(f"aurora,a mug number {n} of {{product}}\n" for n in range(1_000))
    started_s = time.monotonic()
    script = csv_script(tmp_path, "brand,prompt\n" + lines, product=["mug", "lamp"])
    assert len(script.rows) == 2_000
    assert time.monotonic() - started_s < 5


def test_pictures_to_start_from_are_files_beside_the_script(tmp_path):
    (tmp_path / "photos").mkdir()
    for name, colour in (("mug.png", "red"), ("mask.webp", "white")):
        Image.new("RGB", (64, 64), colour).save(tmp_path / "photos" / name)
    script = csv_script(
        tmp_path,
        "brand,prompt,init_image,mask,strength\n"
        "a,{what},photos/mug.png,photos/mask.webp,0.5\na,gone,photos/none.png,,\n"
        f"a,elsewhere,{tmp_path}/photos/mug.png,,\na,text,{tmp_path}/script.csv.png,,\n",
        what=["one", "two"],
    )
    (tmp_path / "script.csv.png").write_text("no picture")
    first, second, third = script.rows
    assert first.request.init_image == third.request.init_image
    assert (first.request.strength, first.request.mask.width) == (0.5, 64)
    assert first.key != second.key
    assert first.told["init_image"] == str(tmp_path / "photos/mug.png")
    assert len(first.content) < 200, "pictures are not kept in memory"
    told = {bad.line: bad.message for bad in script.bad_rows}
    assert "init_image: cannot read" in told[3]
    assert told[5].startswith("init_image: ")

    [sent] = jsonl_script(
        tmp_path,
        {
            "brand": "a",
            "prompt": "x",
            "init_image": base64.b64encode((tmp_path / "photos" / "mug.png").read_bytes()).decode(),
        },
    ).rows
    assert sent.request.init_image == first.request.init_image
    assert re.fullmatch("Base64 of [0-9,]+ letters", sent.told["init_image"])

    Image.new("RGB", (64, 64), "blue").save(tmp_path / "photos" / "mug.png")
    [changed, *_] = csv_script(
        tmp_path,
        "brand,prompt,init_image,mask,strength\na,one,photos/mug.png,photos/mask.webp,0.5\n",
    ).rows
    assert changed.key != first.key, "another picture is another row"
    (tmp_path / "photos" / "mug.png").unlink()
    with pytest.raises(InvalidRequest, match="init_image: cannot read"):
        _ = changed.request
