"""Both clients against servers that answer, refuse, lie, redirect and go silent."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import subprocess
import sys

import pytest
from scripted_server import Reply

from imagegen import errors
from imagegen.client import Client, retrying
from imagegen.client.request import RequestFields
from imagegen.generation import GenerationRequest

MUG = {"brand": "plain", "prompt": "a mug", "seed": 7}
BRANDS = {"brands": [{"id": "plain", "name": "Plain", "formats": {}, "future_field": 1}]}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "_FIRST_S", 0.01)


def generation(url: str = "/images/x.png", sha256: str | None = None) -> dict[str, object]:
    return {
        "id": "gen_1", "status": "succeeded", "brand": "plain", "preset_version": "sha256:0",
        "model": "m", "created_at": "2026-11-23T10:00:00Z", "future_field": 1,
        "images": [{"url": url, "storage_uri": "gs://b/x.png", "seed": 7, "width": 8, "height": 8,
                    "content_type": "image/png", "size_bytes": 7,
                    "sha256": sha256 or hashlib.sha256(b"picture").hexdigest()}],
    }  # fmt: skip


def problem(status: int, code: str, retry_after: str | None = None, **more: object) -> Reply:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return Reply(status, {"code": code, "detail": "a sentence", **more}, headers)


def test_a_picture_comes_back_whole_and_can_be_saved(server, connect, tmp_path):
    server.replies["/generate"] = Reply(body=generation())
    server.replies["/images/x.png"] = Reply(body=b"picture")
    [image] = connect(server.url + "/").generate(**MUG, format=None).images
    assert (image.seed, image.bytes()) == (7, b"picture")
    assert image.save(tmp_path) == tmp_path / "x.png"
    assert image.save(tmp_path / "mug.png").read_bytes() == b"picture"
    assert json.loads(server.asked[0].body) == MUG
    assert [asked.path for asked in server.asked].count("/images/x.png") == 3


def test_every_call_has_a_key_of_its_own_and_its_retries_share_it(server, connect):
    busy = [problem(429, "queue_full", "0.01"), Reply(502, b"", {"Retry-After": "0"})]
    server.replies["/generate"] = [*busy, Reply(body=generation())]
    client = connect(server.url)
    client.generate(**MUG)
    client.generate(**MUG)
    client.generate(**MUG, idempotency_key="mine")
    keys = [asked.headers["Idempotency-Key"] for asked in server.asked]
    assert len(keys) == 5
    assert keys[0] == keys[1] == keys[2] != keys[3]
    assert len(keys[0]) == 32
    assert keys[4] == "mine"
    assert "idempotency_key" not in json.loads(server.asked[-1].body)


@pytest.mark.parametrize(
    ("reply", "error", "retry_after_s"),
    [
        (problem(429, "queue_full", "7"), errors.QueueFull, 7),
        (problem(503, "model_loading", "12"), errors.ModelLoading, 12),
        (problem(503, "draining"), errors.Draining, 5),
        (problem(503, "draining", "Wed, 21 Oct 2026 07:28:00 GMT"), errors.Draining, 5),
        (Reply(429, b"<html>no instance</html>"), errors.ServiceUnreachable, 5),
        (Reply(502, b"\xff", {"Retry-After": "1"}), errors.ServiceUnreachable, 1),
        (Reply(200, b"<html>hotel wifi"), errors.ServiceUnreachable, 5),
        (Reply(200, b"cut", {"Content-Length": "99"}), errors.ServiceUnreachable, 5),
    ],
)
def test_not_now_says_when_to_ask_again(server, connect, reply, error, retry_after_s):
    server.replies["/generate"] = reply
    with pytest.raises(error) as caught:
        connect(server.url, patience_s=0).generate(**MUG)
    assert caught.value.retry_after_s == retry_after_s


@pytest.mark.parametrize(
    ("reply", "error", "detail"),
    [
        (problem(404, "unknown_brand"), errors.UnknownBrand, "a sentence"),
        (problem(504, "deadline_exceeded"), errors.DeadlineExceeded, "a sentence"),
        (problem(500, "render_failed"), errors.RenderFailed, "a sentence"),
        (problem(422, "banned_term", errors=[{"field": "prompt", "message": "no"}]),
         errors.BannedTerm, "prompt: no"),
        (problem(422, "invalid_request", errors="?"), errors.InvalidRequest, "a sentence"),
        (problem(418, "teapot"), errors.RenderFailed, "HTTP 418 teapot"),
        (Reply(403, b"["), errors.RenderFailed, "HTTP 403: it wants to know who asks"),
        (Reply(500, b"[" * 50_000), errors.RenderFailed, "HTTP 500"),
    ],
)  # fmt: skip
def test_refusals_keep_their_kind_and_are_not_asked_again(server, connect, reply, error, detail):
    server.replies["/generate"] = reply
    with pytest.raises(error, match=detail) as caught:
        connect(server.url).generate(**MUG)
    assert not isinstance(caught.value, errors.Busy)
    assert len(server.asked) == 1


def test_a_wait_that_would_end_too_late_does_not_begin(server, connect):
    server.replies["/generate"] = problem(503, "model_loading", "61")
    with pytest.raises(errors.ModelLoading):
        connect(server.url).generate(**MUG)
    assert len(server.asked) == 1


def test_retries_wait_for_what_is_told_and_some_more_by_chance():
    retries = retrying.Retries(1_000)
    waits = [retries.wait_s(errors.QueueFull("", 3), answered=True) for _ in range(50)]
    assert all(3 <= wait_s <= 33 for wait_s in waits)
    assert len(set(waits)) == 50
    assert max(waits[:3]) < 3.1
    assert max(waits) > 10


def test_damaged_pictures_and_links_to_files_are_refused(server, connect, tmp_path):
    server.replies["/generate"] = [
        Reply(body=generation()), Reply(body=generation((tmp_path / "secret").as_uri()))
    ]  # fmt: skip
    server.replies["/images/x.png"] = Reply(body=b"pictur3")
    client = connect(server.url)
    with pytest.raises(errors.ServiceUnreachable, match="damaged"):
        client.generate(**MUG).images[0].bytes()
    with pytest.raises(errors.RenderFailed, match=r"no http\(s\) address"):
        client.generate(**MUG).images[0].bytes()


@pytest.mark.parametrize(
    "url", ["localhost:8080", "file:///etc", "ftp://x", "", "http://", "http://[::1", "http://x:99999"]
)  # fmt: skip
def test_only_http_addresses_are_asked(url, connect):
    with pytest.raises(errors.ServiceUnreachable, match=r"no http\(s\) address"):
        connect(url)


@pytest.mark.parametrize("body", [b"<html>", {"brands": [1]}, [], {"brands": [{"x": 1}]}])
def test_another_kind_of_service_is_recognised(server, connect, body):
    server.replies["/brands"] = Reply(body=body)
    with pytest.raises(errors.ServiceUnreachable, match="is no imagegen service"):
        connect(server.url).brands()


def test_brands_and_capabilities(server, connect):
    server.replies["/brands"] = Reply(body=BRANDS)
    server.replies["/capabilities"] = Reply(body={"model": None})
    client = connect(server.url)
    assert [brand.id for brand in client.brands()] == ["plain"]
    assert client.capabilities() == {"model": None}


def test_nobody_there_is_told_after_a_few_tries(connect):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(errors.ServiceUnreachable, match=f"cannot reach 127.0.0.1:{port}: "):
        connect(f"http://127.0.0.1:{port}").brands()


def test_a_redirect_keeps_the_method_and_is_followed_once(server, connect):
    server.replies["/old/generate"] = Reply(301, b"", {"Location": "/generate"})
    server.replies["/generate"] = Reply(body=generation())
    client = connect(f"{server.url}/old")
    client.generate(**MUG)
    client.generate(**MUG)
    assert [asked.path for asked in server.asked] == ["/old/generate", "/generate", "/generate"]
    assert all(json.loads(asked.body) == MUG for asked in server.asked)


def test_redirects_without_end_and_to_nowhere_end(server, connect):
    server.replies["/brands"] = Reply(302, b"", {"Location": "/brands"})
    with pytest.raises(errors.RenderFailed, match="without end"):
        connect(server.url).brands()
    server.replies["/brands"] = Reply(302, b"", {"Location": "file:///etc/passwd"})
    with pytest.raises(errors.RenderFailed, match=r"no http\(s\) address"):
        connect(server.url).brands()


def test_who_asks_is_told_to_the_service_and_to_no_other_host(server, connect):
    elsewhere = server.url.replace("127.0.0.1", "localhost")
    server.replies["/generate"] = Reply(body=generation(f"{elsewhere}/images/x.png"))
    server.replies["/images/x.png"] = Reply(body=b"picture")
    tokens = iter(["one", "two"])
    client = connect(server.url, api_key="ik_1", id_token=lambda: next(tokens))
    client.generate(**MUG).images[0].bytes()
    asked, fetched = server.asked
    assert asked.headers["Authorization"] == "Bearer ik_1"
    assert asked.headers["X-Serverless-Authorization"] == "Bearer one"
    assert fetched.headers["Authorization"] is None
    assert fetched.headers["X-Serverless-Authorization"] is None
    connect(server.url, id_token="fixed").generate(**MUG)
    assert server.asked[-1].headers["Authorization"] == "Bearer fixed"
    assert "ik_1" not in repr(client)


def test_a_job_is_submitted_looked_at_waited_for_and_cancelled(server, connect):
    queued = generation() | {"status": "queued", "images": [], "queue_position": 3}
    server.replies["/generate"] = Reply(202, queued, {"Location": "/generations/gen_1"})
    server.replies["/generations/gen_1"] = [
        Reply(body=queued), Reply(body=queued | {"status": "running"}),
        problem(503, "draining", "0"), Reply(body=generation()),
    ]  # fmt: skip
    client = connect(server.url)
    submitted = client.submit(**MUG)
    assert (submitted.id, submitted.status, submitted.queue_position) == ("gen_1", "queued", 3)
    assert server.asked[0].headers["Prefer"] == "respond-async"
    assert client.get("gen_1").status == "queued"
    assert client.wait("gen_1").images[0].seed == 7
    assert client.cancel("gen_1").status == "succeeded"
    assert [asked.method for asked in server.asked].count("DELETE") == 1


@pytest.mark.parametrize(
    ("ended", "error", "words"),
    [
        ({"status": "cancelled"}, errors.Cancelled, "gen_1 was cancelled"),
        ({"status": "failed", "error": {"code": "banned_term", "detail": "casino"}},
         errors.BannedTerm, "casino"),
        ({"status": "failed", "error": {"code": "never_heard_of", "detail": "odd"}},
         errors.RenderFailed, "gen_1: odd"),
        ({"status": "failed"}, errors.RenderFailed, "gen_1"),
    ],
)  # fmt: skip
def test_what_a_job_failed_of_is_raised_where_it_is_waited_for(
    server, connect, ended, error, words
):
    server.replies["/generations/gen_1"] = Reply(body=generation() | {"images": []} | ended)
    client = connect(server.url)
    assert client.get("gen_1").status == ended["status"]
    with pytest.raises(error, match=words):
        client.wait("gen_1")


def test_an_id_stays_one_segment_of_the_path(server, connect):
    with pytest.raises(errors.RenderFailed, match="HTTP 404"):
        connect(server.url).get("../brands?x=1#y")
    assert server.asked[0].path == "/generations/..%2Fbrands%3Fx%3D1%23y"


def message(number: int, kind: str, data: object) -> bytes:
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()


STREAM = {"Content-Type": "text/event-stream; charset=utf-8"}
QUEUED = message(1, "queued", {"id": "gen_1", "status": "queued", "queue_position": 2})
FIRST_STEP = message(2, "step", {"index": 0, "step": 1, "of": 2, "eta_s": None})
LOOK = message(3, "preview", {"index": 0, "content_type": "image/jpeg", "image": "anBlZw=="})
IMAGE = message(4, "image", {"index": 0, **generation()["images"][0]})
DONE = message(5, "done", generation())
EVENTS = "/generations/gen_1/events"


def test_what_happens_on_the_way_is_told(server, connect):
    news = message(6, "something_new", {}) + b": still here\n\n"
    body = b"retry: 1000\n\n" + QUEUED + FIRST_STEP + LOOK + IMAGE + news + DONE
    server.replies["/generate"] = Reply(200, body, STREAM)
    server.replies["/images/x.png"] = Reply(body=b"picture")
    queued, step, look, image, done = connect(server.url).stream(**MUG)
    assert (queued.kind, queued.id, queued.queue_position) == ("queued", "gen_1", 2)
    assert (step.kind, step.index, step.step, step.of, step.eta_s) == ("step", 0, 1, 2, None)
    assert (look.kind, look.jpeg) == ("preview", b"jpeg")
    assert (image.kind, image.index, image.image.bytes()) == ("image", 0, b"picture")
    assert (done.kind, done.generation.id) == ("done", "gen_1")
    assert server.asked[0].headers["Accept"] == "text/event-stream"
    assert len(server.asked[0].headers["Idempotency-Key"]) == 32


def test_a_stream_that_breaks_goes_on_where_it_was(server, connect):
    cut = STREAM | {"Content-Length": "99999"}
    server.replies["/generate"] = [
        problem(503, "draining", "0"),
        Reply(200, QUEUED + FIRST_STEP, cut),
    ]
    server.replies[EVENTS] = [
        Reply(200, b": nothing\n\n", STREAM), problem(429, "too_many_streams", "0"),
        Reply(200, IMAGE, STREAM), Reply(200, DONE, STREAM),
    ]  # fmt: skip
    kinds = [event.kind for event in connect(server.url).stream(**MUG)]
    assert kinds == ["queued", "step", "image", "done"]
    assert [asked.path for asked in server.asked] == ["/generate"] * 2 + [EVENTS] * 4
    assert server.asked[0].headers["Idempotency-Key"] == server.asked[1].headers["Idempotency-Key"]
    said = [asked.headers["Last-Event-ID"] for asked in server.asked[2:]]
    assert said == ["2", "2", "2", "4"]


def test_one_that_breaks_before_anything_was_heard_is_asked_for_again(server, connect):
    cut = Reply(200, b"retry: 1", STREAM | {"Content-Length": "99999"})
    server.replies["/generate"] = [cut, Reply(200, QUEUED + DONE, STREAM)]
    assert [event.kind for event in connect(server.url).stream(**MUG)] == ["queued", "done"]
    assert len({asked.headers["Idempotency-Key"] for asked in server.asked}) == 1


def test_where_nothing_follows_the_record_tells_the_end(server, connect):
    server.replies["/generate"] = Reply(200, QUEUED, STREAM)
    server.replies[EVENTS] = Reply(204)
    server.replies["/generations/gen_1"] = Reply(body=generation())
    assert [event.kind for event in connect(server.url).stream(**MUG)] == ["queued", "done"]


def test_a_stream_that_ends_badly_raises_why(server, connect):
    failed = message(2, "error", {"code": "deadline_exceeded", "detail": "too late"})
    server.replies["/generate"] = Reply(200, QUEUED + failed, STREAM)
    with pytest.raises(errors.DeadlineExceeded, match="too late"):
        list(connect(server.url).stream(**MUG))
    server.replies["/generate"] = problem(422, "banned_term")
    with pytest.raises(errors.BannedTerm):
        list(connect(server.url).stream(**MUG))
    server.replies["/generate"] = Reply(200, message(1, "queued", {"no": "id"}), STREAM)
    with pytest.raises(errors.ServiceUnreachable, match="'queued' cannot be read"):
        list(connect(server.url).stream(**MUG))
    server.replies["/generate"] = Reply(200, b"", STREAM)
    with pytest.raises(errors.ServiceUnreachable, match="ended early"):
        list(connect(server.url).stream(**MUG))
    server.replies["/generate"] = Reply(200, b"<html>")
    with pytest.raises(errors.ServiceUnreachable, match="is no imagegen service"):
        list(connect(server.url).stream(**MUG))


def test_generations_are_listed_page_by_page(server, connect):
    first = {"generations": [generation()], "cursor": "c.gen_1"}
    server.replies["/generations?brand=plain&limit=1"] = Reply(body=first)
    server.replies["/generations?campaign=a+%26+b&cursor=c.gen_1"] = Reply(body={"generations": []})
    server.replies["/images/x.png"] = Reply(body=b"picture")
    client = connect(server.url)
    page = client.list(brand="plain", limit=1)
    assert page.cursor == "c.gen_1"
    assert page.generations[0].images[0].bytes() == b"picture"
    last = client.list(campaign="a & b", cursor="c.gen_1")
    assert (last.generations, last.cursor) == ((), None)


def many(client, requests, **options):
    """What `batch` tells, in the order of the requests, whichever client it is."""
    told = client.batch(requests, **options)
    ended = list(told)
    return sorted(ended, key=lambda one: one.index)


def test_many_requests_come_back_each_with_pictures_or_its_error(server, connect):
    server.replies["/generate"] = [
        problem(429, "queue_full", "0"), problem(422, "banned_term"), Reply(body=generation())
    ]  # fmt: skip
    taken: list[int] = []

    def requests():
        for seed in range(30):
            taken.append(seed)
            yield MUG | {"seed": seed}

    ended = many(connect(server.url), requests(), concurrency=1)
    assert [one.index for one in ended] == list(range(30))
    assert isinstance(ended[0].error, errors.BannedTerm)
    assert ended[0].generation is None
    assert all(one.generation.images[0].seed == 7 for one in ended[1:])
    sent = [json.loads(asked.body)["seed"] for asked in server.asked]
    assert sent == [0, *range(30)]
    assert len({asked.headers["Idempotency-Key"] for asked in server.asked}) == 30


def test_requests_are_taken_as_they_are_needed_and_one_may_leave_early(server, connect):
    server.replies["/generate"] = Reply(body=generation())
    numbers = iter(range(1_000_000))
    told = connect(server.url).batch(({**MUG, "seed": n} for n in numbers), concurrency=3)
    for _, one in zip(range(5), told, strict=False):
        assert one.error is None
    told.close()
    assert next(numbers) < 20


def test_a_mistake_in_the_callers_own_code_is_raised(server, connect):
    with pytest.raises(AttributeError):
        list(connect(server.url).batch([17]))


def test_what_no_header_can_say_is_one_sentence(connect):
    with pytest.raises(errors.Unauthenticated, match="the API key"):
        connect("http://127.0.0.1:1", api_key="schlüssel")
    with pytest.raises(errors.InvalidRequest, match="idempotency_key"):
        connect("http://127.0.0.1:1").generate(**MUG, idempotency_key="a\nb")


def test_what_json_cannot_say_is_one_sentence(connect):
    with pytest.raises(errors.InvalidRequest, match="guidance_scale: cannot be sent"):
        connect("http://127.0.0.1:1").generate(**MUG, guidance_scale=float("nan"))


def test_pictures_are_sent_from_files_and_from_memory(server, connect, tmp_path):
    (tmp_path / "mug.png").write_bytes(b"a mug")
    server.replies["/generate"] = Reply(body=generation())
    client = connect(server.url)
    client.generate(**MUG, init_image=tmp_path / "mug.png", mask=b"white")
    client.generate(**MUG, init_image=str(tmp_path / "mug.png"), mask="data:image/png;base64,eA==")
    sent = [json.loads(asked.body) for asked in server.asked]
    assert [body["init_image"] for body in sent] == [base64.b64encode(b"a mug").decode()] * 2
    assert [body["mask"] for body in sent] == ["d2hpdGU=", "data:image/png;base64,eA=="]
    with pytest.raises(errors.InvalidRequest, match=r"init_image: cannot read .*: No such file"):
        client.generate(**MUG, init_image=tmp_path / "none.png")


def test_the_fields_are_the_requests():
    assert RequestFields.__annotations__.keys() == GenerationRequest.model_fields.keys()


def test_importing_it_is_quick_and_drags_nothing_heavy_along(repository):
    code = (
        "import sys, time; began = time.process_time(); import imagegen.client;"
        "print(time.process_time() - began, *sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True
    ).stdout.split()
    assert float(said[0]) < 0.6, "0.3 s of which are the machine's"
    assert not {"torch", "flask", "google.cloud", "PIL", "numpy"} & set(said)


def test_a_blocking_client_is_shared_by_threads(server):
    from concurrent.futures import ThreadPoolExecutor

    server.replies["/generate"] = Reply(body=generation())
    with Client(server.url) as client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda seed: client.generate(**(MUG | {"seed": seed})), range(40)))
    assert len(answers) == 40
    assert sorted(json.loads(asked.body)["seed"] for asked in server.asked) == list(range(40))
