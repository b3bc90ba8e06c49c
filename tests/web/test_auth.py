"""Who asks, through HTTP: keys, Google's tokens, IAP's assertions, pages; limits; the log."""

from __future__ import annotations

import base64
import json
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from google_issuer import KeyServer, Signer, claims_of, key_server
from web_server import Server
from werkzeug.test import TestResponse

from imagegen import cli
from imagegen.application import Application
from imagegen.bootstrap import build
from imagegen.callers import followed, identities
from imagegen.callers.key_file import change_keys
from imagegen.callers.keys import id_of
from imagegen.engine import spawn
from imagegen.errors import OperatorError
from imagegen.settings import Settings
from imagegen.web import auth
from imagegen.web.app import create_app
from imagegen.wsgi import is_loopback

ASKED = {"brand": "pop", "prompt": "a mug", "seed": 7}
AUDIENCE, IAP_AUDIENCE = "https://ours.example", "/projects/1/global/backendServices/2"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
GOOGLE_KEYS, IAP_KEYS = Signer("RS256", "g1"), Signer("ES256", "i1")


def create_key(path: Path, caller: str, *brands: str) -> str:
    def edit(keys: Any) -> Any:
        some = frozenset(brands) if brands else None
        changed, _, key = keys.with_new(caller, some, datetime.now(UTC))
        return changed, key

    made: str = change_keys(path, edit)
    return made


@pytest.fixture
def google() -> Iterator[KeyServer]:
    with key_server(GOOGLE_KEYS) as server:
        yield server


@pytest.fixture
def iap() -> Iterator[KeyServer]:
    with key_server(IAP_KEYS) as server:
        yield server


@pytest.fixture
def make(
    brands: Path,
    tmp_path: Path,
    google: KeyServer,
    iap: KeyServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., FlaskClient]:
    """A client of an application that nobody has started."""
    monkeypatch.setattr(
        identities, "GOOGLE", replace(identities.GOOGLE, certificates_url=google.url)
    )
    monkeypatch.setattr(identities, "IAP", replace(identities.IAP, certificates_url=iap.url))

    def make(**said: Any) -> FlaskClient:
        settings = {
            "model": "fake", "presets": str(brands), "storage": f"file:{tmp_path}/output",
            "keys": str(tmp_path / "keys.json"),
        }  # fmt: skip
        return create_app(build(Settings.model_validate(settings | said))).test_client()

    return make


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def seen(client: FlaskClient, **headers: str) -> list[str] | int:
    """The brands that exist for whoever sends these headers, or the status."""
    answer = client.get("/brands", headers={k.replace("_", "-"): v for k, v in headers.items()})
    if answer.status_code != 200:
        return answer.status_code
    return [brand["id"] for brand in answer.get_json()["brands"]]


# Keys


def test_a_key_may_come_in_three_ways(make: Callable[..., FlaskClient], tmp_path: Path) -> None:
    key = create_key(tmp_path / "keys.json", "shop", "pop")
    client = make(auth="keys")
    for headers in (
        {"Authorization": f"Bearer {key}"},
        {"Authorization": f"bearer {key}"},
        {"X_API_Key": key},
        {"Authorization": basic("anybody", key)},
        {"Authorization": basic("", key)},
    ):
        assert seen(client, **headers) == ["pop"], headers


