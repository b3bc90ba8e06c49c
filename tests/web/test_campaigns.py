"""Campaigns through Flask's client, as a browser without scripts has them."""

from __future__ import annotations

import csv
import html
import io
import re
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image

from imagegen.application import Application
from imagegen.provenance import read_record
from imagegen.web.zip_stream import zip_stream

TABLE = "brand,prompt\naurora,a red mug\nnobody,a lamp\npop,a blue lamp\n"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagegen.campaigns.driver.STEP_S", 0.05)


def submit(client: FlaskClient, do: str, **said: Any) -> Any:
    fields = {"name": "spring", "text": TABLE, "brand": "aurora", "num_images": "1", "do": do}
    return client.post("/campaigns", data=fields | said)


def finished(client: FlaskClient, path: str) -> str:
    until = time.monotonic() + 30
    while 'data-over="true"' not in (page := client.get(path).text):
        assert time.monotonic() < until, page
        time.sleep(0.1)
    return page


def test_rows_are_shown_before_anything_is_started(client: FlaskClient) -> None:
    page = submit(client, "check")
    assert page.status_code == 200
    assert "2 pictures will be made" in page.text
    assert "Line 3" in page.text
    assert "nobody" in page.text
    assert "a blue lamp" in page.text
    assert 'value="start"' in page.text
    assert "no campaign" not in client.get("/campaigns").text


