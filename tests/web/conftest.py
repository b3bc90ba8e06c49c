"""The service for web tests: in this process with Flask's client, and as a gunicorn of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browsing import FLAGS
from flask.testing import FlaskClient
from playwright.sync_api import Browser, sync_playwright
from sample_brands import write_brands
from web_server import Server

from imagegen.application import Application
from imagegen.bootstrap import build
from imagegen.settings import Settings
from imagegen.web.app import create_app


@pytest.fixture(scope="session")
def brands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_brands(tmp_path_factory.mktemp("brands"))


@pytest.fixture(scope="module")
def application(brands: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    folder = tmp_path_factory.mktemp("output")
    application = build(
        Settings(model="fake", presets=str(brands), storage=f"file:{folder}", max_queue=16)
    )
    application.start()
    application.engine.wait_ready(20)
    yield application
    application.stop()


@pytest.fixture(scope="module")
def client(application: Application) -> FlaskClient:
    return create_app(application).test_client()


@pytest.fixture
def serve(brands: Path, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    servers = []

    def start(**environment: str) -> Server:
        defaults = {
            "IMAGEGEN_MODEL": "fake",
            "IMAGEGEN_PRESETS": str(brands),
            "IMAGEGEN_STORAGE": f"file:{tmp_path}/output",
        }
        servers.append(Server(defaults | environment))
        return servers[-1]

    yield start
    for server in servers:
        server.end()


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()
