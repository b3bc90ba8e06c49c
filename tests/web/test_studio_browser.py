"""The studio in headless Chromium, served by a process of its own."""

from __future__ import annotations

import dataclasses
import functools
import io
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import NOTE_VIOLATIONS
from PIL import Image
from playwright.sync_api import Browser, Page, Request, expect
from studio_brands import write_studio_brands
from web_server import Server
from werkzeug.serving import make_server

from imagegen.bootstrap import build
from imagegen.door import Door
from imagegen.engine.fake import FakeRenderer
from imagegen.engine.process import RenderProcess
from imagegen.generations.generations import Generations
from imagegen.provenance import read_record
from imagegen.service import ImageService
from imagegen.settings import Settings
from imagegen.web.app import create_app

pytestmark = pytest.mark.browser

LONG_WORD = "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen" * 3
HOSTILE = (
    """<img src=x onerror="document.title='caught'"><script>document.title='caught'</script>"""
)
SHOWN = "img => img.complete && img.naturalWidth > 0 && img.getBoundingClientRect().width > 0"


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


Visit = Callable[..., Page]


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


@pytest.mark.parametrize("model", ["fake", "starter"])
def test_a_picture_is_made_and_shown(visit: Visit, model: str) -> None:
    page = visit(model=model)
    page.get_by_role("radio", name="Aurora").check()
    page.get_by_text("Advanced").click()
    page.get_by_label("Steps").fill("8")
    page.get_by_label("Seed", exact=True).fill("7")
    generate(page, "a red mug, blue background")
    [file] = shown_pictures(page, 1)
    record = read_record(file)
    assert record is not None
    assert record["model"]["name"] == model
    assert "Seed 7 · 256 × 256" in results(page).first.inner_text()
    expect(page.get_by_role("status")).to_have_text(re.compile(r"^1 picture ready in [\d.]+ s\.$"))


def more(page: Page) -> Any:
    """The menu of the first picture of the newest result, opened."""
    figure = results(page).first.locator("[data-picture]").first
    figure.get_by_text("More", exact=True).click()
    return figure.locator(".menu[open] .choices").first


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


def test_pictures_sharpen_and_a_reload_goes_on(
    visit: Visit, serve_studio: Callable[[str], Server]
) -> None:
    page = visit(expected="ERR_INTERNET_DISCONNECTED|ERR_NETWORK|ERR_INCOMPLETE")
    page.get_by_text("Advanced").click()
    page.get_by_label("Steps").fill("16")
    page.get_by_text("2", exact=True).click()
    generate(page, "a !slow mug")
    expect(page.locator("img.sharpening")).to_have_count(1)  # the fake makes one at a time
    expect(page.locator("[data-told]")).to_contain_text("to go")
    article = page.locator("article.generation")
    name = article.get_attribute("id")
    page.reload()
    expect(article).to_have_attribute("id", name or "")
    expect(page.locator("img.sharpening")).to_have_count(1)
    page.context.set_offline(True)
    page.wait_for_timeout(300)
    page.context.set_offline(False)
    expect(results(page)).to_have_attribute("id", name or "", timeout=30_000)
    shown_pictures(page, 2)
    expect(page.get_by_role("status")).to_contain_text("2 pictures ready in")


def test_settings_are_kept_in_the_browser_and_the_prompt_is_measured(visit: Visit) -> None:
    page = visit()
    prompt = page.get_by_label("Prompt", exact=True)
    prompt.fill("a mug " * 40)
    expect(page.locator("#reading")).to_contain_text("The end may not be read.")
    prompt.fill("a mug")
    expect(page.locator("#reading")).to_have_text(re.compile(r"^About \d of 75 pieces"))
    page.get_by_role("radio", name="Banner").check()
    page.get_by_text("My presets").click()
    page.get_by_label("Name", exact=True).fill("Our <b>banner</b>")
    page.keyboard.press("Enter")
    prompt.fill("another")
    page.get_by_role("radio", name="Square").check()
    page.reload()
    expect(prompt).to_have_value("another")  # the draft outlives a reload too
    page.get_by_text("My presets").click()
    page.get_by_role("button", name="Our <b>banner</b>", exact=True).click()
    expect(prompt).to_have_value("a mug")
    expect(page.get_by_role("radio", name="Banner")).to_be_checked()
    page.get_by_role("button", name="Forget Our").click()
    expect(page.get_by_role("button", name="Our <b>banner</b>")).to_have_count(0)


