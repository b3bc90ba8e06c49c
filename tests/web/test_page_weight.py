"""Pages stay light, and nothing on them moves while pictures arrive."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Browser, expect
from web_server import Server

import imagegen.web

STATIC = Path(imagegen.web.__file__).parent / "static"
MOST_BYTES = {"css": 45_000, "js": 60_000, "woff2": 30_000}  # of a page, as they travel
WATCH_SHIFTS = """
window.moved = 0;
new PerformanceObserver((list) => { for (const one of list.getEntries()) moved += one.value; })
  .observe({type: "layout-shift", buffered: true});
"""


@pytest.mark.parametrize("path", ["/", "/library", "/campaigns", "/docs"])
def test_a_page_is_light(client: FlaskClient, path: str) -> None:
    names = set(re.findall(r'"/static/\w+/([\w-]+\.(?:css|js|woff2))"', client.get(path).text))
    for kind, most in MOST_BYTES.items():
        sizes = [(STATIC / name).stat().st_size for name in names if name.endswith(f".{kind}")]
        assert 0 < sum(sizes) < most, kind


def test_every_script_that_a_page_imports_is_named_by_it(client: FlaskClient) -> None:
    """One that is found only in another one would be asked for after that one has come."""
    named = set(re.findall(r'"/static/\w+/(\w+\.js)"', client.get("/").text))
    imported = {
        name
        for script in named
        for name in re.findall(r'from "\./(\w+\.js)"', (STATIC / script).read_text())
    }
    assert imported
    assert imported <= named


@pytest.mark.browser
def test_nothing_moves_as_pictures_arrive(browser: Browser, serve: Callable[..., Server]) -> None:
    server = serve()
    server.wait_until("/readyz", timeout_s=60)
    context = browser.new_context(base_url=f"http://127.0.0.1:{server.port}")
    context.add_init_script(WATCH_SHIFTS)
    page = context.new_page()
    page.goto("/?prompt=a+mug&num_images=4&num_inference_steps=8")
    expect(page.locator("#generate")).to_be_visible()
    before = page.evaluate("moved")
    page.locator("#generate").press("Enter")
    expect(page.locator("[data-picture] img")).to_have_count(4, timeout=60_000)
    assert before < 0.01
    assert page.evaluate("moved") - before < 0.05
    page.goto("/library")
    expect(page.locator(".tile img").last).to_have_js_property("complete", True)
    assert page.evaluate("moved") < 0.01
    context.close()
