"""Create for everybody: any width, keyboard, theme, language, without scripts, at once."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Request, expect
from studio_pages import HOSTILE, Visit, generate, more, photograph, results, shown_pictures

pytestmark = pytest.mark.browser

LONG_WORD = "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen" * 3


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