def photograph(colour: str, size: tuple[int, int] = (320, 240)) -> dict[str, Any]:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return {"name": "photo.png", "mimeType": "image/png", "buffer": file.getvalue()}


def pixels_of(file: bytes) -> Image.Image:
    return Image.open(io.BytesIO(file)).convert("RGB")


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


def refuse_serious(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    assert serious == [], [(one["id"], one["nodes"][0]["html"]) for one in serious]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_is_found_by_axe(visit: Visit, scheme: str) -> None:
    page = visit(color_scheme=scheme, reduced_motion="reduce", expected="status of 422")
    page.get_by_text("2", exact=True).click()
    page.get_by_text("Logo and words").first.click()
    page.get_by_label("Headline on the picture").fill("Sale")
    generate(page, "a lamp")
    shown_pictures(page, 2)
    for part in ("Start from a picture", "My presets", "Advanced"):
        page.locator("summary").get_by_text(part).click()
    page.get_by_label("Picture", exact=True).set_input_files(photograph("red"))
    page.get_by_role("button", name="Change only a part").click()
    page.get_by_label("Name", exact=True).fill("Ours")
    page.keyboard.press("Enter")
    page.get_by_role("checkbox", name="Choose this picture").first.check(force=True)
    page.get_by_label("Seed", exact=True).fill("none")
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator("#seed-message")).to_be_visible()
    more(page)
    for width in (390, 820, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        refuse_serious(page)
    page.locator("[data-look]").first.click()
    refuse_serious(page)


def test_it_can_be_used_within_a_second(visit: Visit) -> None:
    visit()  # the service has answered before
    page = visit()  # with nothing in its cache
    for way in ("the first time", "again"):
        took_ms = page.evaluate(
            "() => { const [n] = performance.getEntriesByType('navigation');"
            " return n.domContentLoadedEventEnd; }"  # modules have run by then
        )
        assert took_ms < 1_000, f"{took_ms:.0f} ms until the page's scripts have run, {way}"
        page.reload()


def test_a_locked_seed_stays(visit: Visit) -> None:
    page = visit()
    lock = page.get_by_role("button", name="Lock seed")
    seed = page.get_by_label("Seed", exact=True)
    generate(page, "a star")
    [file] = shown_pictures(page, 1)
    lock.click()
    assert f"Seed {seed.input_value()} " in results(page).first.inner_text()
    generate(page, "a star")
    expect(results(page)).to_have_count(2)
    assert shown_pictures(page, 1) == [file]
    lock.click()
    expect(seed).to_have_value("")


def test_the_keyboard_is_enough(visit: Visit) -> None:
    page = visit()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")  # past the bar
    page.keyboard.press("Tab")
    expect(page.get_by_role("radio", name="Aurora")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="Kräutergärten")).to_be_checked()
    expect(page.get_by_role("radio", name="Portrait")).to_be_checked()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Prompt", exact=True)).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="eine Flasche mit Lavendel")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("eine Flasche mit Lavendel")
    for name in ("eine Flasche", "본문"):
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name=name)).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="Story")).to_be_checked()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="2", exact=True)).to_be_checked()
    for _ in range(7):  # seed, lock, four closed parts, Generate
        page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Generate", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    shown_pictures(page, 2)
    expect(page.get_by_role("button", name="Generate", exact=True)).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="New variations")).to_be_focused()


