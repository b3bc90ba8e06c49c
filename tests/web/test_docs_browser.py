"""/docs in headless Chromium: its forms ask the server that shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import pytest
from browsing import NOTE_VIOLATIONS
from playwright.sync_api import Browser, Page, expect
from web_server import Server

pytestmark = pytest.mark.browser


@pytest.fixture(params=["light", "dark"])
def page(
    request: pytest.FixtureRequest, browser: Browser, serve: Callable[..., Server]
) -> Iterator[Page]:
    scheme: Literal["light", "dark"] = request.param
    server = serve()
    server.wait_until("/readyz")
    page = browser.new_page(color_scheme=scheme, viewport={"width": 1280, "height": 900})
    page.add_init_script(NOTE_VIOLATIONS)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    root = f"http://127.0.0.1:{server.port}/"
    page.goto(f"{root}docs")
    yield page
    assert page.evaluate("violations") == []
    assert [url for url in asked if not url.startswith((root, "data:"))] == []
    page.close()


def test_requests_are_sent_and_their_pictures_shown(page: Page) -> None:
    for operation in ("post_generate", "post_v1_images_generations"):
        article = page.locator(f"#{operation}")
        article.get_by_text("Try it").click()
        article.get_by_role("button", name="Send").click()
        expect(article.locator("output p")).to_contain_text("200")
        picture = article.locator("output img")
        expect(picture).to_be_visible()
        assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 64
        expect(article.locator("output pre")).to_contain_text('"gen_')


def test_what_is_in_the_path_is_filled_in_and_failures_are_shown(page: Page) -> None:
    article = page.locator("#get_brands_brand")
    article.get_by_text("Try it").click()
    article.get_by_label("brand").fill("no/such brand")
    article.get_by_role("button", name="Send").click()
    expect(article.locator("output p")).to_contain_text("404")
    article.get_by_label("brand").fill("pop")
    article.get_by_role("button", name="Send").click()
    expect(article.locator("output pre")).to_contain_text('"name": "Pop"')


def test_headers_and_queries_are_sent_as_such(page: Page) -> None:
    article = page.locator("#post_generate")
    article.get_by_text("Try it").click()
    article.get_by_label("Prefer").fill("respond-async")
    article.get_by_role("button", name="Send").click()
    expect(article.locator("output p")).to_contain_text("202")
    listed = page.locator("#get_generations")
    listed.get_by_text("Try it").click()
    listed.get_by_label("limit").fill("0")
    listed.get_by_role("button", name="Send").click()
    expect(listed.locator("output p")).to_contain_text("422")


def test_nothing_is_wider_than_a_telephone(page: Page) -> None:
    page.set_viewport_size({"width": 375, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 375
