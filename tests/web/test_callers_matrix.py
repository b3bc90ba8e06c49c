"""Every route × every caller × every brand: what is somebody else's does not exist.

A new route fails here until it has a row: how to ask it for a brand, and what may come of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from imagegen.application import Application
from imagegen.bootstrap import build
from imagegen.callers.key_file import change_keys
from imagegen.settings import Settings
from imagegen.web.app import create_app

# Distinctive: none of these words is in a page, a schema or a script of ours.
BRANDS = {"zebrafinch": "Gouldian plumage", "quokkaberry": "Rottnest orchard"}
UNKNOWN = "umbrellabird"
CALLERS: dict[str, frozenset[str] | None] = {
    "finch": frozenset({"zebrafinch"}),
    "quokka": frozenset({"quokkaberry", "retired"}),
    "everything": None,
    "nothing": frozenset(),
}
NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
WRONG_KEY = "ig_abcdefgh_" + "A" * 43


@dataclass(frozen=True)
class Row:
    """How a route is asked for a brand."""

    path: str = ""  # where it differs from the rule
    json: Any = None
    form: Any = None
    names_brand: bool = False  # asks for one: somebody else's must answer as one that is not there
    own: int = 200  # what asking for one's own brand is answered with
    free: bool = False  # needs no caller
    all_brands: bool = False  # for callers who may use every brand


def _asks(path: str = "", *, own: int = 200, **more: Any) -> Callable[[str], Row]:
    return lambda brand: Row(
        path=path.format(brand=brand), names_brand=True, own=own, **_filled(more, brand)
    )


def _filled(value: Any, brand: str) -> Any:
    if isinstance(value, dict):
        return {name: _filled(part, brand) for name, part in value.items()}
    if isinstance(value, list):
        return [_filled(part, brand) for part in value]
    return value.format(brand=brand) if isinstance(value, str) else value


def _says(**more: Any) -> Callable[[str], Row]:
    return lambda _brand: Row(**more)


# One white pixel as a PNG.
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4//8/AAX+Av4N70a4AAAAAElFTkSuQmCC"
)
CAMPAIGN = "8237000000000-01234567"
MUG = {"brand": "{brand}", "prompt": "a mug", "seed": 7}
ROWS: dict[str, Callable[[str], Row]] = {
    "GET static": _says(path="/static/0/studio.css", free=True),
    "GET ops.livez": _says(free=True),
    "GET ops.readyz": _says(free=True),
    "POST ops.warm": _says(),
    "GET ops.exposition": _says(all_brands=True),
    "POST generations.generate": _asks(json=MUG),
    "GET generations.generations": _asks("/generations?brand={brand}"),
    "GET generations.generation": _says(path="/generations/gen_0123456789abcdef0123"),
    "DELETE generations.cancel": _says(path="/generations/gen_0123456789abcdef0123"),
    "GET generations.events": _says(path="/generations/gen_0123456789abcdef0123/events"),
    "GET marks.marks": _says(path="/generations/gen_0123456789abcdef0123/marks"),
    "POST marks.mark": _says(
        path="/generations/gen_0123456789abcdef0123/images/0/marks", json={"mark": "approved"}
    ),
    "GET api.brands": _says(),
    "GET api.brand": _asks("/brands/{brand}"),
    "GET api.cover": _asks("/brands/{brand}/cover", own=404),
    "GET api.drift": _asks("/brands/{brand}/drift"),
    "GET api.capabilities": _says(),
    "GET images.image": _asks("/images/{brand}/2026/11/gen_0.png", own=404),
    "GET thumbnails.thumbnail": _asks("/thumbnails/{brand}/2026/11/gen_0.png", own=404),
    "GET library.page": _asks("/library?brand={brand}"),
    "GET library.picture": _says(path="/library/gen_0123456789abcdef0123/0"),
    "POST library.mark": _says(
        path="/library/gen_0123456789abcdef0123/0/mark", form={"mark": "approved"}
    ),
    "POST library.render_again": _says(path="/library/gen_0123456789abcdef0123/0/again"),
    "GET campaigns.page": _says(),
    "POST campaigns.submit": _asks(form={"name": "x", "text": "a mug", "brand": "{brand}"}),
    "GET campaigns.campaign": _says(path=f"/campaigns/{CAMPAIGN}"),
    "POST campaigns.stop": _says(path=f"/campaigns/{CAMPAIGN}/stop"),
    "POST campaigns.resume": _says(path=f"/campaigns/{CAMPAIGN}/resume"),
    "POST campaigns.retry": _says(path=f"/campaigns/{CAMPAIGN}/retry"),
    "GET campaigns.pictures": _says(path=f"/campaigns/{CAMPAIGN}/pictures.zip"),
    "GET studio.page": _asks("/?brand={brand}&prompt=a+mug"),
    "POST studio.submit": _asks(form=MUG),
    "POST studio.start": _asks(form=MUG, own=202),
    "GET studio.pictures": _says(path="/studio/pictures.zip?picture=gen_0123456789abcdef0123/0"),
    "POST studio.reading": _asks(form={"brand": "{brand}", "prompt": "a mug"}),
    "GET studio.generations": _says(path="/studio/generations?id=gen_0123456789abcdef0123"),
    "GET picture_files.file": _says(path="/generations/gen_0123456789abcdef0123/images/0"),
    "GET studio.state": _says(),
    "POST studio.prefer": _says(form={"theme": "dark", "back": "/"}),
    "POST openai.generations": _asks(json={"model": "{brand}", "prompt": "a mug", "seed": 7}),
    "POST openai.edits": _asks(
        json={"model": "{brand}", "prompt": "a mug", "image": PIXEL, "strength": 1.0}
    ),
    "GET openai.models": _says(),
    "GET openai.model": _asks("/v1/models/{brand}"),
    "POST a1111.txt2img": _asks(
        json={"prompt": "a mug", "override_settings": {"sd_model_checkpoint": "{brand}"}}
    ),
    "POST a1111.img2img": _asks(
        json={
            "prompt": "a mug",
            "init_images": [PIXEL],
            "denoising_strength": 1.0,
            "override_settings": {"sd_model_checkpoint": "{brand}"},
        }
    ),
    "POST a1111.png_info": _says(json={"image": PIXEL}),
    "GET a1111.progress": _says(),
    "POST a1111.interrupt": _says(),
    "POST a1111.set_options": _asks(json={"sd_model_checkpoint": "{brand}"}),
    "GET openapi.as_json": _says(),
    "GET openapi.as_page": _says(),
}
# Lists that are alike for everybody, or made of the caller's own brands.
A1111_LISTS = (
    "cmd-flags", "embeddings", "extensions", "face-restorers", "hypernetworks",
    "latent-upscale-modes", "loras", "realesrgan-models", "script-info", "scripts", "sd-vae",
    "upscalers", "samplers", "schedulers", "models", "styles", "options",
)  # fmt: skip
ROWS |= {f"GET a1111.{name}": _says() for name in A1111_LISTS}
ROWS |= {f"POST a1111.{name}": _says() for name in ("refresh-checkpoints", "refresh-loras")}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Caller -> key."""
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    made: dict[str, str] = {"": str(path)}
    for caller, brands in [*CALLERS.items(), ("finch-too", CALLERS["finch"])]:

        def edit(keys: Any, caller: str = caller, brands: Any = brands) -> Any:
            changed, _, key = keys.with_new(caller, brands, NOW)
            return changed, key

        made[caller] = change_keys(path, edit)
    return made


