"""The studio's pages, as its browser tests handle them."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

from PIL import Image
from playwright.sync_api import Page, expect

Visit = Callable[..., Page]
HOSTILE = (
    """<img src=x onerror="document.title='caught'"><script>document.title='caught'</script>"""
)
SHOWN = "img => img.complete && img.naturalWidth > 0 && img.getBoundingClientRect().width > 0"


def generate(page: Page, prompt: str) -> None:
    page.get_by_label("Prompt", exact=True).fill(prompt)
    page.get_by_role("button", name="Generate", exact=True).click()


def results(page: Page) -> Any:
    return page.locator("article.generation:not([data-open], [data-open-soon])")


def shown_pictures(page: Page, count: int) -> list[bytes]:
    """The files of the newest result, each of which the page shows."""
    pictures = results(page).first.locator("[data-picture] img.picture")
    expect(pictures).to_have_count(count, timeout=120_000)
    files = []
    for picture in sorted(pictures.all(), key=seed_of):
        picture.scroll_into_view_if_needed()
        until(lambda picture=picture: picture.evaluate(SHOWN))
        files.append(page.request.get(picture.get_attribute("src") or "").body())
    return files


def seed_of(picture: Any) -> int:
    return int(picture.locator("xpath=ancestor::figure").get_attribute("data-seed"))


def until(condition: Callable[[], bool], timeout_s: float = 15) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout_s
        time.sleep(0.05)


def more(page: Page) -> Any:
    """The menu of the first picture of the newest result, opened."""
    figure = results(page).first.locator("[data-picture]").first
    figure.get_by_text("More", exact=True).click()
    return figure.locator(".menu[open] .choices").first


def photograph(colour: str, size: tuple[int, int] = (320, 240)) -> dict[str, Any]:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return {"name": "photo.png", "mimeType": "image/png", "buffer": file.getvalue()}
