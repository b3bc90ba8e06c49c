"""The studio's page and its form, as a browser without scripts meets them."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from zipfile import ZipFile

import pytest
from flask.testing import FlaskClient
from PIL import Image
from studio_brands import write_studio_brands
from werkzeug.datastructures import FileStorage
from werkzeug.test import encode_multipart

from imagegen.application import Application
from imagegen.bootstrap import build
from imagegen.clip_tokens import PromptMeter, PromptReading
from imagegen.errors import Draining, InvalidRequest, RenderFailed
from imagegen.errors import FieldError as Fault
from imagegen.generation import GenerationRequest
from imagegen.presets.formats import built_in_formats
from imagegen.settings import Settings
from imagegen.web.app import create_app
from imagegen.web.studio.texts import texts_in
from imagegen.web.studio.told import Told
from imagegen.web.studio.views import ADVANCED, BESIDE, FIELDS, FORM_FIELDS, aspect

HOSTILE = """</textarea><script>alert("1")</script><img src=x onerror='alert(2)'>{{ 7*7 }}"""
Attributes = dict[str, str | None]


@pytest.fixture(scope="module")
def brands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In place of conftest's: its application and client serve these."""
    return write_studio_brands(tmp_path_factory.mktemp("brands"))


@pytest.fixture
def asleep(brands: Path, tmp_path: Path) -> Iterator[Application]:
    """An application whose model is not loaded."""
    application = build(Settings(model="fake", presets=str(brands), storage=f"file:{tmp_path}"))
    yield application
    application.stop()


