"""OpenAI's batch files through the command line, here and by a service: lines in, lines out."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai.types.images_response import ImagesResponse
from sample_brands import write_brands

from imagegen import cli
from imagegen.batch.script import read_script
from imagegen.commands.openai_batch import understood_by

URL = "/v1/images/generations"


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    write_brands(tmp_path / "brand_presets")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMAGEGEN_MODEL", "fake")
    return tmp_path


def line(custom_id: str, method: str = "POST", url: str = URL, **body: Any) -> str:
    said = {"custom_id": custom_id, "method": method, "url": url, "body": body}
    return json.dumps(said, ensure_ascii=False)


def lines_of(name: str) -> dict[str | None, dict[str, Any]]:
    told = [json.loads(one) for one in Path(name).read_text().splitlines()]
    assert all(one.keys() == {"id", "custom_id", "response", "error"} for one in told)
    assert len({one["id"] for one in told}) == len(told)
    return {one["custom_id"]: one["response"] for one in told}


def test_answers_are_openai_s_own_with_the_callers_ids(workplace, capsys):
    Path("b.jsonl").write_text(
        "\n".join(
            [
                line("one", model="pop", prompt="東京\u2028 mug", n=2, size="64x32",
                     quality="high"),
                line("links", model="pop", prompt="a lamp", response_format="url",
                     output_format="jpeg", output_compression=50),
                line("banned", model="aurora", prompt="a casino"),
                line("none", model="nobody", prompt="x"),
                line("size", model="pop", prompt="x", size="63x32"),
                line("boom", model="pop", prompt="!nan", num_inference_steps=1),
                "{",
            ]
        )
    )  # fmt: skip
    assert cli.main(["batch", "b.jsonl", "--zip"]) == 1
    output, failed = (lines_of(f"b-pictures/openai-{name}.jsonl") for name in ("output", "errors"))
    assert output.keys() == {"one", "links"}
    assert {one["status_code"] for one in output.values()} == {200}
    answer = ImagesResponse.model_validate(output["one"]["body"])
    assert (answer.size, len(answer.data or [])) == ("64x32", 2)
    files = {path.read_bytes() for path in Path("b-pictures").glob("pop-東京*.png")}
    assert {base64.b64decode(image.b64_json or "") for image in answer.data or []} == files
    manifest = json.loads(Path("b-pictures/manifest.json").read_text())["rows"]
    assert manifest[0]["request"]["num_inference_steps"] == 4  # twice the brand's own
    [linked] = ImagesResponse.model_validate(output["links"]["body"]).data or []
    assert linked.b64_json is None
    assert linked.url == manifest[1]["generation"]["images"][0]["url"]
    codes = {key: (one["status_code"], one["body"]["error"]["code"]) for key, one in failed.items()}
    assert codes == {
        "banned": (400, "moderation_blocked"),
        "none": (404, "model_not_found"),
        "size": (400, "invalid_value"),
        "boom": (500, "render_failed"),
        None: (400, "invalid_value"),
    }
    assert failed["size"]["body"]["error"]["message"].count("size: ") == 1

    before = Path("b-pictures/openai-output.jsonl").read_text()
    assert cli.main(["batch", "b.jsonl"]) == 1
    assert Path("b-pictures/openai-output.jsonl").read_text() == before


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (line("a", url="/v1/chat/completions"), "only POST /v1/images/generations is taken"),
        (line("a", method="GET"), "only POST"),
        (line("ok", model="m", prompt="x"), "custom_id: 'ok' stands on line 1 already"),
        (line("", model="m", prompt="x"), "custom_id: must be a text"),
        (line("a", model="m", prompt="x", stream=True), "a batch does not stream"),
        (line("a", model="m"), "prompt: is required"),
        (line("a", model="m", prompt="x", n="2"), "n: must be a whole number"),
        (line("a", model="m", prompt="x", background="transparent"), "background: "),
        ('{"custom_id": "a", "body": [1]}', "must be a JSON object"),
        ('{"custom_id": "a", "body": {}, "more": 1}', "write custom_id, method, url and body"),
        ('{"custom_id": "a", "body": ' + "[" * 100_000, "recursion"),
        ("[]", "write custom_id"),
    ],
)  # fmt: skip
def test_a_line_that_is_wrong_is_one_bad_row(tmp_path, row, sentence):
    (tmp_path / "b.jsonl").write_text("\ufeff" + line("ok", model="m", prompt="x") + f"\n{row}\n")
    script = read_script(tmp_path / "b.jsonl", {}, understood_by(lambda brand: 20))
    assert len(script.rows) == 1
    [bad] = script.bad_rows
    assert (bad.line, sentence in bad.message) == (2, True), bad.message
    assert script.is_openai


def test_its_output_lies_on_this_machine(workplace, capsys):
    Path("b.jsonl").write_text(line("one", model="pop", prompt="x"))
    assert cli.main(["batch", "b.jsonl", "-o", "gs://bucket/x"]) == 2
    assert "OpenAI's output file is made of a folder on this machine" in capsys.readouterr().err
