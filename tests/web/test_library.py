"""Library and picture pages through Flask's client."""

from __future__ import annotations

import base64
import io
import re
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image

from imagegen.application import Application
from imagegen.bootstrap import build
from imagegen.branding.score import BrandScore
from imagegen.errors import QueueFull
from imagegen.generation import GeneratedImage, GenerationRequest
from imagegen.generations.records import GenerationRecord
from imagegen.generations.register import Register
from imagegen.settings import Settings
from imagegen.storage.records import open_records
from imagegen.web.app import create_app
from imagegen.web.studio.picture_view import largest_difference

BODY: dict[str, Any] = {"brand": "aurora", "prompt": "a blue mug", "seed": 3, "num_images": 2}


def generate(client: FlaskClient, **said: Any) -> dict[str, Any]:
    answer: dict[str, Any] = client.post("/generate", json=BODY | said).get_json()
    return answer


def links(page: str) -> list[str]:
    return re.findall(r'<a href="(/library/gen_[0-9a-f]{20}/\d)">', page)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagegen.library.shelf.FRESH_S", 0)


def test_what_was_just_made_comes_first(client: FlaskClient) -> None:
    made = generate(client)
    page = client.get("/library")
    assert page.status_code == 200
    assert links(page.text)[:2] == [f"/library/{made['id']}/{index}" for index in (0, 1)]


def test_it_is_found_by_its_words_its_campaign_and_its_mark(client: FlaskClient) -> None:
    made = generate(client, prompt="un café único", campaign="Otoño & <b>", num_images=1)
    path = f"/library/{made['id']}/0"
    for query in ({"q": "CAFE unico"}, {"campaign": "Otoño & <b>"}, {"q": made["id"]}):
        assert links(client.get("/library", query_string=query).text) == [path]
    assert links(client.get("/library?q=cafe+nowhere").text) == []
    client.post(f"/generations/{made['id']}/images/0/marks", json={"mark": "approved"})
    assert links(client.get("/library?state=approved&q=unico").text) == [path]
    assert links(client.get("/library?state=none&q=unico").text) == []
    assert "<b>" not in re.sub(r"<b>Note", "", client.get("/library?q=unico").text)


def test_pages_lead_to_each_other_and_keep_the_question(client: FlaskClient) -> None:
    ids = [generate(client, campaign="pages", num_images=1)["id"] for _ in range(3)]
    url: str | None = "/library?campaign=pages&limit=2"
    found: list[str] = []
    while url:
        page = client.get(url).text
        found += links(page)
        more = re.search(r'id="more" [^>]*href="([^"]+)"', page)
        url = more and more[1].replace("&amp;", "&")
    assert found == [f"/library/{one}/0" for one in reversed(ids)]


def test_empty_fields_of_the_form_say_nothing(client: FlaskClient) -> None:
    fields = "q=&brand=&campaign=&state=&since=&until="
    assert links(client.get(f"/library?{fields}").text) == links(client.get("/library").text)


@pytest.mark.parametrize(
    "query", ["since=yesterday", "until=0", "limit=9999", "colour=red", "brand=../x"]
)
def test_a_wrong_question_is_told_on_a_page(client: FlaskClient, query: str) -> None:
    answer = client.get(f"/library?{query}")
    assert (answer.status_code, answer.mimetype) == (422, "text/html")
    assert query.partition("=")[0] in answer.text


def test_a_picture_s_page_offers_every_kind_of_file(client: FlaskClient) -> None:
    path = f"/library/{generate(client, num_images=1)['id']}/0"
    offered = re.findall(r'href="([^"]+)" download>Download (\w+)<', client.get(path).text)
    assert [name for _, name in offered] == ["PNG", "JPEG", "WEBP"], "the stored one first"
    for url, name in offered:
        answer = client.get(url.replace("&amp;", "&"))
        assert "attachment" in answer.headers["Content-Disposition"]
        assert Image.open(io.BytesIO(answer.data)).format == name


