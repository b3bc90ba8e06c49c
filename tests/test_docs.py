"""The documentation says what the code does: settings, fields, commands and links are compared."""

from __future__ import annotations

import json
import re
import shlex
import typing
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo
from sample_brands import write_brands

from imagegen import cli, errors
from imagegen.batch.script import read_script
from imagegen.bootstrap import build
from imagegen.generation import Generation, GenerationRequest
from imagegen.library.marks import PictureMarks
from imagegen.presets.files import read_words
from imagegen.settings import PREFIX, Settings
from imagegen.web.app import create_app
from imagegen.web.errors import STATUS

HEADER = "| setting | default | values | meaning |\n|---|---|---|---|\n"
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")


def documents(repository: Path) -> list[Path]:
    return [repository / "README.md", *sorted((repository / "docs").rglob("*.md"))]


def values_of(field: FieldInfo) -> str:
    """`auto` `cpu` `cuda`, 1 … 10,000, above 0, text."""
    if typing.get_origin(field.annotation) is typing.Literal:
        return " ".join(f"`{value}`" for value in typing.get_args(field.annotation))
    if field.annotation is str:
        return "text"
    if field.annotation == str | None:
        return "text"
    if typing.get_origin(field.annotation) is typing.Union:
        return ", ".join(
            values_of(FieldInfo.from_annotation(part)) for part in typing.get_args(field.annotation)
        )
    low, above, high = (bound(field, name) for name in ("ge", "gt", "le"))
    if above is not None:
        return f"above {above:,g}, at most {high:,g}"
    return f"{low:,g} or more" if high is None else f"{low:,g} … {high:,g}"


def bound(field: FieldInfo, name: str) -> float | None:
    bounds = (getattr(rule, name, None) for rule in field.metadata)
    return next((value for value in bounds if value is not None), None)


def settings_table() -> str:
    rows = [
        (
            f"`{PREFIX}{name.upper()}`",
            "none" if field.default is None else f"`{field.default}`",
            values_of(field),
            str(field.description),
        )
        for name, field in Settings.model_fields.items()
    ]
    return HEADER + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def test_the_settings_table_is_the_settings(repository: Path) -> None:
    expected = settings_table()
    assert expected in (repository / "README.md").read_text(), (
        f"README.md should say:\n\n{expected}"
    )


def test_the_api_page_names_every_field_of_a_request(repository: Path) -> None:
    page = (repository / "docs" / "api.md").read_text()
    missing = [name for name in GenerationRequest.model_fields if f"| `{name}` |" not in page]
    assert not missing, "rows of the table in docs/api.md"


def test_the_api_page_names_every_answer_to_a_failure(repository: Path) -> None:
    """The rows of the errors table are `web/errors.py`'s, but for what no caller reads."""
    page = (repository / "docs" / "api.md").read_text()
    said = {code: int(status) for status, code in re.findall(r"\| (\d{3}) \| `(\w+)` \|", page)}
    unread = {
        errors.Cancelled,
        errors.ObjectExists,
        errors.OperatorError,
    }
    told = {kind.code: status for kind, status in STATUS.items() if kind not in unread}
    assert said == told


def test_the_api_page_names_every_route(repository: Path, tmp_path: Path) -> None:
    brands = write_brands(tmp_path / "brands")
    parts = build(Settings(model="fake", presets=str(brands), storage=f"file:{tmp_path}/output"))
    rules = [rule for rule in create_app(parts).url_map.iter_rules() if rule.methods]
    page = (repository / "docs" / "api.md").read_text()
    named = set(re.findall(r"`((?:GET|POST) /\S*)`", page)) | set(
        re.findall(r"^## ((?:GET|POST) /\S*)$", page, re.MULTILINE)
    )
    there = {
        f"{method} {re.sub('<(path|int):', '<', rule.rule)}"
        for rule in rules
        for method in {"GET", "POST"} & (rule.methods or set())
        if not rule.endpoint.startswith(("static", "studio.", "library.", "campaigns."))
    }
    assert named - {"GET /"} == there


