"""The role `web` with a renderer under the test's control: waking, tokens, time, and what fails."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sent_pictures import half_mask, scene, text_of
from stand_ins import Metadata, Renderer, number_of, running, write_certificate
from web_server import Server, free_port

from imagegen import errors
from imagegen.application import Front
from imagegen.bootstrap import build_for_role
from imagegen.callers import Caller
from imagegen.errors import InvalidSettings
from imagegen.front import renderer as front_renderer
from imagegen.front import service as front_service
from imagegen.generation import GenerationRequest
from imagegen.settings import Settings
from imagegen.web.app import create_app

REQUEST = GenerationRequest(brand="pop", prompt="a mug", seed=7)
ASKED = {"brand": "pop", "prompt": "a mug", "seed": 7}


@pytest.fixture
def renderer() -> Renderer:
    return Renderer()


@pytest.fixture
def make_front(brands: Path, tmp_path: Path, renderer: Renderer) -> Iterator[Callable[..., Front]]:
    with running(renderer) as url:

        def make(**changes: object) -> Front:
            said = {
                "role": "web", "render_url": url, "presets": str(brands),
                "storage": f"file:{tmp_path}/output",
            }  # fmt: skip
            front = build_for_role(Settings.model_validate(said | changes))
            assert isinstance(front, Front)
            return front

        yield make
        renderer.open.set()
        renderer.awake.set()


@pytest.fixture
def front(make_front: Callable[..., Front]) -> Iterator[Front]:
    front = make_front()
    yield front
    front.stop()


@pytest.fixture
def page(front: Front) -> FlaskClient:
    return create_app(front).test_client()


def answer(tmp_path: Path) -> bytes:
    """What the renderer says when it has put a picture into the common storage."""
    path = "pop/2026/11/gen_1-0-7.png"
    file = tmp_path / "output" / path
    file.parent.mkdir(parents=True)
    file.write_bytes(b"picture")
    image = {
        "url": f"http://renderer/images/{path}", "storage_uri": file.as_uri(), "seed": 7,
        "width": 32, "height": 32, "content_type": "image/png", "size_bytes": 7, "sha256": "0",
    }  # fmt: skip
    generation = {
        "id": "gen_1", "status": "succeeded", "brand": "pop", "preset_version": "sha256:0",
        "model": "fake", "created_at": "2026-11-26T10:00:00Z", "images": [image],
    }  # fmt: skip
    return json.dumps(generation).encode()


def until(condition: Callable[[], bool], within_s: float = 20) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within_s
        time.sleep(0.01)


# Waking


def test_five_who_type_wake_it_once(page: FlaskClient, renderer: Renderer) -> None:
    renderer.awake.clear()
    assert page.get("/studio/state").get_json()["ready"], "asleep is nothing to wait for"
    for _ in range(5):
        said = page.post("/warm")
        assert (said.status_code, said.get_json()["phase"]) == (202, "waking up")
    until(lambda: renderer.asked == ["GET /readyz"])
    state = page.get("/studio/state").get_json()
    assert (state["ready"], state["sentence"]) == (False, "The renderer is waking up…")
    renderer.awake.set()
    until(lambda: page.get("/readyz").get_json()["phase"] == "ready")
    until(lambda: renderer.asked == ["GET /readyz", "GET /capabilities"])
    page.post("/warm")
    time.sleep(0.1)
    assert len(renderer.asked) == 2, "who is awake is not woken"


def test_one_that_cannot_be_woken_is_tried_again_only_after_a_while(
    make_front: Callable[..., Front], monkeypatch: pytest.MonkeyPatch
) -> None:
    front = make_front(render_url=f"http://127.0.0.1:{free_port()}")
    tried = []
    look = front.engine._look
    monkeypatch.setattr(front.engine, "_look", lambda: tried.append(1) or look())
    for _ in range(3):
        front.warm()
        until(lambda: front.engine.status().phase == "asleep")
    assert len(tried) == 1
    monkeypatch.setattr(front_renderer, "WARM_EVERY_S", 0.0)
    front.engine._known.next_warm_s = 0.0
    front.warm()
    assert len(tried) == 2


def test_another_sites_page_wakes_nobody(page: FlaskClient, renderer: Renderer) -> None:
    refused = page.post("/warm", headers={"Sec-Fetch-Site": "cross-site"})
    assert refused.status_code == 403
    assert not renderer.asked


def test_while_somebody_waits_the_renderers_phases_are_told(
    page: FlaskClient, renderer: Renderer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(front_service, "_PROMPTLY_S", 0.0)
    monkeypatch.setattr(front_renderer, "_LOOK_S", 0.02)
    renderer.phase, renderer.generate = "load", (200, {}, answer(tmp_path))
    renderer.open.clear()
    with ThreadPoolExecutor() as pool:
        generating = pool.submit(lambda: page.post("/generate", json=ASKED))
        until(lambda: page.get("/readyz").get_json()["phase"] == "load")
        ready = page.get("/readyz")
        assert ready.status_code == 200, "it takes requests all the while"
        assert ready.get_json() == {
            "phase": "load", "eta_s": 12.5, "queued": 3, "running": 1, "start_s": {"import": 1.5},
        }  # fmt: skip
        state = page.get("/studio/state").get_json()
        assert state["sentence"] == "The renderer is waking up: weights…"
        assert state["left"] == "about 13 s to go"
        assert [phase["status"] for phase in state["phases"]] == [
            "done",
            "done",
            "now",
            *["next"] * 2,
        ]
        assert state["phases"][0] == {"name": "libraries", "status": "done", "seconds": "1.5 s"}
        renderer.phase = "ready"
        until(lambda: page.get("/readyz").get_json()["phase"] == "ready")
        state = page.get("/studio/state").get_json()
        assert (state["ready"], state["sentence"], state["queued"]) == (True, "", 3)
        renderer.open.set()
        assert generating.result().status_code == 200
    time.sleep(0.1)
    looks = len(renderer.asked)
    page.get("/readyz")
    time.sleep(0.1)
    assert len(renderer.asked) == looks, "nobody waits, nobody asks"


def test_who_has_just_answered_is_not_said_to_be_waking(front: Front, renderer: Renderer) -> None:
    renderer.awake.clear()
    front.engine.answered()
    until(lambda: renderer.asked == ["GET /readyz"])
    assert front.engine.status().phase == "ready"


# What is sent and what comes back


def test_what_is_forwarded(page: FlaskClient, renderer: Renderer, tmp_path: Path) -> None:
    renderer.generate = (200, {}, answer(tmp_path))
    said = page.post("/generate", json=ASKED, headers={"X-Imagegen-Caller": "somebody else"})
    assert (
        said.get_json()["images"][0]["url"] == "http://localhost/images/pop/2026/11/gen_1-0-7.png"
    )
    assert json.loads(renderer.bodies[0]) == ASKED | {"deadline_s": 300.0}
    assert renderer.headers[0]["X-Imagegen-Caller"] == "127.0.0.1"
    assert "X-Serverless-Authorization" not in renderer.headers[0], "not over plain HTTP"
    picture = page.post("/generate", json=ASKED, headers={"Accept": "image/png"})
    assert (picture.data, picture.headers["X-Seed"]) == (b"picture", "7")


def test_pictures_are_forwarded_as_they_came(
    page: FlaskClient, renderer: Renderer, tmp_path: Path
) -> None:
    renderer.generate = (200, {}, answer(tmp_path))
    pictures = {"init_image": text_of(scene(2_000, 40)), "mask": text_of(half_mask(2_000, 40))}
    assert page.post("/generate", json=ASKED | pictures | {"strength": 1}).status_code == 200
    assert json.loads(renderer.bodies[0]) == ASKED | pictures | {"strength": 1, "deadline_s": 300.0}
    refused = page.post("/generate", json=ASKED | {"init_image": "AAAA"})
    assert refused.status_code == 422
    assert sum(map(bool, renderer.bodies)) == 1, "what is no picture is refused without it"


@pytest.mark.parametrize(
    ("refusal", "code", "retry_after"),
    [
        (
            (429, {"Retry-After": "17"}, b'{"code": "queue_full", "detail": "x"}'),
            "queue_full",
            "17",
        ),
        ((503, {"Retry-After": "9"}, b'{"code": "draining", "detail": "x"}'), "draining", "9"),
        ((429, {}, b"Rate exceeded."), "queue_full", "5"),
        ((500, {}, b'{"code": "internal_error", "detail": "see abc"}'), "render_failed", None),
        ((503, {}, b"<html>"), "service_unreachable", "5"),
        ((403, {}, b"<html>"), "service_unreachable", "5"),
        ((200, {}, b"<html>hotel wifi"), "service_unreachable", "5"),
    ],
)
def test_what_the_renderer_or_its_platform_refuses(
    page: FlaskClient,
    renderer: Renderer,
    refusal: tuple[int, dict[str, str], bytes],
    code: str,
    retry_after: str | None,
) -> None:
    renderer.generate = refusal
    said = page.post("/generate", json=ASKED)
    assert said.get_json()["code"] == code
    assert said.headers.get("Retry-After") == retry_after
    assert said.status_code == (503 if refusal[0] in (200, 403) else refusal[0])


def test_two_storages_are_one_too_many(
    make_front: Callable[..., Front], renderer: Renderer, tmp_path: Path
) -> None:
    renderer.generate = (200, {}, answer(tmp_path))
    front = make_front(storage=f"file:{tmp_path}/elsewhere")
    with pytest.raises(errors.StorageUnavailable, match="both need the same IMAGEGEN_STORAGE"):
        front.service.generate(REQUEST)


# Time


def test_a_deadline_is_kept_even_where_the_renderer_never_hears_of_it(
    front: Front, renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the platform holds the request until an instance has started."""
    monkeypatch.setattr(front_service, "MARGIN_S", 0.1)
    renderer.open.clear()
    with pytest.raises(errors.DeadlineExceeded, match=r"within 0\.2 s"):
        front.service.generate(REQUEST.model_copy(update={"deadline_s": 0.2}))
    assert json.loads(renderer.bodies[0])["deadline_s"] == 0.2