class Page(HTMLParser):
    """Every tag with its attributes, and all text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, Attributes]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, **wanted: str) -> list[Attributes]:
        return [a for t, a in self.tags if t == tag and wanted.items() <= a.items()]

    def one(self, tag: str, **wanted: str) -> Attributes:
        [found] = self.all(tag, **wanted)
        return found

    def checked(self, name: str) -> list[str | None]:
        return [a["value"] for a in self.all("input", name=name) if "checked" in a]


def open_page(client: FlaskClient, path: str = "/") -> Page:
    response = client.get(path)
    assert (response.status_code, response.mimetype) == (200, "text/html")
    return Page(response.text)


def send(client: FlaskClient, status: int = 200, **fields: str) -> Page:
    response = client.post("/", data={"brand": "aurora", "prompt": "a mug"} | fields)
    assert (response.status_code, response.mimetype) == (status, "text/html")
    return Page(response.text)


# The page


def test_brands_are_offered_in_order_with_cover_or_palette(client: FlaskClient) -> None:
    page = open_page(client)
    radios = page.all("input", type="radio", name="brand")
    assert [radio["value"] for radio in radios] == ["aurora", "kraeuter", "plain"]
    assert page.checked("brand") == ["aurora"]
    assert "Kräutergärten & Söhne <Naturkosmetik> 日本支店" in page.text
    covers = page.all("img", src="/brands/aurora/cover")
    assert len(covers) == 2  # on its card, and large
    assert client.get("/brands/aurora/cover").status_code == 200
    stops = [a["stop-color"] for a in page.all("stop")]
    assert stops[:4] == ["#f3ecd9", "#2f6b3a", "#8fae6b", "#c9a66b"]
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))


def test_every_field_of_the_form_is_a_field_of_the_request(client: FlaskClient) -> None:
    page = open_page(client)
    named = {a["name"] for tag, a in page.tags if "name" in a and tag != "meta"}
    named -= {"back", "language", "theme"}  # of the bar
    assert named - {"picture"} | {"logo"} == set(FORM_FIELDS)
    named -= {"headline", "legal", "from", "shape"}
    unsaid = {"width", "height", "deadline_s", "overlay", "score"}
    assert set(GenerationRequest.model_fields) - named == unsaid
    assert set(ADVANCED) < named


def test_every_field_has_a_label_and_a_place_for_its_message(client: FlaskClient) -> None:
    page = open_page(client)
    labels = {a.get("for") for a in page.all("label")}
    for name in set(FIELDS) - {"brand", "format", "num_images", "exact"}:
        assert name in labels
    for name in BESIDE:
        assert "hidden" in page.one("p", id=f"{name}-message")
        assert [a for _, a in page.tags if a.get("aria-describedby") == f"{name}-message"]


def test_limits_and_defaults_are_the_request_s_and_the_brand_s(client: FlaskClient) -> None:
    page = open_page(client)
    steps = page.one("input", name="num_inference_steps")
    assert (steps["min"], steps["max"], steps["placeholder"]) == ("1", "100", "4")
    guidance = page.one("input", name="guidance_scale")
    assert (guidance["min"], guidance["max"], guidance["placeholder"]) == ("0", "30", "4.5")
    numbers = [a["value"] for a in page.all("input", name="num_images")]
    assert numbers == [str(number) for number in range(1, 9)]
    assert page.checked("num_images") == ["1"]
    assert "dpmpp_2m, the brand’s" in page.text


@pytest.mark.parametrize(
    ("brand", "first", "chosen"),
    [("aurora", "square", "square"), ("kraeuter", "square", "portrait"), ("plain", "", "")],
)
def test_formats_are_the_brand_s(client: FlaskClient, brand: str, first: str, chosen: str) -> None:
    page = open_page(client, f"/?brand={brand}")
    assert page.checked("format") == [chosen]
    sets = page.all("fieldset", role="presentation")
    assert [a["data-brand"] for a in sets if "disabled" not in a] == [brand]
    by_brand = _formats(page)
    assert by_brand[brand][0] == first
    assert ("wall_poster" in by_brand[brand]) == (brand == "aurora")
    assert "Wall poster" in page.text


def test_formats_have_names_in_the_language_of_the_page(client: FlaskClient) -> None:
    page = Page(client.get("/", headers={"Accept-Language": "es"}).text)
    for name in ("Cuadrado", "Vertical", "Historia", "Apaisado", "Banner", "Wall poster"):
        assert name in page.text
    assert set(built_in_formats(256)) == {
        key.removeprefix("formats.") for key in texts_in("es").words if key.startswith("formats.")
    }


def _formats(page: Page) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    brand = ""
    for tag, attributes in page.tags:
        if tag == "fieldset":
            brand = attributes.get("data-brand") or ""
        elif tag == "input" and attributes.get("name") == "format":
            found.setdefault(brand, []).append(attributes["value"] or "")
    return found


def test_the_address_can_fill_the_form(client: FlaskClient) -> None:
    address = "/?brand=kraeuter&prompt=ein+Krug&seed=7&format=story&num_images=3&exact=true&x=y"
    page = open_page(client, address)
    assert page.checked("brand") == ["kraeuter"]
    assert page.checked("format") == ["story"]
    assert page.checked("num_images") == ["3"]
    assert page.one("input", name="seed")["value"] == "7"
    assert "checked" in page.one("input", name="exact")
    assert "ein Krug" in page.text
    assert open_page(client, "/?brand=nobody").checked("brand") == ["aurora"]


def test_nothing_inline_and_nothing_from_elsewhere(client: FlaskClient) -> None:
    for html in (client.get("/").text, client.post("/", data=_body(num_images="2")).text):
        page = Page(html)
        for tag, attributes in page.tags:
            assert not [name for name in attributes if name == "style" or name.startswith("on")]
            assert tag != "style"
            assert tag != "script" or attributes["src"]
            for name in ("src", "href", "action"):
                assert (attributes.get(name) or "/").startswith(("/", "#")), attributes


def _body(**fields: str) -> dict[str, str]:
    return {"brand": "aurora", "prompt": "a mug"} | fields


def test_static_files_are_kept_for_ever_under_their_own_address(client: FlaskClient) -> None:
    page = open_page(client)
    addresses = [a["href"] for a in page.all("link")] + [a["src"] for a in page.all("script")]
    assert len(addresses) >= 5
    for address in addresses:
        assert address
        found = re.fullmatch(r"/static/([0-9a-f]{12})/[a-z]+\.(css|js|svg|woff2)", address)
        assert found
        assert "immutable" in _caching(client, address)
        assert "immutable" not in _caching(client, address.replace(found[1], "0123456789ab"))
    version = found[1]
    # What a script imports from beside it is of the same version.
    assert "immutable" in _caching(client, f"/static/{version}/texts.js")
    for other in ("none.css", "../app.py", "%2e%2e/app.py", ""):
        assert client.get(f"/static/{version}/{other}").status_code == 404


def _caching(client: FlaskClient, address: str) -> str:
    with client.get(address) as response:
        assert response.status_code == 200
        return str(response.headers["Cache-Control"])


# The form


def test_a_picture_comes_with_its_seed_size_and_what_to_do_next(client: FlaskClient) -> None:
    page = send(client, seed="0", output_format="jpeg", campaign="spring")
    assert "Seed 0 · 256 × 256" in page.text
    assert "Aurora · spring" in page.text
    picture = page.one("img", **{"class": "picture"})
    assert picture["alt"] == "Aurora: a mug"
    assert picture["src"]
    assert client.get(picture["src"]).content_type == "image/jpeg"
    files = {}
    for link in page.all("a", **{"class": "chip"}):
        if "download" in link:
            answer = client.get(str(link["href"]))
            files[answer.headers["Content-Disposition"]] = answer.content_type
    assert files == {
        "attachment; filename=aurora-0.jpg": "image/jpeg",
        "attachment; filename=aurora-0.png": "image/png",
        "attachment; filename=aurora-0.webp": "image/webp",
    }
    for words in ("Download", "New variation", "Slightly changed", "Use these settings"):
        assert words in page.text
    assert page.one("input", id="seed")["value"] == "0"  # the form is as it was


class Form(dict[str, str]):
    """What a button of a result sends."""

    def __init__(self, page: Page, name: str, value: str | None = None, **hidden: str) -> None:
        super().__init__()
        inside: dict[str, str] = {}
        for tag, attributes in page.tags:
            if tag == "form":
                inside = {}
            elif tag == "input" and attributes.get("type") == "hidden":
                inside[str(attributes["name"])] = str(attributes["value"])
            elif (
                tag == "button"
                and attributes.get("name") == name
                and value in (None, attributes["value"])
                and hidden.items() <= inside.items()
            ):
                self.update(inside)
                self[name] = str(attributes["value"])
                return
        raise AssertionError(f"no button {name}")


def files_of(client: FlaskClient, page: Page) -> list[bytes]:
    """In the order in which they were made."""
    names = sorted(str(a["data-picture"]) for a in page.all("figure") if "data-picture" in a)
    return [client.get("/generations/{}/images/{}".format(*name.split("/"))).data for name in names]


def settings_in(page: Page) -> list[str]:
    """Links to the form as each picture was asked for."""
    links = [str(a["href"]) for a in page.all("a") if "data-use" in a]
    return [link for link in links if "from=" not in link]


def test_a_picture_leads_to_others(client: FlaskClient) -> None:
    page = send(client, prompt="a lamp", num_inference_steps="2", num_images="3", seed="5")
    near = Form(page, "seed")
    assert (near["seed"], near["num_images"]) == ("8", "4")  # after those that are there
    assert len(files_of(client, send(client, **near))) == 4
    changed = Form(page, "strength", "0.55")
    assert re.fullmatch(r"gen_[0-9a-f]{20}/[012]", changed["from"])
    edited = send(client, **changed)
    assert len(files_of(client, edited)) == 4
    assert not edited.all("button", name="format")  # words alone do not repeat it
    banner = Form(page, "format", "banner", seed="5")
    assert banner["prompt"] == "a lamp"
    assert "Seed 5 · 448 × 160" in send(client, **banner).text
    other = Form(page, "brand", "plain", seed="5")
    assert "Seed 5 · 320 × 192" in send(client, **other).text
    links = sorted(settings_in(page))
    assert len(links) == 3
    form = open_page(client, links[1])
    assert form.one("input", id="seed")["value"] == "6"
    assert form.one("input", name="num_inference_steps")["value"] == "2"
    assert "a lamp" in form.text


def test_the_same_settings_give_the_same_picture(client: FlaskClient) -> None:
    page = send(client, prompt="a lamp", num_images="3", format="banner")
    links = settings_in(page)
    said = [dict(parse_qsl(urlsplit(link).query)) for link in links]
    said.sort(key=lambda one: int(one["seed"]))
    [again] = files_of(client, send(client, **said[1]))
    assert again == files_of(client, page)[1]


def test_logo_and_words_are_laid_on_and_said_again(client: FlaskClient) -> None:
    page = send(client, headline="Sale <now>", legal="T&C", seed="1")
    plain = send(client, seed="1")
    assert files_of(client, page) != files_of(client, plain)
    [figure] = [a for a in page.all("figure") if "data-picture" in a]
    assert client.get(str(figure["data-clean"])).data == files_of(client, plain)[0]
    assert not [a for a in plain.all("figure") if "data-clean" in a]
    [link] = settings_in(page)
    form = open_page(client, link)
    assert form.one("input", id="headline")["value"] == "Sale <now>"
    assert form.one("input", id="legal")["value"] == "T&C"
    changed = Form(page, "strength", "0.55")
    assert changed["headline"] == "Sale <now>"


def test_the_brand_s_own_come_first(client: FlaskClient) -> None:
    page = send(client, num_images="8")
    scores = [int(one) for one in re.findall(r"Brand score (\d+)", page.text)]
    assert len(scores) == 8
    assert scores == sorted(scores, reverse=True)


def test_chosen_pictures_come_as_a_zip(client: FlaskClient) -> None:
    page = send(client, num_images="3", prompt="a <b>mug</b>", output_format="webp", seed="3")
    names = [str(a["data-picture"]) for a in page.all("figure") if "data-picture" in a]
    address = "/studio/pictures.zip?" + "&".join(f"picture={name}" for name in names[:2])
    answer = client.get(address + f"&picture={names[0]}")
    with ZipFile(io.BytesIO(answer.data)) as archive:
        assert archive.testzip() is None
        files = archive.namelist()
        assert len(files) == 3
        assert re.fullmatch(r"pictures/001-aurora-[345]\.webp", files[0])
        sheet = archive.read("pictures/index.html").decode()
        assert "a &lt;b&gt;mug&lt;/b&gt;" in sheet
    missing = names[0][:-1] + "9"
    for query, status in (("", 422), ("picture=x", 422), (f"picture={missing}", 404)):
        assert client.get(f"/studio/pictures.zip?{query}").status_code == status
    many = "&".join(f"picture=gen_{number:020x}/0" for number in range(101))
    assert client.get(f"/studio/pictures.zip?{many}").status_code == 422


def test_what_is_read_of_a_prompt_is_told(client: FlaskClient) -> None:
    def read(**fields: str) -> Any:
        return client.post("/studio/reading", data={"brand": "aurora"} | fields).get_json()

    short = read(prompt="a mug")
    assert (short["is_exact"], short["limit"]) == (False, 75)  # the fake has no tokenizer
    assert short["sentence"] == "About 7 of 75 pieces of words."
    assert "The end may not be read." in read(prompt="mug " * 80)["sentence"]
    assert read(prompt="", brand="nobody")["code"] == "unknown_brand"


def test_the_tokenizer_counts_exactly(repository: Path) -> None:
    meter = PromptMeter(repository / "imagegen/starter/model")
    assert meter.read("a mug") == PromptReading(2, True, "")
    found = meter.read("a mug " * 38)
    assert (found.tokens, found.unread, found.is_too_long) == (76, "mug ", True)
    assert not PromptMeter(repository).read("a mug").is_exact


@pytest.mark.parametrize(
    ("name", "status"),
    [("gen_0123456789abcdef0123/0", 404), ("../secret", 422), ("gen_x/0", 422), ("x" * 99, 422)],
)
def test_a_picture_that_is_not_there_is_none_to_start_from(
    client: FlaskClient, name: str, status: int
) -> None:
    page = send(client, status, strength="0.5", **{"from": name})
    assert "hidden" not in page.one("div", role="alert")


def picture(colour: str, size: tuple[int, int] = (64, 96)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def send_files(client: FlaskClient, status: int = 200, **fields: Any) -> Page:
    """As a browser sends the form: a file that nobody chose has no name."""
    form: dict[str, Any] = _body(strength="0.5", format="square") | fields
    for name in ("init_image", "mask"):
        data = form.get(name, b"")
        form[name] = FileStorage(io.BytesIO(data), "a.png" if data else "")
    # Bytes: werkzeug's client leaves a large form's temporary file to the garbage collector.
    boundary, body = encode_multipart(form)
    response = client.post("/", data=body, content_type=f"multipart/form-data; boundary={boundary}")
    assert (response.status_code, response.mimetype) == (status, "text/html")
    return Page(response.text)


def test_a_picture_that_is_sent_is_started_from(client: FlaskClient) -> None:
    same: dict[str, Any] = {"seed": "3", "num_inference_steps": "4"}
    words = files_of(client, send_files(client, **same))  # the form always says a strength
    red = send_files(client, init_image=picture("red"), **same)
    assert "Seed 3 · 256 × 256" in red.text
    assert len({*words, *files_of(client, red)}) == 2
    own = send_files(client, init_image=picture("red"), shape="own", **same)
    assert "Seed 3 · 64 × 96" in own.text
    part = Image.new("L", (64, 96))
    part.paste(255, (0, 0, 32, 96))
    mask = io.BytesIO()
    part.save(mask, "PNG")
    masked = send_files(
        client, init_image=picture("red"), mask=mask.getvalue(), shape="own", **same
    )
    [file] = files_of(client, masked)
    with Image.open(io.BytesIO(file)) as made:
        assert made.getpixel((60, 50)) == (255, 0, 0)
        assert made.getpixel((4, 50)) != (255, 0, 0)


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"init_image": b"GIF89a"}, "init_image", "is no PNG, JPEG or WebP picture"),
        ({"init_image": picture("red")[:-30]}, "init_image", "is cut short or damaged"),
        ({"mask": picture("white")}, "mask", "goes with init_image"),
        (
            {"init_image": picture("red"), "mask": picture("white", (8, 8))},
            "mask",
            "must have one size",
        ),
        ({"init_image": picture("red"), "strength": "7"}, "strength", "must be 1.0 or less"),
        (
            {"init_image": picture("red"), "strength": "0.1", "num_inference_steps": "4"},
            "strength",
            "0.1 of 4 steps is not even one",
        ),
    ],
)
def test_what_is_wrong_with_a_picture_stands_beside_it(
    client: FlaskClient, fields: dict[str, Any], field: str, message: str
) -> None:
    page = send_files(client, 422, **fields)
    assert message in page.text
    assert "hidden" not in page.one("p", id=f"{field}-message")
    assert "open" in page.one("details", id="source")


def test_a_form_with_files_has_its_limits(client: FlaskClient) -> None:
    assert "too much text" in send_files(client, 413, prompt="x" * 70_000).text
    assert "too large a picture" in send_files(client, 413, init_image=b"x" * (21 << 20)).text
    assert "at most 15 MiB" in send_files(client, 422, init_image=b"x" * (16 << 20)).text


def test_one_starts_from_the_picture_without_logo_and_words(client: FlaskClient) -> None:
    same = {"seed": "4", "num_inference_steps": "4"}
    page = send(client, headline="Sale", **same)
    [name] = [str(a["data-picture"]) for a in page.all("figure") if "data-picture" in a]
    plain = send(client, **same)
    [other] = [str(a["data-picture"]) for a in plain.all("figure") if "data-picture" in a]
    changed = [
        files_of(client, send(client, strength="0.5", **same, **{"from": one}))
        for one in (name, other)
    ]
    assert changed[0] == changed[1]
    path = "/generations/{}/images/{}".format(*name.split("/"))
    assert (
        client.get(f"{path}?clean=1").data
        == client.get("/generations/{}/images/{}".format(*other.split("/"))).data
    )
    form = open_page(client, f"/?from={name}&strength=0.3")
    assert form.one("img", src=f"{path}?clean=1")
    assert form.one("input", id="strength")["value"] == "0.3"
    assert "hidden" in open_page(client, "/?from=x").one("figure", **{"class": "easel"})


def test_warnings_are_shown(client: FlaskClient) -> None:
    assert "past the text encoder" in send(client, prompt="word " * 90).text
    said, spanish = _body(brand="plain", logo="true"), {"Accept-Language": "es"}
    assert "no tiene logotipo" in client.post("/", data=said, headers=spanish).text


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("prompt", "  ", "must say something"),
        ("prompt", "a casino", "Aurora does not allow 'casino'"),
        ("seed", "4294967296", "must be 4294967295 or less"),
        ("seed", "seven", "must be a whole number"),
        ("num_images", "9", "must be 8 or less"),
        ("format", "nowhere", "no format 'nowhere'"),
        ("brand", "Not A Brand", "must be a brand's id"),
        ("campaign", "c" * 65, "must have at most 64 characters"),
        ("guidance_scale", "nan", "must be a finite number within its bounds"),
        ("scheduler", "magic", "must be 'ddim'"),
        ("headline", "שלום", "runs from right to left"),
        ("legal", "a \U0001f389", "which no font here can draw"),
    ],
)
def test_a_fault_stands_beside_its_field_and_nothing_typed_is_lost(
    client: FlaskClient, field: str, text: str, message: str
) -> None:
    page = send(client, 422, **{"negative_prompt": "no words", field: text})
    place = page.one("p", id=f"{field}-message")
    assert "hidden" not in place
    assert message in page.text
    [faulty] = [a for _, a in page.tags if a.get("aria-describedby") == place["id"]]
    assert faulty["aria-invalid"] == "true"
    assert "autofocus" in faulty
    assert "hidden" in page.one("div", id="alert")
    assert ("open" in page.one("details", **{"class": "part advanced"})) == (field in ADVANCED)
    assert "no words" in page.text
    if field in ("seed", "campaign"):
        assert page.one("input", id=field)["value"] == text


def test_several_faults_are_all_told(client: FlaskClient) -> None:
    page = send(client, 422, seed="-1", num_inference_steps="0", prompt="")
    invalid = {a.get("id") for _, a in page.tags if a.get("aria-invalid") == "true"}
    assert invalid == {"seed", "num_inference_steps", "prompt"}


def test_what_belongs_to_no_field_is_an_alert(client: FlaskClient) -> None:
    page = send(client, 422, width="64", colour="red")
    assert "colour: is not a known field." in page.text
    assert "hidden" not in page.one("div", role="alert")
    page = send(client, 404, brand="nobody")
    assert "no brand 'nobody'" in page.text


def test_a_failure_is_told_with_what_to_do(client: FlaskClient) -> None:
    page = send(client, 500, prompt="a !nan mug")
    assert re.search(
        r"not finite \(gen_\w+\)\. Try again; what you entered is still here\.", page.text
    )
    assert "a !nan mug" in page.text


@pytest.mark.parametrize(
    ("error", "beside", "alert"),
    [
        (None, {}, ""),
        (InvalidRequest(Fault("seed", "a"), Fault("seed", "b")), {"seed": "a"}, ""),
        (InvalidRequest(Fault("request", "a")), {}, "request: a."),
        (Draining("going", 2.5), {}, "going. Try again in 3 s."),
        (RenderFailed("no"), {}, "no. Try again; what you entered is still here."),
    ],
)
def test_how_errors_are_told(error: Any, beside: dict[str, str], alert: str) -> None:
    assert Told.of(error, texts_in("en")) == Told(beside, alert)


def test_too_much_text_is_refused_on_the_page(client: FlaskClient) -> None:
    assert "too much text" in send(client, 413, prompt="x" * 70_000).text


def test_the_longest_prompts_fit(client: FlaskClient) -> None:
    page = send(client, prompt="🌌" * 2_000, negative_prompt="🌋" * 2_000)
    assert page.all("img", **{"class": "picture"})


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "http://localhost"}, 200),
        ({"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
@pytest.mark.parametrize("path", ["/", "/studio/generations"])
def test_forms_of_other_sites_are_refused(
    client: FlaskClient, path: str, headers: dict[str, str], status: int
) -> None:
    answer = client.post(path, data=_body(), headers=headers)
    made = 200 if path == "/" else 202
    assert answer.status_code == (made if status == 200 else status)


def test_hostile_words_are_only_words(client: FlaskClient) -> None:
    fields = dict.fromkeys(("prompt", "negative_prompt", "campaign"), HOSTILE[:64])
    pages = [send(client, **fields | {"prompt": HOSTILE}), open_page(client, "/?prompt=" + HOSTILE)]
    pages.append(send(client, 422, **fields | {"seed": HOSTILE, HOSTILE: "x"}))
    for page in pages:
        assert [a for a in page.all("script") if not a.get("src")] == []
        assert not page.all("img", src="x")
        assert HOSTILE in page.text


# What the script asks for


def test_the_script_gets_what_is_known_and_asks_again(client: FlaskClient) -> None:
    key = {"Idempotency-Key": "7a"}
    body = _body(seed="5", num_images="2", prompt="a <b>slow</b> mug")
    response = client.post("/studio/generations", data=body, headers=key)
    assert (response.status_code, response.mimetype) == (202, "text/html")
    article = Page(response.text).one("article", **{"class": "generation"})
    again = client.post("/studio/generations", data=body, headers=key)
    assert Page(again.text).one("article", **{"class": "generation"})["id"] == article["id"]
    if "data-open" in article:
        assert client.get(str(article["data-events"])).text.count("event: done") == 1
    then = client.get(f"/studio/generations?id={article['id']}&id=gen_0&id={article['id']}").text
    assert then.count("<article") == 2
    assert "Seed 6 · " in then
    assert "data-open" not in then
    assert client.get("/studio/generations").text == ""


def test_the_script_gets_problems_in_the_page_s_language(client: FlaskClient) -> None:
    response = client.post("/studio/generations", data=_body(seed="-5"))
    assert response.mimetype == "application/problem+json"
    assert response.get_json()["errors"] == [{"field": "seed", "message": "must be 0 or more"}]
    spanish = {"Accept-Language": "es"}
    response = client.post("/studio/generations", data=_body(seed="-5"), headers=spanish)
    assert response.get_json()["errors"] == [{"field": "seed", "message": "debe ser 0 o más"}]
    response = client.post("/studio/generations", data=_body(brand="none"), headers=spanish)
    assert response.get_json()["detail"] == "Esa marca no existe"
    response = client.post("/studio/generations", data=_body(legal="שלום"), headers=spanish)
    [fault] = response.get_json()["errors"]
    assert fault["field"] == "legal"
    assert "de derecha a izquierda" in fault["message"]


def test_what_failed_says_why(client: FlaskClient) -> None:
    sent = client.post("/studio/generations", data=_body(prompt="a !nan mug"))
    article = Page(sent.text).one("article", **{"class": "generation"})
    if "data-open" in article:
        assert "event: error" in client.get(str(article["data-events"])).text
    then = client.get(f"/studio/generations?id={article['id']}").text
    assert "not finite" in then
    assert "New variation" in then


def test_state(client: FlaskClient) -> None:
    response = client.get("/studio/state")
    ready = {"ready": True, "sentence": "", "queued": 0, "phases": [], "left": ""}
    assert response.get_json() == ready
    assert response.headers["Cache-Control"] == "no-store"


def test_before_the_model_is_there(asleep: Application) -> None:
    client = create_app(asleep).test_client()
    response = client.get("/studio/state")
    assert response.status_code == 200
    assert response.get_json()["sentence"].startswith("The model is loading: ")
    page = open_page(client)
    assert "The model is loading: " in page.text
    assert _formats(page)["kraeuter"] == ["square", "portrait", "story", "landscape", "banner"]
    assert "96 × 160" in page.text  # the brand's own size is known
    assert "512 × 512" not in page.text
    asleep.stop()
    assert "shutting down" in client.get("/studio/state").get_json()["sentence"]
    response = client.post("/", data=_body())
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert "Try again in" in response.text


@pytest.mark.parametrize(
    ("size", "name"),
    [((96, 160), "tall"), ((224, 288), "upright"), ((256, 256), "square"), ((448, 160), "wide")],
)
def test_aspects_are_the_stylesheet_s(size: tuple[int, int], name: str, repository: Path) -> None:
    assert aspect(*size) == name
    assert f".{name} .picture {{" in (repository / "imagegen/web/static/create.css").read_text()
