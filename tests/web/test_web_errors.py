"""Every failure has its status, and every answer about one is problem+json."""

from __future__ import annotations

import logging

import pytest
from flask.testing import FlaskClient

from imagegen import errors
from imagegen.application import Application
from imagegen.errors import ImagegenError
from imagegen.web.app import create_app
from imagegen.web.errors import STATUS, retry_after, status_of, tell_failure

BODY = {"brand": "aurora", "prompt": "a mug", "seed": 0}


def concrete(kind: type[ImagegenError]) -> list[type[ImagegenError]]:
    own = [kind] if "code" in vars(kind) else []
    return own + [found for child in kind.__subclasses__() for found in concrete(child)]


@pytest.mark.parametrize("kind", concrete(ImagegenError))
def test_every_failure_has_a_status(kind: type[ImagegenError]) -> None:
    assert kind in STATUS or issubclass(kind, errors.OperatorError)
    assert 400 <= status_of(kind) <= 599


def test_codes_are_unique() -> None:
    codes = [kind.code for kind in concrete(ImagegenError)]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("kind", concrete(errors.Busy))
def test_whoever_may_ask_again_learns_when(
    application: Application, kind: type[errors.Busy]
) -> None:
    with create_app(application).app_context():
        response = tell_failure(kind("busy", retry_after_s=2.2))
    assert response.headers["Retry-After"] == "3"


def test_retry_after_is_at_least_a_second() -> None:
    assert [retry_after(seconds) for seconds in (None, 0, 0.1, 59.01)] == [1, 1, 1, 60]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/generate/", 404, "not_found"),
        ("GET", "/images//x", 404, "not_found"),
        ("GET", "/brands//aurora", 404, "not_found"),
        ("GET", "/generate", 405, "method_not_allowed"),
        ("DELETE", "/brands", 405, "method_not_allowed"),
        ("GET", "/brands/nobody", 404, "unknown_brand"),
        ("GET", "/brands/nobody/cover", 404, "unknown_brand"),
        ("GET", "/brands/pop/cover", 404, "unknown_image"),
        ("GET", "/images/nothing.png", 404, "unknown_image"),
    ],
)
def test_routes_that_are_not_there(
    client: FlaskClient, method: str, path: str, status: int, code: str
) -> None:
    response = client.open(path, method=method)
    assert response.status_code == status
    assert response.mimetype == "application/problem+json"
    problem = response.get_json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert set(problem) == {"type", "title", "status", "detail", "code"}
    assert "Allow" in response.headers or status != 405


def test_a_surprise_is_logged_with_its_reference_and_tells_no_trace(
    application: Application, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(application)

    @app.get("/surprise")
    def surprise() -> str:
        raise KeyError("a secret")

    with caplog.at_level(logging.ERROR):
        response = app.test_client().get("/surprise")
    problem = response.get_json()
    assert (response.status_code, problem["code"]) == (500, "internal_error")
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    [record] = caplog.records
    reference = problem["detail"].split()[-1]
    assert reference in record.getMessage()
    assert record.exc_info is not None


def test_the_log_tells_why_where_the_caller_is_not_at_fault(
    application: Application, caplog: pytest.LogCaptureFixture
) -> None:
    with create_app(application).app_context(), caplog.at_level(logging.INFO):
        tell_failure(errors.UnknownBrand("no brand 'x'"))
        tell_failure(errors.StorageUnavailable("cannot write a.png: disk full", retry_after_s=30))
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "storage_unavailable: cannot write a.png: disk full"


def test_422_names_the_fields(client: FlaskClient) -> None:
    response = client.post("/generate", json=BODY | {"seed": -1, "steps": 3})
    problem = response.get_json()
    assert (response.status_code, problem["code"]) == (422, "invalid_request")
    assert problem["errors"] == [
        {"field": "seed", "message": "must be 0 or more"},
        {"field": "steps", "message": "is not a known field"},
    ]


def test_a_banned_term_names_its_field(client: FlaskClient) -> None:
    response = client.post("/generate", json=BODY | {"prompt": "a casino"})
    problem = response.get_json()
    assert (response.status_code, problem["code"]) == (422, "banned_term")
    assert [error["field"] for error in problem["errors"]] == ["prompt"]


@pytest.mark.parametrize(
    ("prompt", "status", "code"),
    [("!nan", 500, "render_failed"), ("<lora:x:1> a mug", 422, "invalid_request")],
)
def test_what_rendering_refuses(client: FlaskClient, prompt: str, status: int, code: str) -> None:
    response = client.post("/generate", json=BODY | {"prompt": prompt})
    assert (response.status_code, response.get_json()["code"]) == (status, code)


def test_a_deadline_is_a_504(client: FlaskClient) -> None:
    body = BODY | {"prompt": "!slow", "num_inference_steps": 50, "deadline_s": 0.3}
    response = client.post("/generate", json=body)
    assert (response.status_code, response.get_json()["code"]) == (504, "deadline_exceeded")