def test_what_is_no_key_is_told_alike(make: Callable[..., FlaskClient], tmp_path: Path) -> None:
    key = create_key(tmp_path / "keys.json", "shop")
    client = make(auth="keys")
    answers = {
        client.get("/brands", headers=headers).text
        for headers in (
            {},
            {"Authorization": ""},
            {"Authorization": "Bearer"},
            {"Authorization": f"Bearer {key[:-1]}"},
            {"Authorization": f"Bearer {key} "  "x"},
            {"Authorization": "Bearer sk-1234"},
            {"Authorization": f"Token {key}"},
            {"Authorization": basic(key, "")},
            {"Authorization": "Basic !!!"},
            {"Authorization": "Basic"},
            {"X-API-Key": "ключ".encode().decode("latin-1")},
            {"X-API-Key": "wrong", "Authorization": f"Bearer {key}"},
            {"Cookie": f"key={key}"},
            {"X-Imagegen-Caller": "shop", "X-Imagegen-Owner": "shop"},
            {"X-Goog-IAP-JWT-Assertion": key},
        )
    }  # fmt: skip
    [text] = answers
    problem = json.loads(text)
    assert (problem["status"], problem["code"]) == (401, "unauthenticated")
    assert client.get(f"/brands?key={key}&api_key={key}").status_code == 401
    assert client.get(f"/nowhere/{key}").status_code == 401
    assert client.options("/generate").status_code == 401


def test_a_revoked_key_opens_for_a_second_at_most(
    make: Callable[..., FlaskClient], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed, "LOOK_S", 0.0)
    path = tmp_path / "keys.json"
    old = create_key(path, "shop", "pop")
    client = make(auth="keys")
    new = create_key(path, "shop", "aurora")
    assert (seen(client, X_API_Key=old), seen(client, X_API_Key=new)) == (["pop"], ["aurora"])
    change_keys(path, lambda keys: keys.without(id_of(old)))
    assert (seen(client, X_API_Key=old), seen(client, X_API_Key=new)) == (401, ["aurora"])


def test_dialects_say_it_in_their_own_words(
    make: Callable[..., FlaskClient], tmp_path: Path
) -> None:
    create_key(tmp_path / "keys.json", "shop")
    client = make(auth="keys")
    theirs = client.get("/v1/models")
    assert theirs.status_code == 401
    assert set(theirs.get_json()["error"]) == {"message", "type", "param", "code"}
    other = client.get("/sdapi/v1/sd-models")
    assert other.status_code == 401
    assert other.get_json()["error"] == "unauthenticated"


# Pages


def test_a_browser_asks_for_the_key_and_sees_why(
    make: Callable[..., FlaskClient], tmp_path: Path
) -> None:
    key = create_key(tmp_path / "keys.json", "shop", "pop")
    client = make(auth="keys")
    page = client.get("/", headers=BROWSER)
    assert (page.status_code, page.mimetype) == (401, "text/html")
    assert page.headers["WWW-Authenticate"] == 'Basic realm="imagegen"'
    assert "The key is the password" in page.text
    with client.get("/static/0/studio.css") as style:
        assert style.status_code == 200
    shown = client.get("/", headers=BROWSER | {"Authorization": basic("ann", key)})
    assert shown.status_code == 200
    assert "Pop" in shown.text
    assert "Aurora" not in shown.text
    script = client.post("/studio/results", data=ASKED)
    assert script.headers["WWW-Authenticate"] == 'Bearer realm="imagegen"', "no second question"


def test_without_keys_no_browser_asks_for_one(make: Callable[..., FlaskClient]) -> None:
    page = make(auth="iap", iap_audience=IAP_AUDIENCE).get("/", headers=BROWSER)
    assert (page.status_code, page.mimetype) == (401, "text/html")
    assert page.headers["WWW-Authenticate"] == 'Bearer realm="imagegen"'
    assert "Google account" in page.text


def test_who_may_use_nothing_is_told_so(make: Callable[..., FlaskClient], tmp_path: Path) -> None:
    key = create_key(tmp_path / "keys.json", "shop", "gone")
    page = make(auth="keys").get("/", headers=BROWSER | {"X-API-Key": key})
    assert page.status_code == 200
    assert "no brand that you may use" in page.text


def test_another_sites_page_cannot_use_what_a_browser_knows(
    make: Callable[..., FlaskClient], tmp_path: Path
) -> None:
    key = create_key(tmp_path / "keys.json", "shop")
    for client in (make(auth="keys"), make()):
        rules = list(client.application.url_map.iter_rules())
        posts = [rule.rule for rule in rules if "POST" in (rule.methods or ())]
        assert len(posts) > 4
        for path in posts:
            for headers in (
                {"Sec-Fetch-Site": "cross-site"},
                {"Sec-Fetch-Site": "same-site"},
                {"Origin": "https://evil.example"},
                {"Origin": "null"},
            ):
                answer = client.post(path, headers={"X-API-Key": key} | headers)
                assert answer.status_code == 403, path


