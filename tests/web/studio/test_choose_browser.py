"""From one picture to the right one: variations, marks, side by side, a picture to start from."""

from __future__ import annotations

import io
import re

import pytest
from PIL import Image
from playwright.sync_api import expect
from studio_pages import Visit, generate, more, photograph, results, shown_pictures, until

pytestmark = pytest.mark.browser

BROUGHT = """
async ([kind, colour, words]) => {
  const sheet = new OffscreenCanvas(320, 240);
  const pen = sheet.getContext("2d");
  pen.fillStyle = colour;
  pen.fillRect(0, 0, 320, 240);
  const data = new DataTransfer();
  data.items.add(new File([await sheet.convertToBlob()], "photo.png", {type: "image/png"}));
  if (words) data.items.add(words, "text/plain");
  const said = {bubbles: true, cancelable: true, clipboardData: data, dataTransfer: data};
  const event = kind === "drop" ? new DragEvent(kind, said) : new ClipboardEvent(kind, said);
  const taken = !document.querySelector("#results").dispatchEvent(event);
  if (taken === Boolean(words)) throw new Error(`${kind} with ${words}: taken is ${taken}`);
}
"""


def pixels_of(file: bytes) -> Image.Image:
    return Image.open(io.BytesIO(file)).convert("RGB")


def test_a_picture_leads_to_others(visit: Visit) -> None:
    page = visit()
    page.get_by_text("3", exact=True).click()
    page.get_by_label("Seed", exact=True).fill("5")
    generate(page, "a lamp")
    files = shown_pictures(page, 3)
    assert len(set(files)) == 3
    figure = results(page).first.locator("[data-seed='6']")
    figure.get_by_text("More", exact=True).click()
    figure.get_by_role("link", name="Use these settings").click()
    expect(page.get_by_label("Seed", exact=True)).to_have_value("6")
    page.get_by_text("1", exact=True).click()
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(results(page)).to_have_count(2)
    assert shown_pictures(page, 1) == [files[1]]
    more(page).get_by_role("button", name="4 near seeds").click()
    expect(results(page)).to_have_count(3)
    assert len(set(shown_pictures(page, 4))) == 4
    assert "Seed 7 " in results(page).first.inner_text()  # after the one that is there
    more(page).get_by_role("button", name="Slightly changed").click()
    expect(results(page)).to_have_count(4)
    shown_pictures(page, 4)
    page.reload()
    expect(results(page)).to_have_count(4)  # a reload loses no picture of this tab
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a lamp")
    page.get_by_role("button", name="Take off this page").first.click()
    expect(results(page)).to_have_count(3)
    figure = results(page).last.locator("[data-picture]").last
    figure.get_by_text("Download").click()
    with page.expect_download() as download:
        figure.get_by_role("link", name="JPEG").click()
    assert re.fullmatch(r"aurora-[567]\.jpg", download.value.suggested_filename)


def test_other_formats_and_brands_are_made_at_once(visit: Visit) -> None:
    page = visit()
    generate(page, "a lamp")
    shown_pictures(page, 1)
    more(page).get_by_role("button", name="All of them").click()
    expect(results(page)).to_have_count(6, timeout=20_000)
    sizes = page.locator("#results figcaption .facts").all_inner_texts()
    assert len({text.partition("·")[2] for text in sizes}) == 6
    assert len({text.partition("·")[0] for text in sizes}) == 1  # the same seed
    more(page).get_by_role("button", name="Plain").click()
    expect(results(page)).to_have_count(7)
    assert "320 × 192" in results(page).first.inner_text()


def test_what_is_being_sent_outlives_a_reload_all_of_it(visit: Visit) -> None:
    page = visit(expected="ERR_INCOMPLETE|ERR_ABORTED")
    generate(page, "a lamp")
    shown_pictures(page, 1)
    page.route("**/studio/generations", lambda _: None)  # no answer ever comes
    more(page).get_by_role("button", name="All of them").click()
    expect(page.locator("article.generation")).to_have_count(6)
    page.unroute("**/studio/generations")
    page.reload()
    expect(results(page)).to_have_count(6, timeout=20_000)