def test_a_brand_brings_its_own_formats_examples_and_defaults(visit: Visit) -> None:
    page = visit()
    expect(page.get_by_role("radio", name="Wall poster")).to_be_visible()
    expect(page.get_by_role("heading", name="Aurora")).to_be_visible()
    page.get_by_role("radio", name="Banner").check()
    page.get_by_role("radio", name="Plain").check()
    expect(page.get_by_role("radio", name="Banner")).to_be_checked()  # was chosen, so it stays
    expect(page.get_by_role("radio", name="Wall poster")).to_have_count(0)
    expect(page.get_by_role("group", name="Examples")).to_have_count(0)
    assert page.locator("#num_inference_steps").get_attribute("placeholder") == "2"
    page.get_by_role("radio", name="Brand’s own").check()
    page.get_by_role("radio", name="Kräutergärten").check()
    expect(page.get_by_role("radio", name="Portrait")).to_be_checked()
    expect(page.get_by_role("heading", name="Kräutergärten")).to_be_visible()
    generate(page, "ein Krug")
    shown_pictures(page, 1)
    assert "224 × 288" in results(page).first.inner_text()


def test_a_brand_that_drifts_is_flagged(
    visit: Visit, serve_studio: Callable[[str], Server]
) -> None:
    for number in range(60):
        seed = 6 if number < 40 else 0  # one is near to the palette, the other far from it
        asked = {"brand": "kraeuter", "prompt": "a", "seed": seed}
        assert serve_studio("fake").ask("POST", "/generate", asked)[0] == 200
    page = visit()
    note = page.locator("#drift")
    page.get_by_role("radio", name="Kräutergärten").check()
    expect(note).to_contain_text("less its own")
    page.get_by_role("radio", name="Plain").check()
    expect(note).to_be_hidden()
    page.get_by_role("radio", name="Kräutergärten").check()
    note.get_by_role("link", name="Look at them").click()
    expect(page).to_have_url(re.compile(r"/library\?brand=kraeuter$"))


def test_a_fault_is_told_beside_its_field_and_gets_the_focus(visit: Visit) -> None:
    page = visit(expected="status of 422")
    page.get_by_label("Seed", exact=True).fill("twelve")
    page.get_by_text("Advanced").click()
    page.get_by_label("Steps").fill("400")
    page.get_by_text("Advanced").click()
    generate(page, "a mug")
    expect(page.get_by_label("Seed", exact=True)).to_be_focused()
    expect(page.locator("#seed-message")).to_have_text("must be a whole number")
    expect(page.locator("#num_inference_steps-message")).to_have_text("must be 100 or less")
    page.get_by_label("Seed", exact=True).fill("12")
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.get_by_label("Steps")).to_be_focused()  # in the part that had been closed
    expect(page.locator("#seed-message")).to_be_hidden()
    page.get_by_label("Steps").fill("4")
    generate(page, "a casino")
    expect(page.get_by_label("Prompt", exact=True)).to_be_focused()
    expect(page.locator("#prompt-message")).to_have_text("Aurora does not allow 'casino'")
    assert page.get_by_label("Seed", exact=True).input_value() == "12"
    generate(page, "a house")
    shown_pictures(page, 1)
    expect(page.locator(".message:visible")).to_have_count(0)


def test_a_failure_is_told_and_loses_nothing(visit: Visit) -> None:
    page = visit()
    generate(page, "a !nan mug")
    expect(results(page)).to_contain_text("not finite")
    expect(page.get_by_role("status")).to_contain_text("not finite")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a !nan mug")
    generate(page, "a mug")
    shown_pictures(page, 1)


def test_waiting_is_told_and_can_be_ended(
    visit: Visit, serve_studio: Callable[[str], Server]
) -> None:
    page = visit()
    page.get_by_text("Advanced").click()
    page.get_by_label("Steps").fill("100")
    page.get_by_text("2", exact=True).click()
    generate(page, "a !slow mug")
    expect(page.get_by_role("status")).to_contain_text("Rendering 2 pictures.")
    expect(page.locator("[data-told]")).to_have_text(re.compile(r"^about \d+ s to go$"))
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("status")).to_contain_text("Cancelled")
    expect(page.get_by_role("button", name="Generate", exact=True)).to_be_enabled()
    expect(page.locator("article")).to_have_count(0)
    until(lambda: serve_studio("fake").queued_and_running() == (0, 0))


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
    expect(page.get_by_text("Yours is next")).to_be_visible()
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
            generations: '{"a": 1}', source: "7", draft: "12", sending: '"x"',
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


