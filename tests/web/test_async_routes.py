"""Prefer: respond-async, keys, cancelling and events, through Flask's client."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image

from imagegen.application import Application
from imagegen.web import event_stream

BODY: dict[str, Any] = {"brand": "aurora", "prompt": "a mug", "seed": 0}
SLOW = BODY | {"prompt": "!slow", "num_inference_steps": 3}
LONG = BODY | {"prompt": "!slow", "num_inference_steps": 90}
ASYNC = {"Prefer": "respond-async"}
STREAM = {"Accept": "text/event-stream"}


def until(condition: Callable[[], bool], within_s: float = 10) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within_s
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def idle(application: Application) -> Any:
    yield
    until(lambda: not application.generations)


def events_of(text: str) -> list[tuple[int, str, Any]]:
    """(id, event, data) of a stream, comments left out."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] != ":")
        if "data" in fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


def test_respond_async_acknowledges_at_once(client: FlaskClient) -> None:
    accepted = client.post("/generate", json=SLOW, headers=ASYNC)
    body = accepted.get_json()
    assert accepted.status_code == 202
    assert accepted.headers["Preference-Applied"] == "respond-async"
    assert accepted.headers["Location"] == f"/generations/{body['id']}"
    assert (body["status"], body["queue_position"], body["images"]) == ("queued", 0, [])
    until(lambda: client.get(accepted.headers["Location"]).get_json()["status"] == "succeeded")
    done = client.get(accepted.headers["Location"]).get_json()
    assert "queue_position" not in done
    assert client.get(done["images"][0]["url"]).status_code == 200


@pytest.mark.parametrize(
    "prefer", ["respond-async, wait=10", "foo, respond-async", "Respond-Async"]
)
def test_other_preferences_are_passed_over(client: FlaskClient, prefer: str) -> None:
    assert client.post("/generate", json=BODY, headers={"Prefer": prefer}).status_code == 202


def test_another_preference_alone_is_none(client: FlaskClient) -> None:
    answer = client.post("/generate", json=BODY, headers={"Prefer": "return=minimal"})
    assert (answer.status_code, "Preference-Applied" in answer.headers) == (200, False)


def test_what_is_refused_is_refused_at_once(client: FlaskClient) -> None:
    refused = client.post("/generate", json=BODY | {"prompt": "a casino"}, headers=ASYNC)
    assert (refused.status_code, refused.get_json()["code"]) == (422, "banned_term")
    assert "Location" not in refused.headers


def test_a_key_gives_the_same_answer(client: FlaskClient) -> None:
    body = {"brand": "aurora", "prompt": "a mug"}  # no seed: by chance it would be another picture
    said = [
        client.post("/generate", json=body, headers={"Idempotency-Key": "k 1"}) for _ in range(2)
    ]
    assert said[0].get_json() == said[1].get_json()
    picture = client.post(
        "/generate", json=body, headers={"Idempotency-Key": "k 1", "Accept": "image/png"}
    )
    assert picture.headers["X-Generation-Id"] == said[0].get_json()["id"]
    again = client.post("/generate", json=body, headers={"Idempotency-Key": "k 1"} | ASYNC)
    assert (again.status_code, again.get_json()["status"]) == (200, "succeeded")
    other = client.post("/generate", json=BODY, headers={"Idempotency-Key": "k 1"})
    assert (other.status_code, other.get_json()["code"]) == (422, "idempotency_conflict")


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "schlüssel".encode().decode("latin-1")])
def test_a_key_that_is_none_is_refused(client: FlaskClient, key: str) -> None:
    refused = client.post("/generate", json=BODY, headers={"Idempotency-Key": key})
    assert refused.status_code == 422
    assert [fault["field"] for fault in refused.get_json()["errors"]] == ["Idempotency-Key"]


def test_delete_cancels_and_only_once(client: FlaskClient) -> None:
    url = client.post("/generate", json=LONG, headers=ASYNC).headers["Location"]
    cancelled = client.delete(url)
    assert (cancelled.status_code, cancelled.get_json()["status"]) == (200, "cancelled")
    again = client.delete(url)
    assert (again.status_code, again.get_json()["code"]) == (409, "not_cancellable")
    assert client.get(url).get_json()["status"] == "cancelled"
    nobodys = client.delete("/generations/gen_" + "0" * 20)
    assert (nobodys.status_code, nobodys.get_json()["code"]) == (404, "unknown_generation")


