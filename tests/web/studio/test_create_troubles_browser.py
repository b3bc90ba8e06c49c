"""What goes wrong on Create is told, and costs nobody his work."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect
from studio_pages import Visit, generate, more, photograph, results, shown_pictures
from web_server import Server

pytestmark = pytest.mark.browser

DENIED = """
for (const name of ["localStorage", "sessionStorage"]) {
  Object.defineProperty(window, name, { get() { throw new DOMException("no", "SecurityError"); } });
}
"""
FULL = """
for (const store of [localStorage, sessionStorage]) {
  for (let size = 1 << 20; size >= 1; size >>= 1) {
    try {
      for (let n = 0; ; n += 1) store.setItem(`${size}-${n}`, "x".repeat(size));
    } catch {}
  }
}
"""


def test_a_failure_is_told_and_loses_nothing(visit: Visit) -> None:
    page = visit()
    generate(page, "a !nan mug")
    expect(results(page)).to_contain_text("not finite")
    expect(page.get_by_role("status")).to_contain_text("not finite")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a !nan mug")
    generate(page, "a mug")
    shown_pictures(page, 1)


def test_a_renderer_that_dies_is_told_and_the_next_picture_is_made(visit: Visit) -> None:
    page = visit()
    generate(page, "a !crash mug")
    told = results(page).locator(".alert")
    expect(told).to_contain_text("ended the render process", timeout=30_000)
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a !crash mug")
    generate(page, "a mug")
    shown_pictures(page, 1)


def test_a_store_and_then_a_service_that_are_gone_are_told(
    visit: Visit, presets: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    server = Server(
        {
            "IMAGEGEN_MODEL": "fake",
            "IMAGEGEN_PRESETS": str(presets),
            "IMAGEGEN_STORAGE": f"file:{store}",
        }
    )
    try:
        server.wait_until("/readyz")
        page = visit(url=f"http://127.0.0.1:{server.port}", expected="status of 503|ERR_CONNECTION")
        generate(page, "a lamp")
        shown_pictures(page, 1)
        store.rename(tmp_path / "gone")
        store.write_text("in its place")
        generate(page, "a mug")
        expect(page.get_by_role("alert")).to_contain_text("Try again in")
        expect(page.get_by_label("Prompt", exact=True)).to_have_value("a mug")
        store.unlink()
        (tmp_path / "gone").rename(store)
        gone = "**/studio/generations?*"
        page.route(gone, lambda route: route.fulfill(status=503))
        page.reload()
        expect(page.get_by_role("status")).to_contain_text("The connection is lost.")
        expect(page.get_by_label("Prompt", exact=True)).to_have_value("a mug")
        page.unroute(gone)
        expect(results(page)).to_have_count(1, timeout=20_000)  # what was there comes back
        expect(page.get_by_role("status")).to_have_text("")
        server.end()
        generate(page, "a star")
        expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
        expect(page.get_by_label("Prompt", exact=True)).to_have_value("a star")
    finally:
        server.end()


def test_two_tabs_and_the_way_back(visit: Visit) -> None:
    page = visit()
    page.get_by_text("Advanced").click()
    page.get_by_label("Steps").fill("20")
    page.get_by_text("2", exact=True).click()
    generate(page, "a !slow mug")
    expect(page.locator("img.sharpening")).to_have_count(1)
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator("article").first).to_contain_text("Yours is next")
    other = page.context.new_page()
    other.goto("/?prompt=a+lamp&num_images=2")
    expect(other.locator("article")).to_have_count(0)
    other.get_by_role("button", name="Generate", exact=True).click()
    expect(other.locator("[data-told]")).to_have_text("2 pictures are before yours")
    other.get_by_label("Prompt", exact=True).fill("a star")
    for left in (1, 0):
        page.get_by_role("button", name="Cancel").last.click()
        expect(page.locator("article")).to_have_count(left)
    shown_pictures(other, 2)
    more(other).get_by_role("link", name="The picture’s own page").click()
    expect(other.get_by_role("heading", name="a lamp")).to_be_visible()
    other.go_back()
    expect(results(other)).to_have_count(1)
    expect(other.get_by_label("Prompt", exact=True)).to_have_value("a star")  # the link is done
    other.get_by_text("My presets").click()
    other.get_by_role("button", name="Save these settings").click()
    page.get_by_text("My presets").click()
    expect(page.get_by_role("button", name="a star", exact=True)).to_be_visible()


@pytest.mark.parametrize("script", [DENIED, FULL], ids=["denied", "full"])
def test_a_browser_that_keeps_nothing_will_do(visit: Visit, script: str) -> None:
    page = visit()
    page.add_init_script(script)
    page.reload()
    page.get_by_text("Start from a picture").first.click()
    page.get_by_label("Picture", exact=True).set_input_files(photograph("red"))
    expect(page.get_by_role("status")).to_have_text("The picture is in the form.")
    generate(page, "a mug")
    shown_pictures(page, 1)
    page.get_by_text("My presets").click()
    page.get_by_role("button", name="Save these settings").click()
    expect(page.get_by_role("status")).to_contain_text("settings are not saved")
    page.reload()
    expect(results(page)).to_have_count(0)
    generate(page, "a lamp")
    shown_pictures(page, 1)


def test_what_a_browser_kept_may_be_anything(visit: Visit) -> None:
    page = visit()
    page.evaluate(
        """() => {
          const hostile = "brand=nobody&prompt=hm&num_images=99&format=gone&from=javascript:1";
          localStorage.setItem("imagegen-studio-presets", JSON.stringify({"<b>": hostile, x: 5}));
          for (const [name, value] of Object.entries({
            generations: '{"a": 1}', source: "7", draft: "12", sending: '["x", null, {"key": 1}]',
          })) sessionStorage.setItem(`imagegen-studio-${name}`, value);
        }"""
    )
    page.reload()
    page.get_by_text("My presets").click()
    for name in ("x", "<b>"):
        page.get_by_role("button", name=name, exact=True).click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("hm")
    # What there is no more leaves what there is.
    for name, value in (("brand", "aurora"), ("num_images", "1"), ("format", "square")):
        expect(page.locator(f"[name={name}]:checked:enabled")).to_have_attribute("value", value)
    generate(page, "a mug")
    shown_pictures(page, 1)
    page.reload()
    expect(results(page)).to_have_count(1)