def test_every_make_target_that_is_named_exists(repository: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (repository / "Makefile").read_text(), re.MULTILINE))
    for document in [*documents(repository), repository / ".ci" / "run"]:
        named = set(re.findall(r"(?:`|^)make ([a-z]+)", document.read_text(), re.MULTILINE))
        assert named <= targets, document.name


def test_the_two_commands_of_the_readme_are_there(repository: Path) -> None:
    readme = (repository / "README.md").read_text()
    assert "make run\n" in readme
    assert "make test" in readme


def test_every_link_leads_somewhere(repository: Path) -> None:
    broken = [
        f"{document.name}: {target}"
        for document in documents(repository)
        for target in LINK.findall(document.read_text())
        if "://" not in target and not (document.parent / target).exists()
    ]
    assert not broken


def examples(document: Path, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL)


def test_the_brand_in_the_readme_is_one(repository: Path, tmp_path: Path) -> None:
    [text] = examples(repository / "README.md", "yaml")
    (tmp_path / "preset.yaml").write_text(text)
    assert read_words(tmp_path).name == "Aurora"


@pytest.mark.parametrize(
    ("document", "kind", "num_images"),
    [
        ("README.md", "csv", 3),
        ("docs/batch.md", "csv", 10),
        ("docs/batch.md", "json", 4),
        ("docs/batch.md", "yaml", 16),
    ],
)
def test_a_script_in_the_documents_makes_so_many_pictures(
    repository: Path, tmp_path: Path, document: str, kind: str, num_images: int
) -> None:
    [text] = examples(repository / document, kind)
    file = tmp_path / f"campaign.{kind.replace('json', 'jsonl')}"
    file.write_text(text)
    script = read_script(file)
    assert not script.bad_rows
    assert script.num_images == num_images


def test_every_command_in_the_documents_is_understood(repository: Path) -> None:
    text = "\n".join(page.read_text() for page in documents(repository))
    commands = re.findall(r"^(?:\.venv/bin/)?imagegen (.*)$", text, re.MULTILINE)
    commands += re.findall(r"`(?:\.venv/bin/)?imagegen ([^`]*)`", text)
    assert len(commands) > 8
    for command in commands:
        cli._parser().parse_args(shlex.split(command, comments=True))


def test_the_requests_and_the_answer_in_the_documents_are_whole(repository: Path) -> None:
    for body in re.findall(r"-d '(\{.*?\})'", (repository / "README.md").read_text()):
        GenerationRequest.model_validate_json(body)
    answer, marks = examples(repository / "docs" / "api.md", "json")
    assert PictureMarks.model_validate_json(marks).model_dump(mode="json") == json.loads(marks)
    said = Generation.model_validate_json(answer).model_dump(mode="json")
    assert {name: list(value) for name, value in said.items() if isinstance(value, dict)} == {
        name: list(value) for name, value in json.loads(answer).items() if isinstance(value, dict)
    }
    assert set(json.loads(answer)) == set(Generation.model_fields)
    assert set(json.loads(answer)["images"][0]) == set(said["images"][0])


@pytest.mark.parametrize("word", ["TODO", "FIXME", "TBD"])
def test_no_document_is_half_written(repository: Path, word: str) -> None:
    assert not [page.name for page in documents(repository) if word in page.read_text()]


def test_the_metrics_in_the_documents_are_all_there_are(repository: Path, tmp_path: Path) -> None:
    brands = write_brands(tmp_path / "brands")
    parts = build(Settings(model="fake", presets=str(brands), storage=f"file:{tmp_path}/output"))
    text = parts.metrics.exposition().decode()
    there = set(re.findall(r"^# TYPE imagegen_(\w+)", text, re.MULTILINE))
    page = (repository / "docs" / "deploy.md").read_text().partition("## What it tells")[2]
    table = page.partition("| name | kind | what |")[2].partition("\n\n")[0]
    named = [row.split(" | ")[0] for row in table.splitlines()[2:]]
    assert {name for cell in named for name in re.findall(r"`(\w+)`", cell)} == there
