"""The contact sheet in a real browser, opened from the disk: pictures, filters, its own policy."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from imagegen.batch.manifest import ManifestRow, write_manifest
from imagegen.batch.output import RowResult
from imagegen.generation import GeneratedImage, Generation

pytestmark = pytest.mark.browser
NASTY = '</script><img src=x onerror="alert(1)"> & “quotes” 東京'


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


def succeeded(line: int, brand: str, prompt: str, file: str) -> ManifestRow:
    image = GeneratedImage(
        url="", storage_uri="", seed=line, width=8, height=8, content_type="image/png",
        size_bytes=1, sha256="",
    )  # fmt: skip
    generation = Generation(
        id="gen_1", status="succeeded", brand=brand, preset_version="", model="",
        created_at=datetime.now(UTC), images=(image,),
    )  # fmt: skip
    request = {"brand": brand, "prompt": prompt}
    result = RowResult(key="k", status="succeeded", files=(file,), generation=generation)
    return ManifestRow(line, "succeeded", "k", request, result)


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    names = ["a mug's #1 100%.png", "lamp.png", "nasty.png"]
    for name in names:
        Image.new("RGB", (8, 8), "red").save(tmp_path / name)
    rows = [
        succeeded(2, "aurora", "a red mug", names[0]),
        succeeded(3, "pop", "a red lamp", names[1]),
        succeeded(4, "pop", NASTY, names[2]),
        ManifestRow(5, "failed", "k", {"brand": "pop", "prompt": "no"}, error="it broke"),
        ManifestRow(6, "invalid", error="seed: must be a whole number"),
    ]
    write_manifest(f"winter {NASTY}", rows, lambda name: (tmp_path / name).open("wb"))
    page = browser.new_page()
    page.problems = []  # type: ignore[attr-defined]
    page.on("console", lambda message: page.problems.append(message.text))  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: page.problems.append(str(error)))  # type: ignore[attr-defined]
    page.on("dialog", lambda dialog: page.problems.append("a dialog"))  # type: ignore[attr-defined]
    page.goto((tmp_path / "contact-sheet.html").as_uri())
    yield page
    assert page.problems == []  # type: ignore[attr-defined]
    page.close()


def shown(page: Page) -> list[str]:
    """The lines of the cards that can be seen."""
    cards = page.locator(".sheet > li:visible .fine").all_inner_texts()
    return [text.rpartition("line ")[2] for text in cards]


def test_every_picture_is_seen_and_nothing_runs_that_a_prompt_says(
    page: Page,
) -> None:
    page.wait_for_function("[...document.images].every(image => image.complete)")
    assert page.evaluate("[...document.images].map(image => image.naturalWidth)") == [8, 8, 8]
    assert shown(page) == ["2", "3", "4", "5", "6"]
    assert NASTY in page.inner_text("h1")
    assert page.inner_text("output") == "5 of 5"


def test_brand_status_and_words_choose_together(page: Page) -> None:
    options = page.locator("select[name=brand] option").all_inner_texts()
    assert options == ["all", "aurora", "pop"]
    page.select_option("select[name=brand]", "pop")
    assert shown(page) == ["3", "4", "5"]
    page.select_option("select[name=status]", "succeeded")
    page.fill("input", "LAMP red")
    assert shown(page) == ["3"]
    assert page.inner_text("output") == "1 of 5"
    page.press("input", "Enter")
    page.fill("input", "")
    page.select_option("select[name=brand]", "")
    page.select_option("select[name=status]", "failed")
    assert shown(page) == ["5"]
    assert "it broke" in page.inner_text(".sheet > li:visible")