def test_eight_candidates_come_best_first_and_without_words_too(visit: Visit) -> None:
    page = visit()
    page.get_by_text("8", exact=True).click()
    page.get_by_text("Logo and words").first.click()
    page.get_by_label("Headline on the picture").fill("Sale <b>now</b>")
    generate(page, "a lamp")
    shown_pictures(page, 8)
    told = results(page).locator(".score").all_inner_texts()
    scores = [int(text.removeprefix("Brand score ")) for text in told]
    assert len(scores) == 8
    assert scores == sorted(scores, reverse=True)
    page.locator("[data-look]").first.click()
    viewer = page.get_by_role("dialog", name="The picture in full")
    image = viewer.get_by_role("img", name="Aurora: a lamp")
    composed = page.request.get(image.get_attribute("src") or "").body()
    viewer.get_by_role("button", name="Without logo and words").click()
    until(lambda: image.evaluate(SHOWN))
    assert page.request.get(image.get_attribute("src") or "").body() != composed
    page.keyboard.press("ArrowRight")
    expect(viewer.get_by_role("button", name="Without logo and words")).to_have_attribute(
        "aria-pressed", "false"
    )
    page.keyboard.press("Escape")
    figure = results(page).first.locator("[data-picture]").first
    figure.get_by_text("Download").click()
    with page.expect_download() as download:
        figure.get_by_role("link", name="PNG").last.click()
    assert download.value.path().read_bytes() != composed


@pytest.fixture
def serve_slowly(presets: Path, tmp_path: Path) -> Iterator[Callable[[float], str]]:
    """The address of a service whose model takes so many seconds to load.

    Asked for before `visit`, whose pages are then gone before it is.
    """
    settings = Settings(model="fake", presets=str(presets), storage=f"file:{tmp_path}")
    quick = build(settings)
    with ExitStack() as at_end:

        def serve(load_s: float) -> str:
            engine = RenderProcess(functools.partial(FakeRenderer, load_s=load_s), max_queue=8)
            service = ImageService(
                settings, quick.catalog, engine, quick.service._keeper, quick.metrics, Door()
            )
            generations = Generations(service, quick.generations._archive, lambda: 0)
            parts = dataclasses.replace(
                quick, engine=engine, service=service, generations=generations
            )
            server = make_server("127.0.0.1", 0, create_app(parts), threaded=True)
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            for end in (parts.stop, server.server_close, thread.join, server.shutdown):
                at_end.callback(end)
            parts.start()
            return f"http://127.0.0.1:{server.port}"

        yield serve


def test_a_picture_asked_for_while_the_model_loads_is_waited_for(
    serve_slowly: Callable[[float], str], visit: Visit
) -> None:
    page = visit(url=serve_slowly(6))
    expect(page.get_by_role("status")).to_have_text("The model is loading: weights…")
    expect(page.locator("#phases li.done")).to_contain_text(["libraries", "files"])
    expect(page.locator("#phases li.now")).to_contain_text("weights")
    expect(page.locator("#phases li.next")).to_have_count(2)
    expect(page.get_by_role("radio", name="Square")).to_be_checked()
    assert "256 × 256" not in page.locator("#formats").inner_text()
    page.get_by_role("radio", name="Portrait").check()
    generate(page, "a mug")
    expect(page.get_by_role("status")).to_have_text("The model is loading: weights…")
    shown_pictures(page, 1)
    expect(page.locator("#phases")).to_be_hidden()
    expect(page.locator("#formats")).to_contain_text("256 × 256")
    expect(page.get_by_role("radio", name="Portrait")).to_be_checked()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a mug")


