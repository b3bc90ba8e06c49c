"""Batches that a service renders: the real one, and what answers at a wrong address."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted_server import Reply, ScriptedServer
from sent_pictures import half_mask, scene, sent, text_of

from imagegen import cli, errors
from imagegen.batch.remote import RemoteImages
from imagegen.client import Client
from imagegen.front.identity import IdTokens
from imagegen.generation import GenerationRequest

BRANDS = {
    "brands": [{"id": "plain", "name": "Plain", "formats": {"story": {"width": 8, "height": 16}}}]
}
REQUEST = GenerationRequest(brand="plain", prompt="a mug", seed=7)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    made = ScriptedServer()
    made.replies["/brands"] = Reply(body=BRANDS)
    yield made
    made.close()


def generation(url: str, data: bytes) -> dict[str, object]:
    return {
        "id": "gen_1", "status": "succeeded", "brand": "plain", "preset_version": "sha256:0",
        "model": "m", "created_at": "2026-11-23T10:00:00Z", "future_field": 1,
        "images": [{"url": url, "storage_uri": "gs://b/x.png", "seed": 7, "width": 8, "height": 8,
                    "content_type": "image/png", "size_bytes": len(data),
                    "sha256": hashlib.sha256(b"picture").hexdigest()}],
    }  # fmt: skip


def test_a_picture_comes_back_whole(server):
    server.replies["/generate"] = Reply(body=generation("/images/x.png", b"picture"))
    server.replies["/images/x.png"] = Reply(body=b"picture")
    delivery = RemoteImages.connect(Client(server.url + "/", patience_s=0)).generate(
        REQUEST, "key", lambda: True
    )
    assert delivery.pictures == (b"picture",)
    assert server.asked[1].headers["Idempotency-Key"] == "key"
    assert json.loads(server.asked[1].body) == {"brand": "plain", "prompt": "a mug", "seed": 7}


def test_pictures_go_along(server):
    server.replies["/generate"] = Reply(body=generation("/images/x.png", b"picture"))
    server.replies["/images/x.png"] = Reply(body=b"picture")
    request = REQUEST.model_copy(update={"init_image": sent(scene()), "mask": sent(half_mask())})
    RemoteImages.connect(Client(server.url, patience_s=0)).generate(request, None, lambda: True)
    body = json.loads(server.asked[1].body)
    assert (body["init_image"], body["mask"]) == (text_of(scene()), text_of(half_mask()))


def test_requests_are_checked_before_they_are_sent(server):
    remote = RemoteImages.connect(Client(server.url, patience_s=0))
    remote.check(REQUEST)
    for known in ("story", "square", "banner"):
        remote.check(REQUEST.model_copy(update={"format": known}))
    with pytest.raises(errors.UnknownBrand, match=r"did you mean plain\?"):
        remote.check(REQUEST.model_copy(update={"brand": "plian"}))
    with pytest.raises(errors.InvalidRequest, match="format: no format 'stroy'"):
        remote.check(REQUEST.model_copy(update={"format": "stroy"}))


@pytest.mark.parametrize("body", [b"<html>", {"brands": [1]}, [], {"brands": [{"id": "x"}]}])
def test_another_kind_of_service_is_recognised(server, body):
    server.replies["/brands"] = Reply(body=body)
    with pytest.raises(errors.ServiceUnreachable, match="is no imagegen service"):
        RemoteImages.connect(Client(server.url, patience_s=0))


def test_what_a_closed_door_means_is_said(server):
    for status, words in ((403, "gcloud run services proxy"), (404, "no imagegen service answers")):
        server.replies["/brands"] = Reply(status=status, body=b"<html>")
        with pytest.raises(errors.ServiceUnreachable, match=words):
            RemoteImages.connect(Client(server.url, patience_s=0))


def test_a_refusal_that_is_a_generations_end_is_the_rows_own_failure(server):
    """It would be answered under that key for ever; another attempt has another one."""
    trouble = {"code": "storage_unavailable", "detail": "the bucket does not answer"}
    refusal = Reply(503, trouble)
    ended = generation("/x", b"") | {"status": "failed", "images": [], "error": trouble}
    remote = RemoteImages.connect(Client(server.url, patience_s=0))
    server.replies["/generate"] = [refusal, Reply(200, ended)]
    with pytest.raises(errors.RenderFailed, match=r"storage_unavailable: .* \(gen_1\)"):
        remote.generate(REQUEST, "key", lambda: True)
    server.replies["/generate"] = [refusal, Reply(202, ended | {"status": "queued"})]
    with pytest.raises(errors.StorageUnavailable):
        remote.generate(REQUEST, "key", lambda: True)
    server.replies["/generate"] = refusal
    with pytest.raises(errors.StorageUnavailable):
        remote.generate(REQUEST, "key", lambda: True)
    assert {asked.headers["Idempotency-Key"] for asked in server.asked[1:]} == {"key"}


def test_who_asks_is_told_by_the_environment_or_by_google(server, monkeypatch, tmp_path, capsys):
    done = f"event: done\ndata: {json.dumps(generation('/images/x.png', b'picture'))}\n\n"
    server.replies["/generate"] = Reply(200, done.encode(), {"Content-Type": "text/event-stream"})
    server.replies["/images/x.png"] = Reply(body=b"picture")
    monkeypatch.setenv("IMAGEGEN_API_KEY", "ik_1")
    monkeypatch.setattr(IdTokens, "token", lambda self: "of-this-machine")
    monkeypatch.chdir(tmp_path)
    asks = ["generate", "--brand", "plain", "a mug", "--url", server.url]
    assert cli.main(asks) == 0
    assert {asked.headers["Authorization"] for asked in server.asked} == {"Bearer ik_1"}
    monkeypatch.delenv("IMAGEGEN_API_KEY")
    server.asked.clear()
    assert cli.main([*asks, "--id-token"]) == 0
    shown = {asked.headers["X-Serverless-Authorization"] for asked in server.asked}
    assert shown == {"Bearer of-this-machine"}


def test_a_dry_run_judges_by_what_the_service_made_last(server, monkeypatch, tmp_path, capsys):
    made = generation("/images/x.png", b"picture")
    made["usage"] = {"gpu_s": 2.0, "steps": 20, "estimated_cost_usd": 0.001}
    server.replies["/generations?limit=100"] = Reply(body={"generations": [made, made]})
    monkeypatch.chdir(tmp_path)
    rows = "plain,a,,\nplain,b,10,\nplain,c,,8\n"
    Path("s.csv").write_text("brand,prompt,num_inference_steps,num_images\n" + rows)
    assert cli.main(["batch", "s.csv", "--dry-run", "--url", server.url]) == 0
    told = capsys.readouterr().out.splitlines()
    # two seconds for twenty steps: 2 + 1 + 8 * 2
    assert told[1] == (
        "about 19.00 GPU-seconds and $0.0095, judged by 2 pictures of yours that "
        f"{server.url} made last"
    )


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`imagegen serve` itself, with pictures that need no torch."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "presets" / "plain").mkdir(parents=True)
    preset = "name: Plain\nbanned_terms: [casino]\ndefaults: {width: 16, height: 16}\n"
    (folder / "presets" / "plain" / "preset.yaml").write_text(preset)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {
        "IMAGEGEN_MODEL": "fake",
        "IMAGEGEN_MAX_QUEUE": "8",
        "PORT": str(port),
        "IMAGEGEN_PRESETS": "presets",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "imagegen", "serve"], cwd=folder, env=os.environ | settings
    )
    until = time.monotonic() + 60
    while not _listens(port) and time.monotonic() < until:
        time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    assert process.wait(30) == 0


def test_the_real_service_and_a_batch_that_asks_for_more_than_its_queue_holds(service, tmp_path):
    rows = "".join(f"plain,!slow {number},4,1\n" for number in range(4)) + "plain,casino,1,1\n"
    (tmp_path / "s.csv").write_text("brand,prompt,num_images,num_inference_steps\n" + rows)
    done = subprocess.run(
        [sys.executable, "-m", "imagegen", "batch", "s.csv", "--url", service, "--json",
         "--concurrency", "4"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["outcome"] == {"succeeded": 4, "failed": 1, "invalid": 0, "pending": 0}
    [failed] = [line for line in lines[:-1] if line["status"] == "failed"]
    assert failed["error_code"] == "banned_term"
    assert len(list((tmp_path / "s-pictures").glob("*.png"))) == 16


def killed_after(process: subprocess.Popen[bytes], journal: Path, rows: int) -> None:
    """SIGKILL once the journal has `rows` more lines, or the process has ended by itself."""
    before = journal.read_bytes().count(b"\n") if journal.exists() else 1
    while process.poll() is None:
        if journal.exists() and journal.read_bytes().count(b"\n") >= before + rows:
            break
        time.sleep(0.01)
    process.kill()
    process.communicate()


def test_a_batch_that_is_killed_again_and_again_has_each_picture_made_once(service, tmp_path):
    """What the service had made, or was making, when the batch died is handed over, not redone."""
    rows = "".join(f"plain,!slow number {number},2\n" for number in range(16))
    (tmp_path / "s.csv").write_text("brand,prompt,num_inference_steps\n" + rows)
    command = [sys.executable, "-m", "imagegen", "batch", "s.csv", "--url", service]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    before = len(made_by(service))
    journal = tmp_path / "s-pictures" / "journal.jsonl"
    for rows_before_death in (1, 2, 3, 1, 2):
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        killed_after(process, journal, rows_before_death)
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "s-pictures" / "manifest.json").read_text())["rows"]
    ids = {row["generation"]["id"] for row in manifest}
    assert len(ids) == len(manifest) == 16
    assert len(list((tmp_path / "s-pictures").glob("*.png"))) == 16
    after = made_by(service)
    assert ids <= after
    assert len(after) - before == 16


def made_by(service: str) -> set[str]:
    """The ids of all generations there."""
    found: set[str] = set()
    cursor = None
    with Client(service) as client:
        while True:
            page = client.list(limit=100, cursor=cursor)
            found |= {generation.id for generation in page.generations}
            cursor = page.cursor
            if cursor is None:
                return found