def test_a_stream_tells_everything(client: FlaskClient) -> None:
    answer = client.post("/generate", json=SLOW | {"num_images": 2}, headers=STREAM)
    assert answer.content_type == "text/event-stream; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    events = events_of(answer.get_data(as_text=True))
    kinds = [kind for _, kind, _ in events]
    assert kinds[0] == "queued"
    assert kinds[-1] == "done"
    assert set(kinds) == {"queued", "step", "preview", "image", "done"}
    steps = [data for _, kind, data in events if kind == "step" and data["index"] == 0]
    assert [(step["step"], step["of"]) for step in steps] == [(1, 3), (2, 3), (3, 3)]
    assert steps[0]["eta_s"] is None
    assert steps[1]["eta_s"] > 0
    look = next(data for _, kind, data in events if kind == "preview")
    picture = Image.open(io.BytesIO(base64.b64decode(look["image"])), formats=["JPEG"])
    assert max(picture.size) <= 64
    images = [data for _, kind, data in events if kind == "image"]
    done = events[-1][2]
    assert [{k: v for k, v in one.items() if k != "index"} for one in images] == done["images"]
    assert done == client.get(f"/generations/{done['id']}").get_json()
    assert done["images"][0]["url"].startswith("http://localhost/images/")


def test_a_stream_of_a_failure_ends_with_a_problem(client: FlaskClient) -> None:
    answer = client.post("/generate", json=BODY | {"prompt": "!nan"}, headers=STREAM)
    _, kind, data = events_of(answer.get_data(as_text=True))[-1]
    assert (kind, data["code"], data["status"]) == ("error", "render_failed", 500)


def test_what_is_refused_is_no_stream(client: FlaskClient) -> None:
    refused = client.post("/generate", json=BODY | {"prompt": "a casino"}, headers=STREAM)
    assert (refused.status_code, refused.mimetype) == (422, "application/problem+json")


def test_a_stream_goes_on_where_it_was_cut(client: FlaskClient) -> None:
    url = client.post("/generate", json=SLOW, headers=ASYNC).headers["Location"] + "/events"

    def listen(last: str) -> list[Any]:
        answer = client.get(url, headers={"Last-Event-ID": last})
        events = events_of(answer.get_data(as_text=True))
        return [one for one in events if one[1] != "preview"]  # only the newest look is kept

    whole = listen("")
    middle = whole[len(whole) // 2][0]
    assert listen(str(middle)) == [one for one in whole if one[0] > middle]
    over = client.get(url, headers={"Last-Event-ID": str(whole[-1][0])})
    assert (over.status_code, over.data) == (204, b""), "a browser connects no more"
    assert listen("x\u00e4") == whole
    assert client.get("/generations/gen_1/events").status_code == 404


def test_two_may_follow_the_same_one(client: FlaskClient, application: Application) -> None:
    url = client.post("/generate", json=SLOW, headers=ASYNC).headers["Location"] + "/events"
    heard: list[list[Any]] = []

    def listen() -> None:
        text = application_client.get(url).get_data(as_text=True)
        heard.append([one for one in events_of(text) if one[1] != "preview"])

    application_client = client.application.test_client()
    threads = [threading.Thread(target=listen) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard[0] == heard[1]
    assert heard[0][-1][1] == "done"


def test_silence_is_filled_with_comments(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(event_stream, "_LOOK_S", 0.05)
    text = client.post("/generate", json=SLOW, headers=STREAM).get_data(as_text=True)
    assert ": still here\n\n" in text


def test_a_listener_who_leaves_takes_only_his_own_along(
    client: FlaskClient, application: Application
) -> None:
    followed = client.post("/generate", json=LONG, headers=ASYNC).get_json()["id"]
    listening = client.get(f"/generations/{followed}/events", buffered=False)
    next(iter(listening.response))
    listening.close()
    own = client.post("/generate", json=LONG | {"seed": 1}, headers=STREAM, buffered=False)
    next(iter(own.response))
    own.close()
    until(lambda: len(application.generations) == 1)
    assert client.get(f"/generations/{followed}").get_json()["status"] in ("queued", "running")
    assert client.delete(f"/generations/{followed}").status_code == 200


def test_only_so_many_may_follow(client: FlaskClient) -> None:
    streams = event_stream.Streams(2)
    streams.take()
    streams.take()
    with pytest.raises(event_stream.TooManyStreams):
        streams.take()
    streams.leave()
    streams.take()
