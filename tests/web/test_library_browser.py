"""Library, picture pages and campaigns in headless Chromium, served by a process of its own."""

from __future__ import annotations

import re
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import NOTE_VIOLATIONS
from playwright.sync_api import Browser, Page, expect
from sample_brands import write_brands
from web_server import Server

pytestmark = pytest.mark.browser

WIDTHS = (390, 820, 1440)
PROMPTS = [f"a {colour} {thing}" for colour in ("red", "blue") for thing in ("mug", "lamp", "café")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(
        {
            "IMAGEGEN_MODEL": "fake",
            "IMAGEGEN_PRESETS": str(write_brands(tmp_path_factory.mktemp("brands"))),
            "IMAGEGEN_STORAGE": f"file:{tmp_path_factory.mktemp('output')}",
        }
    )
    server.wait_until("/readyz", timeout_s=60)
    for number in range(60):  # more than a page holds
        body = {
            "brand": ("aurora", "pop")[number % 2],
            "prompt": PROMPTS[number % 6],
            "seed": number,
        }
        assert server.ask("POST", "/generate", body)[0] == 200
    yield server
    server.end()


Visit = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser, server: Server) -> Iterator[Visit]:
    """Opens a page. Its console must stay silent, and its policy must not be broken."""
    opened: list[tuple[Page, list[str], str]] = []

    def open_page(path: str, expected: str = "^$", **options: Any) -> Page:
        context = browser.new_context(base_url=f"http://127.0.0.1:{server.port}", **options)
        context.add_init_script(NOTE_VIOLATIONS)
        page = context.new_page()
        page.set_default_timeout(15_000)
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(path)
        opened.append((page, said, expected))
        return page

    yield open_page
    for page, said, expected in opened:
        if page.evaluate("typeof violations") != "undefined":
            assert page.evaluate("violations") == []
        assert [text for text in said if not re.search(expected, text)] == []
        page.context.close()


def tiles(page: Page) -> Any:
    return page.locator("#tiles > li")