def test_pictures_are_looked_at_marked_and_compared(visit: Visit) -> None:
    page = visit()
    page.get_by_text("3", exact=True).click()
    generate(page, "a lamp")
    shown_pictures(page, 3)
    page.locator("[data-look]").first.click()
    viewer = page.get_by_role("dialog", name="The picture in full")
    expect(viewer).to_contain_text("1 of 3")
    page.keyboard.press("ArrowLeft")
    expect(viewer).to_contain_text("1 of 3")
    page.keyboard.press("ArrowRight")
    expect(viewer).to_contain_text("2 of 3")
    page.keyboard.press("a")
    approve = viewer.get_by_role("button", name="Approve")
    expect(approve).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("status")).to_have_text("Approved.")
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    expect(page.locator("[data-look]").nth(1)).to_be_focused()
    page.reload()
    marked = page.locator("[data-picture]").nth(1).get_by_role("button", name="Approve")
    expect(marked).to_have_attribute("aria-pressed", "true")
    marked.click()
    expect(marked).to_have_attribute("aria-pressed", "false")
    for index in (0, 2):
        page.get_by_role("checkbox", name="Choose this picture").nth(index).check(force=True)
    tray = page.get_by_role("region", name="Chosen pictures")
    expect(tray).to_contain_text("2 pictures chosen")
    with page.expect_download() as download:
        tray.get_by_role("button", name="Download as ZIP").click()
    assert download.value.suggested_filename == "pictures.zip"
    tray.get_by_role("button", name="Compare").click()
    compare = page.get_by_role("dialog", name="Pictures side by side")
    expect(compare.get_by_role("img")).to_have_count(2)
    compare.get_by_role("button", name="Reject").last.click()
    expect(page.locator("[data-picture]").nth(2)).to_have_attribute("data-mark", "rejected")
    compare.get_by_role("button", name="Close").click()
    tray.get_by_role("button", name="Clear").click()
    expect(tray).to_be_hidden()


def test_a_picture_of_one_s_own_is_started_from_and_painted_on(visit: Visit) -> None:
    page = visit()
    page.get_by_text("Start from a picture").first.click()
    chooser = page.get_by_label("Picture", exact=True)
    chooser.set_input_files({"name": "x.png", "mimeType": "image/png", "buffer": b"no picture"})
    expect(page.get_by_role("status")).to_contain_text("no picture that this browser can read")
    chooser.set_input_files(photograph("red", (3200, 2400)))  # larger than anybody needs
    start = page.get_by_role("img", name="The picture to start from")
    expect(page.get_by_role("status")).to_have_text("The picture is in the form.")
    assert start.evaluate("img => [img.naturalWidth, img.naturalHeight]") == [1536, 1152]
    page.evaluate(BROUGHT, ["paste", "blue", "some words"])  # as office programs do
    page.evaluate(BROUGHT, ["drop", "red", ""])  # beside the form
    until(lambda: start.evaluate("img => img.naturalWidth") == 320)
    page.evaluate(BROUGHT, ["paste", "red", ""])
    page.get_by_label("Keep the shape").check()
    page.get_by_role("button", name="Change only a part").click()
    sheet = page.get_by_role("application", name="Paint over what shall change")
    sheet.hover()
    box = sheet.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 4, box["y"] + 4)
    page.mouse.down()
    page.mouse.move(box["x"] + 4, box["y"] + box["height"] - 4, steps=3)
    page.mouse.up()
    sheet.press("Shift+ArrowUp")  # from where the brush is
    page.reload()
    expect(sheet).to_be_visible()  # and what was painted on it
    page.get_by_text("Advanced").click()
    page.get_by_label("Steps").fill("10")
    generate(page, "a mug")
    [file] = shown_pictures(page, 1)
    made = pixels_of(file)
    assert made.size == (320, 240)
    assert made.getpixel((300, 120)) == (255, 0, 0)
    assert made.getpixel((5, 120)) != (255, 0, 0)
    page.get_by_role("button", name="Remove it").click()
    expect(start).to_be_hidden()
    more(page).get_by_role("link", name="Start from this picture").click()
    expect(start).to_be_visible()
    until(lambda: start.evaluate("img => img.naturalWidth") == 320)
    page.reload()
    expect(start).to_be_visible()
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(results(page)).to_have_count(2)
    assert shown_pictures(page, 1) != [file]
    more(page).get_by_role("link", name="Use these settings").click()
    expect(start).to_be_hidden()  # those are without it


def test_a_link_to_a_picture_can_be_copied(visit: Visit) -> None:
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    generate(page, "a heart")
    [file] = shown_pictures(page, 1)
    more(page).get_by_role("button", name="Copy link to the picture").click()
    expect(page.get_by_role("status")).to_have_text("Link copied.")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link.startswith("http://127.0.0.1:")
    assert page.request.get(link).body() == file
    page.get_by_role("button", name="Copy link to the settings").click()
    page.goto(page.evaluate("navigator.clipboard.readText()"))
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a heart")
    assert page.get_by_label("Seed", exact=True).input_value() in results(page).inner_text()