def test_who_waits_when_the_instance_must_end_is_told(front: Front, renderer: Renderer) -> None:
    renderer.open.clear()
    with ThreadPoolExecutor() as pool:
        generating = pool.submit(front.service.generate, REQUEST)
        until(lambda: front.service.door.inside == 1)
        front.drain(0.05, 2.0)
        with pytest.raises(errors.Draining):
            generating.result(5)
    with pytest.raises(errors.Draining):
        front.service.generate(REQUEST)
    assert front.engine.status().phase == "draining"


# Who asks


def test_only_the_renderers_role_believes_for_whom_it_is_asked(
    make_front: Callable[..., Front], brands: Path, tmp_path: Path
) -> None:
    callers: list[str] = []

    class Recorder:
        def start(self, _request: GenerationRequest, caller: Caller, **_: object) -> None:
            callers.append(caller.name)
            raise errors.RenderFailed("enough seen")

    for role in ("all", "render"):
        settings = Settings.model_validate(
            {"role": role, "model": "fake", "presets": str(brands), "storage": f"file:{tmp_path}"}
        )
        parts = build_for_role(settings)
        object.__setattr__(parts, "generations", Recorder())
        client = create_app(parts).test_client()
        for said in ({"X-Imagegen-Caller": "192.0.2.7"}, {}, {"X-Imagegen-Caller": "9" * 5_000}):
            client.post("/generate", json=ASKED, headers=said)
    assert callers == ["127.0.0.1"] * 3 + ["192.0.2.7", "127.0.0.1", "9" * 1_000]