# Google


def token(signer: Signer, issuer: str, audience: str, **more: Any) -> str:
    return signer.token(claims_of(issuer, audience, **more))


def of_google(email: str, audience: str = AUDIENCE, **more: Any) -> str:
    issuer = "https://accounts.google.com"
    return token(GOOGLE_KEYS, issuer, audience, email=email, email_verified=True, **more)


def of_iap(email: str, audience: str = IAP_AUDIENCE) -> str:
    return token(IAP_KEYS, "https://cloud.google.com/iap", audience, email=email)


def test_everything_at_once(make: Callable[..., FlaskClient], tmp_path: Path) -> None:
    key = create_key(tmp_path / "keys.json", "shop", "pop")
    people = tmp_path / "callers.yaml"
    people.write_text(
        "- {who: ann@example.com, brands: all}\n- {who: example.com, brands: [aurora]}\n"
    )
    client = make(
        auth="keys,google,iap", google_audience=AUDIENCE, iap_audience=IAP_AUDIENCE,
        callers=str(people),
    )  # fmt: skip
    hosted = {"hd": "example.com"}
    assert seen(client, X_API_Key=key) == ["pop"]
    ann = of_google("Ann@example.com")
    assert seen(client, Authorization=f"Bearer {ann}") == ["aurora", "pop"]
    bob = of_google("bob@example.com", **hosted)
    assert seen(client, Authorization=f"Bearer {bob}") == ["aurora"]
    assert seen(client, X_Goog_IAP_JWT_Assertion=of_iap("ann@example.com")) == ["aurora", "pop"]
    for refused in (
        {"Authorization": f"Bearer {of_google('eve@evil.example')}"},
        {"Authorization": f"Bearer {of_google('ann@example.com', 'https://other.example')}"},
        {"Authorization": f"Bearer {of_iap('ann@example.com')}"},
        {"X_Goog_IAP_JWT_Assertion": of_iap("eve@evil.example")},
        {"X_Goog_IAP_JWT_Assertion": of_google("ann@example.com", IAP_AUDIENCE)},
        {"X_API_Key": "wrong", "X_Goog_IAP_JWT_Assertion": of_iap("ann@example.com")},
    ):
        assert seen(client, **refused) == 401


def test_iap_alone_lets_in_whom_it_let_in(make: Callable[..., FlaskClient]) -> None:
    client = make(auth="iap", iap_audience=IAP_AUDIENCE)
    assert seen(client, X_Goog_IAP_JWT_Assertion=of_iap("x@y.example")) == ["aurora", "pop"]
    assert seen(client, X_Goog_Authenticated_User_Email="accounts.google.com:x@y.example") == 401
    assert seen(client, Authorization=f"Bearer {of_google('x@y.example')}") == 401


def test_where_googles_keys_cannot_be_had_it_is_nobodys_fault(
    make: Callable[..., FlaskClient], iap: KeyServer
) -> None:
    iap.broken = True
    client = make(auth="iap", iap_audience=IAP_AUDIENCE)
    answer = client.get("/brands", headers={"X-Goog-IAP-JWT-Assertion": of_iap("x@y.example")})
    assert (answer.status_code, answer.get_json()["code"]) == (503, "service_unreachable")
    assert "Retry-After" in answer.headers


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"auth": "keys"}, "imagegen keys create"),
        ({"auth": "google", "google_audience": AUDIENCE}, "IMAGEGEN_CALLERS"),
        ({"auth": "google", "callers": "callers.yaml"}, "IMAGEGEN_GOOGLE_AUDIENCE"),
        ({"auth": "iap"}, "IMAGEGEN_IAP_AUDIENCE"),
        ({"auth": "iap", "iap_audience": "x", "callers": "missing.yaml"}, "missing.yaml"),
        ({"auth": "iap", "iap_audience": "x", "role": "render"}, "IMAGEGEN_ROLE=render"),
    ],
)
def test_what_is_missing_stops_the_start(
    make: Callable[..., FlaskClient], said: dict[str, str], sentence: str
) -> None:
    with pytest.raises(OperatorError, match=sentence):
        make(**said)