def test_the_recipe_is_whole(client: FlaskClient) -> None:
    words = {"headline": "Sale <b>", "legal": "© Aurora", "logo": False}
    made = generate(client, num_images=1, format="story", negative_prompt="fog", overlay=words)
    page = client.get(f"/library/{made['id']}/0").text
    facts = dict(re.findall(r"<dt>([^<]+)</dt><dd[^>]*>(?:<code>)?([^<]*)", page))
    assert facts["Format"] == "story"
    assert facts["Headline"] == "Sale &lt;b&gt;"
    assert facts["Legal line"] == "© Aurora"
    assert "fog" in facts["Not in the picture"]
    assert facts["Seed"] == "3"
    assert {"Size", "Steps", "Guidance", "Scheduler", "Model", "File"} <= facts.keys()
    assert "Logo" not in facts
    assert "Without logo and words" in page


def test_what_is_chosen_is_taken_home(client: FlaskClient) -> None:
    """As a browser without scripts sends the form."""
    generate(client, prompt="a chosen mug")
    page = client.get("/library?q=chosen+mug").text
    names = re.findall(r'form="selection" name="picture" value="([^"]+)"', page)
    assert len(names) == 2
    [action] = re.findall(r'id="selection" [^>]*action="([^"]+)"', page)
    answer = client.get(action, query_string={"picture": names})
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        assert len([name for name in archive.namelist() if name.endswith(".png")]) == 2
    nothing = client.get(action)
    assert (nothing.status_code, nothing.mimetype) == (422, "text/html")


def test_a_picture_whose_file_was_removed_is_told_and_stops_no_archive(
    client: FlaskClient, application: Application
) -> None:
    made = generate(client, prompt="a mug that was tidied away")
    root = Path(application.settings.storage.removeprefix("file:"))
    path = made["images"][0]["url"].partition("/images/")[2]
    (root / path).unlink()
    page = client.get(f"/library/{made['id']}/0")
    assert (page.status_code, page.mimetype) == (404, "text/html")
    assert "was removed" in page.text
    assert client.get(f"/generations/{made['id']}/images/0").status_code == 404
    other = client.get(f"/library/{made['id']}/1?of={made['id']}/0")
    assert other.status_code == 200, "there is nothing to compare it with"
    names = [f"{made['id']}/{index}" for index in range(2)]
    answer = client.get("/studio/pictures.zip", query_string={"picture": names})
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        pictures = [name for name in archive.namelist() if name.endswith(".png")]
        assert len(pictures) == 1
        assert "was removed" in archive.read("pictures/index.html").decode()


@pytest.mark.parametrize(("newest", "told"), [(60.0, "falls"), (79.0, "steady"), (None, "too_few")])
def test_a_brand_whose_score_falls_is_told_where_people_look(
    brands: Path, tmp_path: Path, newest: float | None, told: str
) -> None:
    storage = f"file:{tmp_path}/store"
    register = Register(open_records(storage))
    for number in range(60 if newest is not None else 30):
        total = newest if newest is not None and number >= 40 else 78.0 + number % 3
        record = scored(number, "aurora", total)
        register.index(record)
        register.create(record)
    parts = build(Settings(model="fake", presets=str(brands), storage=storage))
    client = create_app(parts).test_client()
    words = {
        "falls": "60 in the newest 20 pictures, 79 in those before. They have become less",
        "steady": "79 in the newest 20 pictures, 79 in those before.",
        "too_few": "30 pictures have one",
    }
    assert words[told] in client.get("/library?brand=aurora").text
    assert ("Show Aurora" in client.get("/library").text) is (told == "falls")
    assert "Brand score" not in client.get("/library?brand=pop").text
    said = client.get("/brands/aurora/drift").get_json()
    assert said["drifts"] is (told == "falls"), "the API says the same"