@pytest.mark.parametrize("width", [320, 390, 820, 1440])
def test_nothing_overflows_at_any_width(visit: Visit, width: int) -> None:
    page = visit(viewport={"width": width, "height": 760})
    page.get_by_text("Advanced").click()
    page.get_by_role("radio", name="Kräutergärten").check()
    for number, prompt in (("1", LONG_WORD), ("3", HOSTILE), ("1", "short")):
        page.get_by_text(number, exact=True).click()
        generate(page, prompt)
        expect(page.get_by_role("status")).to_be_in_viewport()  # wherever one was
        shown_pictures(page, int(number))
    approve = results(page).first.get_by_role("button", name="Approve")
    if width < 640:
        expect(approve).to_be_visible()  # without pointing at anything
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.title") == "Create – imagegen studio"
    assert HOSTILE in results(page).nth(1).inner_text()
    # What is pressed must be large enough for a finger (WCAG 2.2, 2.5.8).
    for button in page.locator("button:visible, a.button:visible").all():
        box = button.bounding_box()
        assert box is not None
        assert box["height"] >= 24
        assert box["width"] >= 24


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


def test_without_scripts_the_form_does_the_same(visit: Visit) -> None:
    page = visit(java_script_enabled=False, expected="status of 422")
    sent: list[Request] = []

    def note(request: Request) -> None:
        sent.append(request)

    page.on("request", note)
    expect(page.get_by_role("button", name="Lock seed")).to_have_count(0)
    page.get_by_role("radio", name="Plain").check()
    page.get_by_label("Seed", exact=True).fill("none")
    generate(page, "a book")
    expect(page.locator("#seed-message")).to_have_text("must be a whole number")
    expect(page.get_by_label("Seed", exact=True)).to_be_focused()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a book")
    expect(page.get_by_role("radio", name="Plain")).to_be_checked()
    page.get_by_label("Seed", exact=True).fill("5")
    page.get_by_role("button", name="Generate", exact=True).click()
    picture = page.get_by_role("img", name="Plain: a book")
    expect(picture).to_be_visible()
    first = page.request.get(picture.get_attribute("src") or "").body()
    page.get_by_text("More", exact=True).click()
    page.get_by_role("link", name="Use these settings").click()
    expect(page.locator("#seed")).to_have_value("5")
    page.get_by_role("button", name="Generate", exact=True).click()
    assert page.request.get(picture.get_attribute("src") or "").body() == first
    page.get_by_role("button", name="New variation").click()
    expect(page.locator("#seed")).to_have_value("")
    page.get_by_text("Start from a picture").first.click()
    page.get_by_label("Picture", exact=True).set_input_files(photograph("red"))
    page.get_by_label("Change only a part").set_input_files(photograph("white"))
    page.get_by_label("Keep the shape").check()
    page.get_by_text("Advanced").click()
    page.get_by_label("Steps").fill("10")
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator("figcaption .facts")).to_contain_text("320 × 240")
    forms = [request.all_headers() for request in sent if request.method == "POST"]
    assert len(forms) == 5
    # An answer's no-referrer would make it `null`, and forms unknown over plain HTTP.
    assert {form["origin"] for form in forms} == {page.url.rstrip("/")}


def test_the_theme_and_the_language_change_and_stay(visit: Visit) -> None:
    page = visit(color_scheme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    page.get_by_role("button", name="Theme: as the system").click()
    page.get_by_role("button", name="Theme: dark").click()
    expect(page.get_by_role("button", name="Theme: light")).to_be_focused()
    light = page.evaluate(paper)
    assert light != dark
    page.reload()
    assert page.evaluate(paper) == light
    page.get_by_role("button", name="Español").click()
    expect(page.get_by_role("button", name="Generar")).to_be_visible()
    assert page.evaluate(paper) == light
    generate_button = page.get_by_role("button", name="Generar")
    page.get_by_label("Descripción", exact=True).fill("una taza")
    generate_button.click()
    expect(page.get_by_role("status")).to_contain_text("1 imagen en ")
    expect(results(page).get_by_role("button", name="Otra variación")).to_be_visible()