@pytest.mark.parametrize("text", ["none,keys", "keys;iap", "", "KEYS", "keys,", "token"])
def test_a_way_that_is_none_stops_the_start(text: str) -> None:
    with pytest.raises(OperatorError, match="IMAGEGEN_AUTH"):
        Settings.from_environment({"IMAGEGEN_AUTH": text})


# Limits


def test_a_caller_who_asks_too_often_is_told_when_to_ask_again(
    make: Callable[..., FlaskClient], tmp_path: Path
) -> None:
    ann, bob = (create_key(tmp_path / "keys.json", name) for name in ("ann", "bob"))
    client = make(auth="keys", requests_per_minute=3)

    def ask(key: str) -> TestResponse:
        return client.post("/generate", json={}, headers={"X-API-Key": key})

    assert [ask(ann).status_code for _ in range(4)] == [422] * 3 + [429]
    refused = ask(ann)
    assert refused.get_json()["code"] == "rate_limited"
    assert 15 <= int(refused.headers["Retry-After"]) <= 20
    assert ask(bob).status_code == 422, "another one's business"
    assert ask("wrong").status_code == 401
    assert client.post("/warm", headers={"X-API-Key": ann}).status_code == 202
    assert seen(client, X_API_Key=ann) == ["aurora", "pop"], "looking costs nothing"
    dialect = client.post("/v1/images/generations", json={}, headers={"X-API-Key": ann})
    assert (dialect.status_code, "Retry-After" in dialect.headers) == (429, True)


def test_by_default_nobody_counts(make: Callable[..., FlaskClient]) -> None:
    client = make()
    assert {client.post("/generate", json={}).status_code for _ in range(200)} == {422}


# What is open to whom


def test_free_endpoints_exist(make: Callable[..., FlaskClient]) -> None:
    rules = {rule.endpoint for rule in make().application.url_map.iter_rules()}
    assert rules >= auth.FREE
    assert rules >= auth._UNCOUNTED


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True),
        ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("example.com", False),
        ("localhost.example.com", False),
    ],
)  # fmt: skip
def test_what_is_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"IMAGEGEN_HOST": "0.0.0.0"}, "IMAGEGEN_ALLOW_ANYONE=yes"),
        ({"IMAGEGEN_HOST": "::", "IMAGEGEN_ROLE": "render"}, "IMAGEGEN_ALLOW_ANYONE=yes"),
        ({"IMAGEGEN_AUTH": "keys", "IMAGEGEN_ALLOW_ANYONE": "yes"}, "exclude each other"),
        ({"IMAGEGEN_AUTH": "keys", "IMAGEGEN_KEYS": "/nowhere/keys.json"}, "keys create"),
    ],
)
def test_a_start_that_would_let_anyone_in_by_mistake_is_refused(
    serve: Callable[..., Server], environment: dict[str, str], sentence: str
) -> None:
    server = serve(**environment)
    assert server.process.wait(30) == 2
    _, log = server.end()
    assert sentence in log


def test_who_says_it_twice_may_be_open(serve: Callable[..., Server]) -> None:
    server = serve(IMAGEGEN_HOST="0.0.0.0", IMAGEGEN_ALLOW_ANYONE="yes")
    server.wait_until("/brands")


# From a command line