def scored(number: int, brand: str, total: float) -> GenerationRecord:
    request = GenerationRequest(brand=brand, prompt="a mug", seed=number)
    image = GeneratedImage(
        url="/x", storage_uri="file:x", seed=number, width=8, height=8, content_type="image/png",
        size_bytes=1, sha256="0" * 64, score=BrandScore(total=total, palette=total),
    )  # fmt: skip
    return GenerationRecord(
        id=f"gen_{number:020x}", owner="", caller="127.0.0.1", request=request, model="fake",
        created_at=datetime(2026, 11, 1, tzinfo=UTC) + timedelta(minutes=number),
        status="succeeded", preset_version="sha256:" + "0" * 64, images=(image,),
    )  # fmt: skip


def test_a_thumbnail_is_small_kept_and_made_once(
    client: FlaskClient, application: Application
) -> None:
    made = generate(client, width=640, height=320, num_images=1)
    page = client.get(f"/library?q={made['id']}").text
    [url] = re.findall(r'src="(/thumbnails/[^"]+)"', page)
    answer = client.get(url)
    assert (answer.status_code, answer.mimetype) == (200, "image/webp")
    assert "immutable" in answer.headers["Cache-Control"]
    with Image.open(io.BytesIO(answer.data)) as small:
        assert small.size == (384, 192)
    stored = application.storage.read(f"imagegen-library{url}.webp")
    assert stored is not None
    assert stored.data == answer.data
    again = client.get(url, headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    "path",
    ["aurora/2026/11/none.png", "../x.png", "aurora/..", "%2e%2e/%2e%2e/etc/passwd", "x" * 2_000,
     "imagegen-generations/records/gen_00000000000000000000.json"],
)  # fmt: skip
def test_what_is_no_picture_has_no_thumbnail(client: FlaskClient, path: str) -> None:
    assert client.get(f"/thumbnails/{path}").status_code == 404


def test_a_picture_s_page_has_its_whole_recipe(client: FlaskClient) -> None:
    made = generate(client, campaign="spring", negative_prompt="rust")
    page = client.get(f"/library/{made['id']}/1").text
    image, version = made["images"][1], made["preset_version"][:19]
    path = image["url"].partition("localhost")[2]
    for text in ("a blue mug", "rust", "spring", str(image["seed"]), "fake", version, path):
        assert text in page
    assert "it will be the same picture" not in page, "it was rendered beside another"
    assert f'href="/library/{made["id"]}/0"' in page
    assert "/?brand=aurora&amp;prompt=a+blue+mug" in page


@pytest.mark.parametrize(
    "path", ["gen_00000000000000000000/0", "x/0", "{id}/2", "{id}/99999999999"]
)
def test_a_picture_that_is_not_there_is_told_on_a_page(client: FlaskClient, path: str) -> None:
    made = generate(client)
    answer = client.get(f"/library/{path.format(id=made['id'])}")
    assert (answer.status_code, answer.mimetype) == (404, "text/html")


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("/library/gen_00000000000000000000/0", 404, "Esa imagen no existe."),
        ("/library?since=banana", 422, "debe ser un día como"),
        ("/studio/pictures.zip?picture=x", 422, "debe nombrar una imagen"),
        ("/campaigns/x", 404, "Esa campaña no existe."),
        ("/no/such/page", 404, "En esta dirección no hay nada."),
        ("/campaigns/x/pictures.zip/x", 404, "En esta dirección no hay nada."),
    ],
)
def test_what_goes_wrong_is_told_on_a_page_in_its_language(
    client: FlaskClient, path: str, status: int, told: str
) -> None:
    accept = {"Accept": "text/html,*/*;q=0.8", "Accept-Language": "es"}
    answer = client.get(path, headers=accept)
    assert (answer.status_code, answer.mimetype) == (status, "text/html")
    assert told in answer.text
    assert '<html lang="es"' in answer.text


def test_programs_that_are_lost_get_a_problem(client: FlaskClient) -> None:
    for headers in ({}, {"Accept": "application/json"}):
        answer = client.get("/no/such/page", headers=headers)
        assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")