def check_accessible(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    bad = [(one["id"], one["nodes"][0]["html"][:200]) for one in found
           if one["impact"] in ("serious", "critical")]  # fmt: skip
    assert bad == []


def check_fits(page: Page) -> None:
    """Nothing is wider than the window."""
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0


def test_words_find_as_one_types(visit: Visit) -> None:
    page = visit("/library")
    expect(page.get_by_role("status")).to_have_text(re.compile("60 pictures"))
    page.get_by_label("Search").fill("cafe blue")
    expect(page.get_by_role("status")).to_have_text("10 pictures")
    expect(page).to_have_url(re.compile(r"\?q=cafe\+blue$"))
    for caption in page.locator(".caption").all_inner_texts():
        assert caption == "a blue café"
    page.get_by_label("Brand").select_option(label="Aurora")
    expect(page.get_by_role("status")).to_have_text(re.compile(r"^\d pictures?|Nothing"))
    page.reload()
    expect(page.get_by_label("Search")).to_have_value("cafe blue")
    page.get_by_label("Search").fill("nowhere")
    expect(page.locator(".empty")).to_be_visible()
    page.get_by_role("link", name="Show everything").click()
    expect(page.get_by_role("status")).to_have_text(re.compile("60 pictures"))


def test_more_come_as_one_scrolls_and_pictures_load_when_they_are_seen(visit: Visit) -> None:
    page = visit("/library")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    expect(tiles(page)).to_have_count(48)
    page.mouse.move(200, 400)
    page.mouse.wheel(0, 50_000)
    expect(tiles(page)).to_have_count(60)
    assert len({link.get_attribute("href") for link in page.locator("#tiles a").all()}) == 60
    last = tiles(page).last.locator("img")
    last.scroll_into_view_if_needed()
    expect(last).to_have_js_property("complete", True)
    assert last.evaluate("img => img.naturalWidth") > 0


def test_what_is_chosen_stays_chosen_through_searches_and_comes_as_one_zip(visit: Visit) -> None:
    page = visit("/library?q=red+mug")
    tray = page.get_by_role("form", name="Chosen pictures")
    expect(tray).to_be_hidden()
    tiles(page).first.get_by_label("Choose this picture").check()
    page.get_by_label("Search").fill("blue lamp")
    expect(page.locator(".caption").first).to_have_text("a blue lamp")
    tiles(page).first.get_by_label("Choose this picture").check()
    expect(tray).to_contain_text("2 pictures chosen")
    check_accessible(page)
    with page.expect_download() as download:
        tray.get_by_role("button", name="Download as ZIP").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert len([name for name in archive.namelist() if name.endswith(".png")]) == 2
        assert "pictures/index.html" in archive.namelist()
    tray.get_by_role("button", name="Clear").click()
    expect(tray).to_be_hidden()
    expect(tiles(page).first.get_by_label("Choose this picture")).not_to_be_checked()


def test_a_picture_s_page_leads_back_to_what_was_found(visit: Visit) -> None:
    page = visit("/library?q=red+mug&brand=aurora")
    tiles(page).first.locator("a").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download WEBP").click()
    assert download.value.suggested_filename.endswith(".webp")
    page.get_by_role("link", name="Back to the library").click()
    expect(page).to_have_url(re.compile(r"\?q=red\+mug&brand=aurora$"))
    expect(page.get_by_label("Search")).to_have_value("red mug")


def test_a_picture_is_marked_by_key_and_found_by_its_mark(visit: Visit) -> None:
    page = visit("/library")
    tiles(page).first.get_by_role("link").click()
    page.wait_for_url("**/library/gen_*/*")  # and its script: before, nobody hears the key
    page.keyboard.press("a")
    approved = page.get_by_role("button", name="Approved")
    expect(approved).to_have_attribute("aria-pressed", "true")
    expect(approved).to_be_focused()
    page.get_by_role("button", name="Favourite").click()
    favourite = page.get_by_role("button", name="Favourite")
    expect(favourite).to_have_attribute("aria-pressed", "true")
    shown = "one => [getComputedStyle(one).color, getComputedStyle(one).backgroundColor]"
    assert len(set(favourite.evaluate(shown))) == 2, "axe passes over words without any contrast"
    expect(approved).to_have_attribute("aria-pressed", "false")
    page.get_by_text("2 changes").click()
    expect(page.locator(".history li")).to_have_count(2)
    check_accessible(page)
    page.get_by_role("link", name="Back to the library").click()
    page.get_by_label("State").select_option(label="Favourite")
    expect(page.get_by_role("status")).to_have_text("1 picture")
    expect(page.locator(".badge")).to_have_count(1)


def test_somebody_else_s_mark_is_told(visit: Visit, server: Server) -> None:
    page = visit("/library", expected="status of 409")
    tiles(page).nth(5).get_by_role("link").click()
    expect(page.get_by_role("button", name="Rejected")).to_be_visible()
    _, generation_id, index = page.url.rsplit("/", 2)
    server.ask("POST", f"/generations/{generation_id}/images/{index}/marks", {"mark": "rejected"})
    page.get_by_role("button", name="Approved").click()
    expect(page.get_by_role("alert")).to_contain_text("rejected since")
    expect(page.get_by_role("button", name="Rejected")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Approved").click()
    expect(page.get_by_role("button", name="Approved")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_marks_pressed_at_once_are_all_kept_and_one_that_cannot_be_is_told(visit: Visit) -> None:
    page = visit("/library", expected="ERR_INTERNET_DISCONNECTED")
    tiles(page).nth(4).get_by_role("link").click()
    favourite = page.get_by_role("button", name="Favourite")
    expect(favourite).to_be_visible()
    page.wait_for_load_state()  # with its script
    page.evaluate(
        "() => { for (const key of ['a', 'r', 'f']) "
        """document.querySelector(`[data-key="${key}"]`).click(); }"""
    )
    expect(page.get_by_text("3 changes")).to_be_visible()
    expect(favourite).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("alert")).to_have_count(0)
    page.context.set_offline(True)
    page.get_by_role("button", name="Approved").click()
    expect(page.get_by_role("alert")).to_contain_text("could not be kept")
    page.context.set_offline(False)
    page.get_by_role("button", name="Approved").click()
    expect(page.get_by_text("4 changes")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_rendered_again_it_is_the_same(visit: Visit) -> None:
    page = visit("/library")
    tiles(page).nth(3).get_by_role("link").click()
    page.get_by_role("button", name="Render exactly this picture").click()
    expect(page.locator(".compared")).to_contain_text("the same picture, to the last bit")
    page.get_by_role("link", name="Same prompt in Create").click()
    expect(page.get_by_label("Prompt", exact=True)).not_to_have_value("")


def test_a_campaign_with_bad_rows(visit: Visit) -> None:
    page = visit("/campaigns")
    check_accessible(page)
    page.get_by_label("Name").fill("Spring 🌱")
    page.get_by_label("Rows", exact=True).fill(
        "brand,prompt,num_images\naurora,a red mug,2\nnobody,a lamp,1\npop,!nan,1\n"
    )
    page.get_by_role("button", name="Check the rows").click()
    expect(page.get_by_role("heading", name="3 pictures will be made")).to_be_visible()
    expect(page.locator(".bad li")).to_have_count(1)
    expect(page.locator(".bad")).to_contain_text("Line 3")
    check_accessible(page)
    page.get_by_role("button", name="Start, 3 pictures").click()
    expect(page.locator("#state [role=status]")).to_contain_text(
        "1 of 2 rows are done", timeout=30_000
    )
    expect(page.locator("#state")).to_have_attribute("data-over", "true", timeout=30_000)
    expect(page.locator(".sheet li")).to_have_count(2)
    check_accessible(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download ZIP").click()
    assert download.value.suggested_filename == "Spring.zip"
    page.get_by_role("button", name="Retry the failed row").click()
    expect(page.locator("#state [role=status]")).to_contain_text("1 row failed", timeout=30_000)


def test_a_file_may_be_dropped(visit: Visit, tmp_path: Path) -> None:
    page = visit("/campaigns")
    file = tmp_path / "Otoño.csv"
    file.write_text("brand;prompt\npop;café\n", encoding="utf-8")
    page.get_by_label("Or a file").set_input_files(file)
    expect(page.get_by_label("Rows", exact=True)).to_have_value("brand;prompt\npop;café\n")
    expect(page.get_by_label("Name")).to_have_value("Otoño")


@pytest.mark.parametrize(("encoding", "told"), [("utf-8", "café"), ("cp1252", "Excel")])
def test_a_file_may_fall_anywhere_on_the_page(visit: Visit, encoding: str, told: str) -> None:
    page = visit("/campaigns")
    data = "brand;prompt\npop;café, as Excel writes it\n".encode(encoding)
    drop = """bytes => {
        const dropped = new DataTransfer();
        dropped.items.add(new File([new Uint8Array(bytes)], "Spring.csv", { type: "text/csv" }));
        return dropped;
    }"""
    dropped = page.evaluate_handle(drop, list(data))
    page.locator("h1").dispatch_event("drop", {"dataTransfer": dropped})
    expect(page.get_by_label("Name")).to_have_value("Spring")
    page.get_by_role("button", name="Check the rows").click()
    expect(page.get_by_role("heading", name="1 picture will be made")).to_be_visible()
    expect(page.locator("#plan tbody")).to_contain_text("café")
    expect(page.get_by_label("Rows", exact=True)).to_have_value(re.compile(told))


def test_it_is_stopped_and_goes_on_where_it_was(visit: Visit) -> None:
    page = visit("/campaigns")
    page.get_by_label("Name").fill("Stop and go")
    rows = [f"!slow mug {number}" for number in range(24)]  # more than are asked for at a time
    page.get_by_label("Rows", exact=True).fill("\n".join([*rows, "{bad}"]))
    page.get_by_role("button", name="Check the rows").click()
    page.get_by_role("button", name="Start, 24 pictures").click()
    page.get_by_text("1 row was left out").click()
    first = page.locator("#state").element_handle()
    page.wait_for_function("one => !one.isConnected", arg=first)  # it was looked at again
    expect(page.locator("#state .bad")).to_be_visible()  # what is open stays open
    page.get_by_role("button", name="Stop").click()
    status = page.locator("#state [role=status]")
    expect(status).to_contain_text("Stopped")
    expect(page.locator("#state")).to_have_attribute("data-over", "true", timeout=30_000)
    expect(page.locator("tbody .waiting").first).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect(status).to_contain_text("24 of 24 rows are done", timeout=60_000)
    expect(page.locator(".sheet li")).to_have_count(24)
    expect(page.get_by_role("button", name="Resume")).to_have_count(0)


def test_without_scripts_all_of_it_works(visit: Visit) -> None:
    page = visit("/library", java_script_enabled=False)
    page.get_by_label("Search").fill("red mug")
    page.get_by_role("button", name="Find").click()
    expect(page.locator("#found [role=status]")).to_have_text(re.compile(r"^1\d pictures"))
    tiles(page).first.get_by_role("link").click()
    page.get_by_role("button", name="Rejected").click()
    expect(page.get_by_role("button", name="Rejected")).to_have_attribute("aria-pressed", "true")
    page.goto("/campaigns")
    page.get_by_label("Name").fill("Plain")
    page.get_by_label("Rows", exact=True).fill("a mug\na lamp")
    page.get_by_role("button", name="Check the rows").click()
    page.get_by_role("button", name="Start, 2 pictures").click()
    expect(page.get_by_role("heading", name="Plain")).to_be_visible()
    again = page.get_by_role("link", name="Look again")
    for _ in range(100):
        if again.count() == 0:
            break
        again.click()
    expect(page.locator("#state [role=status]")).to_contain_text("2 of 2 rows are done")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download ZIP").click()
    assert download.value.suggested_filename == "Plain.zip"


@pytest.fixture(scope="module")
def ended_campaign(server: Server) -> str:
    """The address of one with pictures, a failed row, and rows that were left out."""
    text = "brand,prompt,format\naurora,a mug,story\npop,a lamp,banner\npop,!nan,\nnobody,x,\n"
    form = {"name": "A long campaign’s name, for narrow windows", "text": text, "do": "start"}
    _, headers, _ = server.submit("/campaigns", form)
    path = str(headers["Location"])
    until = time.monotonic() + 60
    while b'data-over="true"' not in server.ask("GET", path)[2]:
        assert time.monotonic() < until
        time.sleep(0.2)
    return path


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_every_window_and_anybody_s_eyes(
    visit: Visit, ended_campaign: str, width: int, scheme: str
) -> None:
    options = {"viewport": {"width": width, "height": 844}, "color_scheme": scheme}
    page = visit("/library", **options)
    check_fits(page)
    check_accessible(page)
    tiles(page).nth(10).get_by_role("link").click()
    expect(page.get_by_role("heading", name="Recipe")).to_be_visible()
    check_fits(page)
    check_accessible(page)
    page.goto("/campaigns")
    page.get_by_label("Name").fill("x" * 64)
    page.get_by_label("Rows", exact=True).fill("brand,prompt\npop,a mug\nnobody,a mug")
    page.get_by_role("button", name="Check the rows").click()
    expect(page.get_by_role("heading", name="1 picture will be made")).to_be_visible()
    check_fits(page)
    check_accessible(page)
    page.goto(ended_campaign)
    page.get_by_text("1 row was left out").click()
    check_fits(page)
    check_accessible(page)