@pytest.fixture(scope="module")
def application(
    keys: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Application]:
    brands = tmp_path_factory.mktemp("brands")
    for brand, name in BRANDS.items():
        (brands / brand).mkdir()
        (brands / brand / "preset.yaml").write_text(
            f"name: {name}\ndescription: The {name} look.\n"
            "defaults: {width: 32, height: 32, num_inference_steps: 1}\n"
        )
    storage = tmp_path_factory.mktemp("output")
    application = build(
        Settings(
            model="fake", presets=str(brands), storage=f"file:{storage}", auth="keys", keys=keys[""]
        )
    )
    application.start()
    application.engine.wait_ready(20)
    yield application
    application.stop()


@pytest.fixture(scope="module")
def routes(application: Application) -> dict[str, str]:
    """ "GET api.brand" -> "/brands/<brand>"."""
    return {
        f"{method} {rule.endpoint}": rule.rule
        for rule in create_app(application).url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def ask(client: FlaskClient, name: str, rule: str, brand: str, key: str | None) -> TestResponse:
    method, row = name.partition(" ")[0], ROWS[name](brand)
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    answer = client.open(
        row.path or rule, method=method, json=row.json, data=row.form, headers=headers
    )
    answer.get_data()
    answer.close()  # or a static file stays open
    return answer


def said(response: TestResponse, brand: str) -> tuple[int, str]:
    """What an answer says, whichever brand was asked for."""
    return response.status_code, response.text.replace(brand, "BRAND")


def test_every_route_has_a_row(routes: dict[str, str]) -> None:
    missing = sorted(set(routes) - set(ROWS))
    assert not missing, f"add rows to ROWS, so that callers cannot see each other's: {missing}"
    assert not sorted(set(ROWS) - set(routes)), "rows without a route"


@pytest.mark.parametrize("name", ROWS)
def test_without_a_key_nothing_opens(
    client: FlaskClient, routes: dict[str, str], name: str
) -> None:
    nobody = ask(client, name, routes[name], "zebrafinch", None)
    wrong = ask(client, name, routes[name], "zebrafinch", WRONG_KEY)
    if ROWS[name]("").free:
        assert nobody.status_code == wrong.status_code == 200
    else:
        assert nobody.status_code == wrong.status_code == 401
        assert nobody.text == wrong.text
        assert nobody.headers["WWW-Authenticate"] == 'Bearer realm="imagegen"'
    assert not mentions(nobody, BRANDS)


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("name", ROWS)
def test_what_is_somebody_elses_does_not_exist(
    client: FlaskClient, routes: dict[str, str], keys: dict[str, str], name: str, caller: str
) -> None:
    allowed = CALLERS[caller]
    mine = set(BRANDS) if allowed is None else set(BRANDS) & allowed
    for brand in BRANDS:
        answer = ask(client, name, routes[name], brand, keys[caller])
        assert answer.status_code < 500
        row = ROWS[name](brand)
        if row.all_brands and allowed is not None:
            assert answer.status_code == 403
        if row.names_brand and brand not in mine:
            unknown = ask(client, name, routes[name], UNKNOWN, keys[caller])
            assert said(answer, brand) == said(unknown, UNKNOWN)
        foreign = set(BRANDS) - mine - ({brand} if row.names_brand else set())
        assert not mentions(answer, foreign)
        assert not any(BRANDS[one] in answer.text for one in set(BRANDS) - mine)


def mentions(answer: TestResponse, brands: Any) -> list[str]:
    everything = f"{answer.headers}\n{answer.text}"
    return [brand for brand in brands if brand in everything or BRANDS[brand] in everything]


@pytest.mark.parametrize("name", [name for name in ROWS if ROWS[name]("x").names_brand])
def test_ones_own_brand_does_exist(
    client: FlaskClient, routes: dict[str, str], keys: dict[str, str], name: str
) -> None:
    """Else the test above would be right about a service that refuses everything."""
    for caller, brand in (("finch", "zebrafinch"), ("quokka", "quokkaberry")):
        answer = ask(client, name, routes[name], brand, keys[caller])
        assert answer.status_code == ROWS[name](brand).own, answer.text


# Pictures and generations


def test_a_generation_exists_for_whoever_asked_for_it(
    client: FlaskClient, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagegen.library.shelf.FRESH_S", 0)

    def get(path: str, caller: str) -> TestResponse:
        return client.get(path, headers={"X-API-Key": keys[caller]})

    body = {"brand": "zebrafinch", "prompt": "a secret mug"}
    made = client.post("/generate", json=body, headers={"X-API-Key": keys["finch"]}).get_json()
    path = f"/generations/{made['id']}"
    assert get(path, "finch").get_json()["id"] == made["id"]
    assert made["id"] in get("/generations", "finch").text
    assert made["id"] in get("/library?q=secret", "finch").text
    for other in ("finch-too", "everything", "quokka", "nothing"):
        unknown = f"/generations/{made['id'][:-4]}0000"
        answer, missing = get(path, other), get(unknown, other)
        assert answer.status_code == 404
        assert answer.text.replace(made["id"], "ID") == missing.text.replace(unknown[13:], "ID")
        pages = (f"/library/{made['id']}/0", f"/library/{unknown[13:]}/0")
        answer, missing = (get(one, other) for one in pages)
        assert answer.status_code == 404
        assert answer.text.replace(made["id"], "ID") == missing.text.replace(unknown[13:], "ID")
        assert (
            client.post(f"{pages[0]}/again", headers={"X-API-Key": keys[other]}).status_code == 404
        )
        mark = {"json": {"mark": "approved"}, "headers": {"X-API-Key": keys[other]}}
        for answer, missing in (
            (get(f"{path}/marks", other), get(f"{unknown}/marks", other)),
            (client.post(f"{path}/images/0/marks", **mark),
             client.post(f"{unknown}/images/0/marks", **mark)),
        ):  # fmt: skip
            assert answer.status_code == 404
            assert answer.text.replace(made["id"], "ID") == missing.text.replace(unknown[13:], "ID")
        for listed in ("/generations", "/generations?brand=zebrafinch", "/library?q=secret"):
            assert made["id"] not in get(listed, other).text


def test_a_generation_is_cancelled_and_followed_by_whoever_asked_for_it(
    client: FlaskClient, keys: dict[str, str]
) -> None:
    body = {"brand": "zebrafinch", "prompt": "!slow", "num_inference_steps": 60}
    finch = {"X-API-Key": keys["finch"], "Prefer": "respond-async", "Idempotency-Key": "mine"}
    made = client.post("/generate", json=body, headers=finch).get_json()
    path, missing = f"/generations/{made['id']}", f"/generations/{made['id'][:-4]}0000"
    for other in ("finch-too", "everything", "quokka", "nothing"):
        key = {"X-API-Key": keys[other]}
        for method, end in (("DELETE", ""), ("GET", "/events")):
            answers = [
                client.open(one + end, method=method, headers=key) for one in (path, missing)
            ]
            texts = [
                one.text.replace(made["id"], "ID").replace(missing[13:], "ID") for one in answers
            ]
            assert [one.status_code for one in answers] == [404, 404]
            assert texts[0] == texts[1]
    too = finch | {"X-API-Key": keys["finch-too"]}
    own = client.post("/generate", json=body | {"prompt": "a mug"}, headers=too).get_json()
    assert own["id"] != made["id"], "each caller has keys of his own"
    assert client.delete(path, headers=finch).get_json()["status"] == "cancelled"


def test_a_campaign_exists_for_whoever_began_it(client: FlaskClient, keys: dict[str, str]) -> None:
    form = {"name": "hush", "text": "a secret mug", "brand": "zebrafinch", "do": "start"}
    begun = client.post("/campaigns", data=form, headers={"X-API-Key": keys["finch"]})
    path = begun.headers["Location"]
    unknown = f"/campaigns/{CAMPAIGN}"
    for caller in ("finch", "finch-too", "everything", "quokka", "nothing"):
        headers = {"X-API-Key": keys[caller]}
        is_his = caller == "finch"
        assert ("hush" in client.get("/campaigns", headers=headers).text) == is_his
        for action in ("", "/pictures.zip"):
            answer, missing = (client.get(one + action, headers=headers) for one in (path, unknown))
            assert answer.status_code == (200 if is_his else 404)
            if not is_his:
                assert answer.text.replace(path[11:], "ID") == missing.text.replace(CAMPAIGN, "ID")
        for action in ("/stop", "/resume", "/retry"):
            answer = client.post(path + action, headers=headers)
            assert answer.status_code == (303 if is_his else 404)


def test_a_picture_exists_for_whoever_made_it(
    client: FlaskClient, keys: dict[str, str], application: Application
) -> None:
    def look(url: str, caller: str) -> TestResponse:
        return client.get(url, headers={"X-API-Key": keys[caller]})

    body = {"brand": "zebrafinch", "prompt": "a mug"}
    made = client.post("/generate", json=body, headers={"X-API-Key": keys["finch"]}).get_json()
    url = made["images"][0]["url"]
    assert "finch/" not in url.replace("zebrafinch/", "")
    small = url.replace("/images/", "/thumbnails/")
    assert look(small, "finch").status_code == 200
    assert {look(small, one).status_code for one in ("finch-too", "everything", "nothing")} == {404}
    shown = look(url, "finch")
    assert (shown.status_code, shown.content_type) == (200, "image/png")
    assert shown.headers["Cache-Control"].startswith("private,")
    missing = look(re.sub(r"gen_\w", "gen_x", url), "finch")
    assert missing.status_code == 404
    for other in ("finch-too", "everything", "quokka", "nothing"):
        answer = look(url, other)
        assert (answer.status_code, answer.text) == (404, missing.text), other
        assert answer.headers.get("ETag") is None
    assert client.get(url).status_code == 401


def test_a_picture_from_before_there_were_callers_is_its_brands(
    client: FlaskClient, keys: dict[str, str], application: Application
) -> None:
    path = "zebrafinch/2026/01/gen_old-0-7.png"
    application.storage.create(path, b"picture", "image/png")
    seen = {
        caller: client.get(f"/images/{path}", headers={"X-API-Key": keys[caller]}).status_code
        for caller in CALLERS
    }
    assert seen == {"finch": 200, "everything": 200, "quokka": 404, "nothing": 404}


@pytest.mark.parametrize(
    "trick",
    [
        "quokkaberry/../zebrafinch/2026/01/gen_trick-0-7.png",
        "quokkaberry/%2e%2e/zebrafinch/2026/01/gen_trick-0-7.png",
        "./zebrafinch/2026/01/gen_trick-0-7.png",
        "/zebrafinch/2026/01/gen_trick-0-7.png",
        "quokkaberry\\..\\zebrafinch/2026/01/gen_trick-0-7.png",
        "%7Aebrafinch/2026/01/gen_trick-0-7.png",
        "ZEBRAFINCH/2026/01/gen_trick-0-7.png",
    ],
)
def test_no_way_around_leads_to_another_brands_picture(
    client: FlaskClient, keys: dict[str, str], application: Application, trick: str, tmp_path: Path
) -> None:
    path = "zebrafinch/2026/01/gen_trick-0-7.png"
    if application.storage.read(path) is None:
        application.storage.create(path, b"picture", "image/png")
    answer = client.get(f"/images/{trick}", headers={"X-API-Key": keys["quokka"]})
    assert answer.status_code == 404
    assert answer.data != b"picture"