def test_a_command_asks_a_service_with_its_key(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    key = create_key(tmp_path / "keys.json", "shop", "pop")
    server = serve(IMAGEGEN_AUTH="keys", IMAGEGEN_KEYS=str(tmp_path / "keys.json"))
    server.wait_until("/readyz")
    url = f"http://127.0.0.1:{server.port}"
    words = ["generate", "--brand", "pop", "a mug", "--url", url, "-o", str(tmp_path / "mugs")]

    def run(**more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "imagegen", *words]
        environment = os.environ | more
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    without = run()
    assert (without.returncode, "IMAGEGEN_API_KEY" in without.stderr) == (2, True)
    there = run(IMAGEGEN_API_KEY=key)
    assert there.returncode == 0
    assert [one.suffix for one in (tmp_path / "mugs").iterdir()] == [".png"]
    settings = Settings.from_environment({"IMAGEGEN_API_KEY": key})
    assert key not in there.stdout + there.stderr + repr(settings)


def test_rendering_here_asks_nobody_who_he_is(
    brands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("AUTH", "keys"), ("KEYS", "/nowhere/keys.json"), ("MODEL", "fake"),
        ("PRESETS", str(brands)), ("STORAGE", f"file:{tmp_path}/output"),
    ):  # fmt: skip
        monkeypatch.setenv(f"IMAGEGEN_{name}", value)
    words = ["generate", "--brand", "pop", "a mug", "-o", str(tmp_path / "mugs")]
    before = logging.getLogger().handlers
    try:
        assert cli.main(words) == 0
    finally:
        logging.getLogger().handlers = before


# Where it must not be found


def test_no_log_has_a_key_or_a_token_and_every_line_says_who_asked(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    key = create_key(tmp_path / "keys.json", "shop", "pop")
    secret = key.split("_", 2)[2]
    bearer = of_google("ann@example.com")
    for style in ("json", "text"):
        server = serve(
            IMAGEGEN_AUTH="keys", IMAGEGEN_KEYS=str(tmp_path / "keys.json"),
            IMAGEGEN_LOG_FORMAT=style,
        )  # fmt: skip
        server.wait_until("/readyz")
        password = basic("ann", key)
        server.ask("GET", "/brands", Authorization=f"Bearer {key}")
        server.ask("GET", "/brands", Authorization=password)
        server.ask("POST", "/generate", ASKED, **{"X-API-Key": key})
        server.ask("GET", f"/brands?key={key}", **{"X-API-Key": key})
        server.ask("GET", f"/images/{key}", **{"X-API-Key": key, "User-Agent": key})
        server.ask("POST", "/generate", ASKED | {"prompt": key}, **{"X-API-Key": key})
        server.ask("GET", "/brands", Authorization=f"Bearer {bearer}")
        server.ask("GET", "/brands", **{"X-Goog-IAP-JWT-Assertion": bearer})
        _, log = server.end()
        for hidden in (secret, bearer, bearer.split(".")[2], password.split()[1]):
            assert hidden not in log
        if style == "json":
            lines = [json.loads(line) for line in log.splitlines()]
            asked = [line for line in lines if "httpRequest" in line]
            who = [line.get("caller") for line in asked]
            assert who == ["shop"] * 6 + [None] * 2


def test_the_render_process_never_learns_who_asked(
    brands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytes] = []
    send = spawn.Child.send

    def recorded(child: spawn.Child, message: Any) -> None:
        sent.append(pickle.dumps(message))
        send(child, message)

    monkeypatch.setattr(spawn.Child, "send", recorded)
    key = create_key(tmp_path / "keys.json", "ann@example.com")
    application: Application = build(
        Settings(
            model="fake", presets=str(brands), storage=f"file:{tmp_path}/output", auth="keys",
            keys=str(tmp_path / "keys.json"),
        )
    )  # fmt: skip
    application.start()
    try:
        application.engine.wait_ready(20)
        answer = create_app(application).test_client().post(
            "/generate", json=ASKED, headers={"X-API-Key": key}
        )  # fmt: skip
    finally:
        application.stop()
    assert answer.status_code == 200
    everything = b"".join(sent)
    assert b"a mug" in everything, "what was asked did cross"
    for who in (b"ann@example.com", b"ann", id_of(key).encode(), b"127.0.0.1"):
        assert who not in everything
