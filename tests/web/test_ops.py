"""Probes, metrics, and the headers of every answer."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from imagegen.bootstrap import build
from imagegen.engine.fake import FakeRenderer
from imagegen.engine.process import RenderProcess
from imagegen.engine.renderer import PHASES
from imagegen.settings import Settings
from imagegen.web.app import create_app


def test_alive_and_ready(client: FlaskClient) -> None:
    assert client.get("/livez").get_json() == {"status": "alive"}
    ready = client.get("/readyz")
    assert (ready.status_code, ready.get_json()["phase"]) == (200, "ready")


def test_what_a_start_took_is_told(client: FlaskClient) -> None:
    spent = client.get("/readyz").get_json()["start_s"]
    assert spent.keys() >= set(PHASES)
    exposition = client.get("/metrics").text
    for phase in spent:
        assert f'imagegen_start_seconds{{phase="{phase}"}}' in exposition


def test_alive_but_not_ready_before_the_model_is_there(brands: Path, tmp_path: Path) -> None:
    application = build(
        Settings(model="fake", presets=str(brands), storage=f"file:{tmp_path}/output")
    )
    client = create_app(application).test_client()
    assert client.get("/livez").status_code == 200
    response = client.get("/readyz")
    assert response.status_code == 503
    assert {"phase", "eta_s"} <= set(response.get_json())
    assert int(response.headers["Retry-After"]) >= 1
    brand = client.get("/brands/aurora").get_json()
    assert brand["formats"]["tiny"] == {"width": 64, "height": 40}
    assert client.get("/capabilities").get_json()["model"] is None
    application.stop()
    response = client.get("/readyz")
    assert (response.status_code, response.get_json()["phase"]) == (503, "draining")
    refused = client.post("/generate", json={"brand": "aurora", "prompt": "x"})
    assert (refused.status_code, refused.get_json()["code"]) == (503, "draining")


def test_where_everything_is_here_there_is_nothing_to_warm(client: FlaskClient) -> None:
    said = client.post("/warm")
    assert (said.status_code, said.get_json()["phase"]) == (202, "ready")
    assert client.get("/warm").status_code == 405


class Mortal(RenderProcess):
    """Its process has died too often, or its operator named a model that is none."""

    def __init__(self, *, hopeless: bool) -> None:
        super().__init__(FakeRenderer, max_queue=8)
        self._desk.health.failed("killed by SIGKILL", hopeless=hopeless)


@pytest.mark.parametrize(("hopeless", "status"), [(True, 503), (False, 200)])
def test_only_what_another_instance_may_cure_asks_for_another_instance(
    brands: Path, tmp_path: Path, hopeless: bool, status: int
) -> None:
    settings = Settings(model="fake", presets=str(brands), storage=f"file:{tmp_path}/output")
    application = replace(build(settings), engine=Mortal(hopeless=hopeless))
    client = create_app(application).test_client()
    response = client.get("/livez")
    assert response.status_code == status
    if hopeless:
        assert response.content_type == "application/problem+json"
        assert response.get_json()["code"] == "model_failed"
        assert "killed by SIGKILL" in response.get_json()["detail"]
        assert int(response.headers["Retry-After"]) >= 1
    assert client.get("/readyz").status_code == 503


def test_metrics(client: FlaskClient) -> None:
    client.post("/generate", json={"brand": "pop", "prompt": "x", "campaign": "spring"})
    client.post("/generate", json={"brand": "x-unknown", "prompt": "x"})
    response = client.get("/metrics")
    assert response.content_type.startswith("text/plain; version=")
    for line in (
        'imagegen_generations_total{brand="pop",status="succeeded"} 1.0',
        'imagegen_generations_total{brand="(unknown)",status="unknown_brand"} 1.0',
        'imagegen_pictures_total{brand="pop",campaign="spring"} 1.0',
        "imagegen_queued_pictures 0.0",
        "imagegen_abandoned_gpu_seconds_total 0.0",
        "imagegen_ready 1.0",
    ):
        assert line in response.text


@pytest.mark.parametrize(
    "path", ["/livez", "/brands", "/metrics", "/nowhere", "/brands/aurora/cover"]
)
def test_every_answer_is_guarded(client: FlaskClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Frame-Options"] == "DENY"
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self'; ")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("path", ["/livez", "/brands", "/nowhere"])
def test_json_is_never_kept(client: FlaskClient, path: str) -> None:
    assert client.get(path).headers["Cache-Control"] == "no-store"


def test_one_line_per_request_without_room_for_another(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "imagegen.requests"):
        client.get("/livez")
        client.get("/now%0Ahere")
    [record] = caplog.records
    assert record.getMessage().startswith("GET /now%0Ahere 404 ")
    assert record.http_request["status"] == 404  # type: ignore[attr-defined]
