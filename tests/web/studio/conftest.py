"""The studio, served by a process of its own, and opened in headless Chromium."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import NOTE_VIOLATIONS
from playwright.sync_api import Browser, Page
from studio_brands import write_studio_brands
from studio_pages import Visit
from web_server import Server


@pytest.fixture(scope="module")
def presets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_studio_brands(tmp_path_factory.mktemp("brands"))


@pytest.fixture(scope="module")
def serve_studio(
    presets: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Server]]:
    """The server of a model; one for all tests that leave it as they found it.

    The starter model comes with the brands that ship, the fake with brands that are hard to show.
    """
    brands = {"fake": presets, "starter": repository / "brand_presets"}
    servers: list[Server] = []

    @functools.cache
    def serve(model: str) -> Server:
        server = Server(
            {
                "IMAGEGEN_MODEL": model,
                "IMAGEGEN_PRESETS": str(brands[model]),
                "IMAGEGEN_STORAGE": f"file:{tmp_path_factory.mktemp('output')}",
            }
        )
        servers.append(server)
        server.wait_until("/readyz", timeout_s=240)
        return server

    yield serve
    for server in servers:
        server.end()


@pytest.fixture
def visit(browser: Browser, serve_studio: Callable[[str], Server]) -> Iterator[Visit]:
    """Opens the page. Its console must stay silent but for the answers that a test expects."""
    opened: list[tuple[Page, list[str], str]] = []

    def open_page(
        *, model: str = "fake", url: str | None = None, expected: str = "^$", **options: Any
    ) -> Page:
        base = url or f"http://127.0.0.1:{serve_studio(model).port}"
        context = browser.new_context(base_url=base, **options)
        context.add_init_script(NOTE_VIOLATIONS)
        page = context.new_page()
        page.set_default_timeout(120_000 if model == "starter" else 15_000)
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto("/")
        opened.append((page, said, expected))
        return page

    yield open_page
    for page, said, expected in opened:
        with_scripts = page.evaluate("typeof violations") != "undefined"
        assert not with_scripts or page.evaluate("violations") == []
        assert [text for text in said if not re.search(expected, text)] == []
        page.context.close()