def test_it_runs_and_is_taken_home(client: FlaskClient) -> None:
    begun = submit(client, "start", name="=Café 1/2", text=TABLE + "aurora,!nan\n")
    assert begun.status_code == 303
    path = begun.headers["Location"]
    page = finished(client, path)
    assert "2 of 3 rows are done" in page
    assert "1 row failed" in page
    spanish = client.get(path, headers={"Accept-Language": "es"}).text
    assert '<span class="message">La imagen no ha salido bien</span>' in spanish
    assert "Line 3" in page
    assert "=Café 1/2" in client.get("/campaigns").text
    answer = client.get(f"{path}/pictures.zip")
    assert answer.mimetype == "application/zip"
    assert "attachment; filename=Caf-1-2.zip" in answer.headers["Content-Disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert [name.split("/")[0] for name in names] == ["Caf-1-2"] * 4
        pictures = [name for name in names if name.endswith(".png")]
        record = read_record(archive.read(pictures[0]))
        assert record is not None
        assert record["campaign"] == "=Café 1/2"
        Image.open(io.BytesIO(archive.read(pictures[1]))).load()
        sheet = archive.read("Caf-1-2/index.html").decode()
        assert pictures[0].split("/")[1] in sheet
        rows = list(
            csv.DictReader(io.StringIO(archive.read("Caf-1-2/rows.csv").decode("utf-8-sig")))
        )
    assert [(row["line"], row["status"]) for row in rows] == [
        ("2", "succeeded"), ("4", "succeeded"), ("5", "failed"),
    ]  # fmt: skip
    assert rows[2]["error"]


def test_a_picture_that_was_removed_stops_no_archive(
    client: FlaskClient, application: Application
) -> None:
    path = submit(client, "start", name="tidy", text="a mug\na pot").headers["Location"]
    page = finished(client, path)
    first = re.findall(r'src="/thumbnails/([^"]+)"', page)[0]
    (Path(application.settings.storage.removeprefix("file:")) / first).unlink()
    with zipfile.ZipFile(io.BytesIO(client.get(f"{path}/pictures.zip").data)) as archive:
        assert len([name for name in archive.namelist() if name.endswith(".png")]) == 1
        rows = list(csv.DictReader(io.StringIO(archive.read("tidy/rows.csv").decode("utf-8-sig"))))
    assert ["was removed" in row["error"] for row in rows] == [True, False]
    assert [bool(row["file"]) for row in rows] == [False, True]


def test_stop_resume_and_retry(client: FlaskClient) -> None:
    path = submit(client, "start", text="a mug\n!nan").headers["Location"]
    finished(client, path)
    assert client.post(f"{path}/retry").status_code == 303
    assert "1 row failed" in finished(client, path)
    slow = "\n".join(f"!slow mug {number}" for number in range(30))
    path = submit(client, "start", text=slow).headers["Location"]
    assert client.post(f"{path}/stop").headers["Location"] == path
    assert "Stopped" in finished(client, path)
    client.post(f"{path}/resume")
    assert "You may close this page" in client.get(path).text
    client.post(f"{path}/stop")
    finished(client, path)


def test_a_file_stands_for_the_text(client: FlaskClient) -> None:
    data = (io.BytesIO("\ufeffbrand;prompt\npop;café\n".encode()), "spring.csv")
    page = submit(client, "check", file=data, text="")
    assert "1 picture will be made" in page.text
    assert "café" in page.text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_file_may_come_as_spreadsheets_write_it(client: FlaskClient, encoding: str) -> None:
    data = (io.BytesIO("brand;prompt\npop;café “ñ”\n".encode(encoding)), "spring.csv")
    page = submit(client, "check", file=data)
    assert "1 picture will be made" in page.text
    assert "café “ñ”" in page.text


@pytest.mark.parametrize("data", [b"brand;prompt\npop;\x81\x8d", b"\xff\xfe\x00"])
def test_a_file_that_is_no_text_is_refused(client: FlaskClient, data: bytes) -> None:
    page = submit(client, "check", file=(io.BytesIO(data), "spring.csv"))
    assert page.status_code == 422
    assert "UTF-8" in page.text


def test_what_is_wrong_is_told_in_the_language_of_whoever_looks(client: FlaskClient) -> None:
    spanish = {"Accept-Language": "es"}
    table = "brand,prompt,format\nnobody,a mug,\npop,,\npop,a mug,banana\n"
    fields = {"name": "spring", "text": table, "do": "check"}
    page = client.post("/campaigns", data=fields, headers=spanish).text
    assert "no hay ninguna marca" in page
    assert "prompt: es obligatorio" in page
    assert "no hay ningún formato" in page
    for text, told in (
        ("", "Filas: no tiene filas"), ("a mug\n" * 10_000, "hay más de 1,000 filas"),
        ("brand,prompt,colour\n", "columna desconocida"),
        ("brand,prompt,formatt\n", "(¿quería decir format"),
        ("brand,prompt,prompt\n", "aparece dos veces"),
    ):  # fmt: skip
        answer = client.post("/campaigns", data=fields | {"text": text}, headers=spanish)
        assert answer.status_code == 422
        assert told in html.unescape(answer.text)


@pytest.mark.parametrize(
    ("said", "status", "told"),
    [
        ({"name": ""}, 422, "name"), ({"text": "brand,prompt,colour\n"}, 422, "colour"),
        ({"text": "x" * (6 << 20)}, 413, "too much"), ({"do": "start", "text": ""}, 422, "no row"),
        ({"do": "start", "text": "brand,prompt\nnobody,x"}, 422, "no row"),
        ({"num_images": "two"}, 200, "Line 2"),
        ({"text": "a mug", "num_images": "9"}, 200, "Line 1"),
    ],
)  # fmt: skip
def test_what_is_at_fault_is_told_and_nothing_typed_is_lost(
    client: FlaskClient, said: dict[str, str], status: int, told: str
) -> None:
    page = submit(client, said.pop("do", "check"), **said)
    assert page.status_code == status
    assert told in page.text
    if status == 422 and said.get("text"):
        assert said["text"].splitlines()[0] in page.text


def test_hostile_words_are_only_words(client: FlaskClient) -> None:
    hostile = "<script>alert(1)</script>"
    page = submit(client, "check", name=hostile, text=f"{hostile}\n</textarea>{hostile}")
    assert "<script>alert" not in page.text
    path = submit(client, "start", name=hostile, text=hostile).headers["Location"]
    assert "<script>alert" not in finished(client, path)
    sheet = zipfile.ZipFile(io.BytesIO(client.get(f"{path}/pictures.zip").data))
    assert b"<script>alert" not in sheet.read("script-alert-1-script/index.html")


@pytest.mark.parametrize("campaign", ["x", "8237000000000-01234567", "..%2f..", "%00"])
def test_one_that_is_not_there_is_told_on_a_page(client: FlaskClient, campaign: str) -> None:
    for answer in (
        client.get(f"/campaigns/{campaign}"),
        client.get(f"/campaigns/{campaign}/pictures.zip"),
        client.post(f"/campaigns/{campaign}/stop"),
    ):
        assert answer.status_code == 404
    assert "/stop" not in answer.text, "it could not be opened"


def test_another_sites_form_starts_nothing(client: FlaskClient) -> None:
    answer = client.post(
        "/campaigns", data={"do": "start"}, headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert answer.status_code == 403


def test_an_archive_is_sent_while_it_is_made() -> None:
    read: list[str] = []

    def files() -> Iterator[tuple[str, bytes]]:
        for name in ("a.png", "b.txt"):
            read.append(name)
            yield name, name.encode() * 1_000

    parts = zip_stream(files())
    first = next(parts)
    assert read == ["a.png"]
    assert len(first) > 5_000
    with zipfile.ZipFile(io.BytesIO(first + b"".join(parts))) as archive:
        assert archive.read("b.txt") == b"b.txt" * 1_000