def test_marks_without_scripts(client: FlaskClient) -> None:
    path = f"/library/{generate(client)['id']}/0"
    said = client.post(f"{path}/mark", data={"mark": "approved", "revision": "0"})
    assert (said.status_code, said.headers["Location"]) == (303, path)
    page = client.get(path).text
    assert re.search(r'value="none" aria-pressed="true"[^>]*data-key="a"', page)
    late = client.post(f"{path}/mark", data={"mark": "rejected", "revision": "0"})
    assert late.status_code == 409
    assert 'role="alert"' in late.text
    assert f'name="back" value="{path}"' in late.text, "…/mark could not be opened"
    spanish = {"Accept-Language": "es"}
    late = client.post(f"{path}/mark", data={"mark": "rejected", "revision": "0"}, headers=spanish)
    assert "Otra persona la ha valorado" in late.text
    assert client.post(f"{path}/mark", data={"mark": "nice"}).status_code == 422
    other = {"Origin": "https://elsewhere.example"}
    assert client.post(f"{path}/mark", data={"mark": "none"}, headers=other).status_code == 403


def test_rendering_it_again_gives_the_same_and_says_so(client: FlaskClient) -> None:
    path = f"/library/{generate(client)['id']}/1"
    said = client.post(f"{path}/again")
    assert said.status_code == 303
    page = client.get(said.headers["Location"]).text
    assert "the same picture, to the last bit" in page
    assert "It will be the same picture" in page, "rendered alone, nothing stands against it"
    other = generate(client, seed=99)["id"]
    differs = client.get(f"/library/{other}/0?of={path.removeprefix('/library/')}").text
    assert "not the same to the last bit" in differs


@pytest.mark.parametrize(
    ("difference", "told"),
    [(0, "to the last bit"), (1, "1 of 255 at most"), (4, "not the same to the last bit")],
)
def test_how_far_the_same_picture_is_from_the_first_is_told(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, difference: int, told: str
) -> None:
    made = generate(client)["id"]
    monkeypatch.setattr("imagegen.web.studio.picture.largest_difference", lambda *_: difference)
    assert told in client.get(f"/library/{made}/0?of={made}/1").text


def test_the_largest_difference_of_two_pictures() -> None:
    def file(size: int, corner: int) -> bytes:
        picture, data = Image.new("RGB", (size, size), (9, 9, 9)), io.BytesIO()
        picture.putpixel((0, 0), (9, corner, 9))
        picture.save(data, "PNG")
        return data.getvalue()

    assert largest_difference(file(8, 9), file(8, 9)) == 0
    assert largest_difference(file(8, 9), file(8, 7)) == 2
    assert largest_difference(file(8, 9), file(9, 9)) == 255


def test_what_cannot_be_rendered_again_says_why(client: FlaskClient) -> None:
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "PNG")
    made = generate(client, init_image=base64.b64encode(file.getvalue()).decode(), num_images=1)
    page = client.get(f"/library/{made['id']}/0").text
    assert "cannot be rendered again" in page
    assert 'id="again"' not in page


def test_a_failure_to_render_again_is_told_on_the_page(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, application: Application
) -> None:
    made = generate(client)

    def refuse(*_: object, **__: object) -> None:
        raise QueueFull("64 pictures wait already", 7)

    monkeypatch.setattr(application.generations, "start", refuse)
    answer = client.post(f"/library/{made['id']}/0/again")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert "64 pictures wait already" in answer.text


def test_pages_are_in_the_language_of_whoever_looks(client: FlaskClient) -> None:
    made = generate(client)
    for path in ("/library", f"/library/{made['id']}/0"):
        page = client.get(path, headers={"Accept-Language": "es"}).text
        assert '<html lang="es"' in page
        assert "Biblioteca" in page


def test_nothing_inline_and_nothing_from_elsewhere(client: FlaskClient) -> None:
    made = generate(client)
    for path in ("/library", f"/library/{made['id']}/0"):
        page = client.get(path).text
        assert not re.search(r"<script(?![^>]* src=)|\sstyle=|\son\w+=|https?://", page)