def web_with_tokens(
    serve: Callable[..., Server], certificate: Path, url: str, metadata: str
) -> Server:
    host = metadata.removeprefix("http://")
    web = serve(
        IMAGEGEN_ROLE="web", IMAGEGEN_RENDER_URL=url, SSL_CERT_FILE=str(certificate),
        GCE_METADATA_HOST=host, GCE_METADATA_IP=host,
    )  # fmt: skip
    web.wait_until("/readyz", timeout_s=60)
    return web


@pytest.mark.parametrize(("lives_s", "kept"), [(3_600, True), (60, False)])
def test_an_id_token_goes_along_and_is_kept_until_it_is_about_to_end(
    serve: Callable[..., Server], renderer: Renderer, tmp_path: Path, lives_s: int, kept: bool
) -> None:
    certificate = write_certificate(tmp_path / "certificate.pem")
    metadata = Metadata(lives_s)
    renderer.generate = (429, {}, b'{"code": "queue_full", "detail": "x"}')
    with running(metadata) as identity, running(renderer, certificate) as url:
        web = web_with_tokens(serve, certificate, url, identity)
        assert not metadata.asked, "nobody needs one yet"
        for _ in range(2):
            status, _, body = web.ask("POST", "/generate", ASKED)
            assert status == 429, body
        web.end()
    tokens = [seen["X-Serverless-Authorization"] for seen in renderer.headers]
    numbers = [number_of(token.removeprefix("Bearer ")) for token in tokens]
    assert len(numbers) >= 2
    assert len(set(numbers)) == len(metadata.asked) == (1 if kept else len(numbers))
    assert f"audience={url.replace(':', '%3A').replace('/', '%2F')}" in metadata.asked[0]


def test_without_anybody_who_gives_a_token_the_sentence_says_so(
    serve: Callable[..., Server], renderer: Renderer, tmp_path: Path
) -> None:
    certificate = write_certificate(tmp_path / "certificate.pem")
    nobody = f"http://127.0.0.1:{free_port()}"
    with running(renderer, certificate) as url:
        web = web_with_tokens(serve, certificate, url, nobody)
        status, _, body = web.ask("POST", "/generate", ASKED)
    problem = json.loads(body)
    assert (status, problem["code"]) == (503, "service_unreachable")
    assert problem["detail"].startswith(f"no ID token for {url}: ")
    assert not renderer.asked


# An operator's mistakes


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"role": "web"}, "IMAGEGEN_ROLE=web needs IMAGEGEN_RENDER_URL"),
        ({"render_url": "http://r"}, "goes with IMAGEGEN_ROLE=web"),
        *(
            ({"role": "web", "render_url": url}, "say the renderer's address")
            for url in ("renderer", "ftp://r", "http://", "http://r/path", "http://r:port")
        ),
    ],
)
def test_a_role_that_cannot_be_stops_the_start(
    brands: Path, tmp_path: Path, changes: dict[str, object], sentence: str
) -> None:
    said = {"model": "fake", "presets": str(brands), "storage": f"file:{tmp_path}/output"}
    with pytest.raises(InvalidSettings, match=sentence):
        build_for_role(Settings.model_validate(said | changes))


def test_no_thread_is_left_behind(front: Front, renderer: Renderer, tmp_path: Path) -> None:
    renderer.generate = (200, {}, answer(tmp_path))
    front.service.generate(REQUEST)
    names = ("look", "call")
    until(lambda: not [one for one in threading.enumerate() if one.name in names])
