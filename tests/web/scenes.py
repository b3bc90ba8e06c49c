"""What the pictures of docs/studio.md show: a studio in which a team has worked, page by page."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Page, Route, expect
from web_server import Server

# brand, prompt, seed, pictures, format, campaign, mark of the first picture
MADE = (
    ("botanic", "a green bottle on a white background", 11, 2, None, None, "approved"),
    ("pop", "a yellow star on a blue background", 5, 1, None, "Summer sale", None),
    ("aurora", "a white phone", 3, 2, None, None, None),
    ("pop", "a red heart for the summer sale", 8, 2, None, "Summer sale", "favourite"),
    ("aurora", "a white balloon for our winter campaign", 21, 1, None, "Winter nights", None),
    ("botanic", "a brown book on a white table", 2, 1, None, None, None),
    ("pop", "a blue t-shirt on a yellow background", 14, 2, None, "Summer sale", "approved"),
    ("aurora", "a small white house at night", 9, 2, None, "Winter nights", "rejected"),
    ("botanic", "an elegant green lamp", 4, 2, None, None, "favourite"),
    ("aurora", "a teal lamp for our winter campaign", 6, 1, "landscape", "Winter nights", None),
    ("botanic", "a fresh leaf, organic", 30, 2, None, None, None),
    ("pop", "a cheerful red balloon", 12, 1, "story", "Summer sale", None),
)
FORM = {
    "brand": "aurora",
    "prompt": "a shiny phone",
    "seed": "40",
    "num_images": "4",
    "campaign": "Winter nights",
    "logo": "true",
    "headline": "Go where it is dark",
}
CANDIDATES = {
    "brand": "aurora",
    "prompt": "a shiny phone",
    "seed": 40,
    "num_images": 4,
    "campaign": "Winter nights",
    "overlay": {"headline": "Go where it is dark"},
}
WITH_WORDS = {
    "brand": "aurora",
    "prompt": "a white balloon under northern lights",
    "seed": 7,
    "campaign": "Winter nights",
    "overlay": {"headline": "Go where it is dark", "legal": "Offer valid until 31 March."},
}
ROWS = """\
brand,prompt,format,num_images,seed
aurora,a white mug,square,2,1
aurora,a white mug,story,1,1
botanic,a green bottle,portrait,2,5
pop,a red heart for the summer sale,square,2,8
casino,a golden chip,square,1,2
pop,a yellow star,poster,1,3
botanic,a book bound in plastic,square,1,4
pop,a blue t-shirt,square,12,6
aurora,a small house,landscape,1,9
"""
_UNDER_WAY = "brand,prompt,format,seed\n" + "".join(
    f"{brand},{prompt},{format_},{seed}\n"
    for seed, (brand, prompt) in enumerate(
        (
            ("aurora", "a white mug"),
            ("pop", "a red heart"),
            ("botanic", "a green bottle"),
            ("aurora", "a white phone"),
            ("pop", "a yellow star"),
            ("botanic", "a brown book"),
        )
    )
    for format_ in ("square", "portrait", "landscape", "story")
)


class Studio:
    """A server and the generations in it that scenes show."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.url = f"http://127.0.0.1:{server.port}"
        self.candidates = self.with_words = ""

    def make(self, request: dict[str, Any]) -> str:
        """The generation's id."""
        status, _, answer = self.server.ask("POST", "/generate", request)
        assert status == 200, answer
        return str(json.loads(answer)["id"])

    def mark(self, generation: str, index: int, mark: str) -> None:
        status, _, answer = self.server.ask(
            "POST", f"/generations/{generation}/images/{index}/marks", {"mark": mark}
        )
        assert status < 300, answer


def furnish(server: Server) -> Studio:
    """As after a week's work: three brands, two campaigns, favourites, approvals, a headline."""
    studio = Studio(server)
    for brand, prompt, seed, number, format_, campaign, mark in MADE:
        request = {
            "brand": brand,
            "prompt": prompt,
            "seed": seed,
            "num_images": number,
            "format": format_,
            "campaign": campaign,
        }
        made = studio.make(request)
        if mark:
            studio.mark(made, 0, mark)
    studio.candidates = studio.make(CANDIDATES)
    studio.mark(studio.candidates, 1, "favourite")
    studio.with_words = studio.make(WITH_WORDS)
    studio.mark(studio.with_words, 0, "approved")
    return studio


@dataclasses.dataclass(frozen=True)
class Scene:
    """A page as it is shown, from `top` on. `is_cold`: only while a model loads."""

    name: str
    set_up: Callable[[Studio, Page], None]
    width: int = 1440
    height: int = 900
    locale: str = "en-GB"
    is_cold: bool = False
    top: str = "body"

    def settle(self, page: Page) -> None:
        page.locator(self.top).first.evaluate("one => one.scrollIntoView()")
        settled(page)


def until(page: Page, condition: str) -> None:
    """Playwright's own way to wait for this needs `eval` on the page, which its policy forbids."""
    until_s = time.monotonic() + 120
    while not page.evaluate(condition):
        if time.monotonic() > until_s:
            raise TimeoutError(condition)
        page.wait_for_timeout(40)


def settled(page: Page) -> None:
    """Every picture in the window has arrived."""
    page.wait_for_load_state("networkidle")
    until(
        page,
        "[...document.images].every(i => i.complete || !i.checkVisibility() || "
        "i.getBoundingClientRect().top > innerHeight)",
    )
    page.evaluate("async () => { await document.fonts.ready }")


def visit(path: str) -> Callable[[Studio, Page], None]:
    def set_up(_: Studio, page: Page) -> None:
        page.goto(path)

    return set_up


def ask(page: Page, **said: str) -> None:
    """Fills in the form and sends it."""
    page.goto(f"/?{urlencode(said)}")
    page.locator("#generate").click()


def finished(page: Page) -> None:
    expect(page.locator("article.generation:not([data-open], [data-open-soon])")).to_have_count(1)
    page.mouse.move(0, 0)
    page.locator("#studio").evaluate("panel => panel.scrollTo(0, 0)")


def candidates(studio: Studio, page: Page) -> None:
    """They were made before: the page takes them up as after a reload."""
    kept = json.dumps([studio.candidates])
    page.add_init_script(f"sessionStorage.setItem('imagegen-studio-generations', '{kept}')")
    page.goto(f"/?{urlencode(FORM)}")
    finished(page)


def made(**more: str) -> Callable[[Studio, Page], None]:
    def set_up(_: Studio, page: Page) -> None:
        ask(page, **FORM | more)
        finished(page)

    return set_up


def preview(_: Studio, page: Page) -> None:
    slowly = {"num_images": "4", "num_inference_steps": "90"}
    ask(page, brand="pop", prompt="a cheerful red balloon", seed="3", **slowly)
    expect(page.locator(".sharpening")).to_have_count(4)
    until(page, "document.querySelector('article progress')?.value > 0.3")
    page.mouse.move(0, 0)
    page.locator("#studio").evaluate("panel => panel.scrollTo(0, 0)")


def warming(_: Studio, page: Page) -> None:
    """Held where it is, as a start is short: the page hears the same phase again and again."""

    def hold(route: Route) -> None:
        answer = route.fetch()
        if not held and any(one["status"] == "now" for one in answer.json().get("phases", [])):
            held.append(answer.text())
        route.fulfill(response=answer, body=held[0] if held else None)

    held: list[str] = []
    page.route("**/studio/state", hold)
    page.goto("/")
    expect(page.locator("#phases li.now")).to_be_visible()


def viewer(studio: Studio, page: Page) -> None:
    candidates(studio, page)
    page.locator("[data-look]").nth(1).click()
    expect(page.locator("#viewer")).to_be_visible()


def compare(studio: Studio, page: Page) -> None:
    candidates(studio, page)
    for box in page.locator("[name=picture]").all()[:3]:
        box.check(force=True)
    page.locator("[data-compare]").click()
    expect(page.locator("#compare")).to_be_visible()


def more(studio: Studio, page: Page) -> None:
    candidates(studio, page)
    page.locator("figure details.menu summary").nth(1).click()


def start(studio: Studio, page: Page) -> None:
    """From one of the candidates, a part of it painted over."""
    candidates(studio, page)
    page.locator("figure details.menu summary").nth(1).click()
    page.get_by_role("link", name="Start from this picture").first.click()
    page.get_by_role("button", name="Change only a part").click()
    sheet = page.locator("#source canvas")
    sheet.hover()
    box = sheet.bounding_box()
    assert box is not None
    page.mouse.down()
    for across, down in ((0.3, 0.7), (0.2, 0.3), (0.4, 0.3), (0.4, 0.7)):
        page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"], steps=8)
    page.mouse.up()
    page.mouse.move(0, 0)


def chosen(_: Studio, page: Page) -> None:
    page.goto("/library?brand=botanic")
    for box in page.locator(".pick").all()[:4]:
        box.check(force=True)
    expect(page.locator("#selection")).to_be_visible()


def picture(studio: Studio, page: Page) -> None:
    page.goto(f"/library/{studio.with_words}/0")


def checked(_: Studio, page: Page) -> None:
    page.goto("/campaigns")
    page.locator("#name").fill("Spring launch")
    page.locator("#text").fill(ROWS)
    page.locator("[name=do][value=check]").click()
    expect(page.locator("#plan")).to_be_visible()


def under_way(_: Studio, page: Page) -> None:
    page.goto("/campaigns")
    page.locator("#name").fill("Spring launch")
    page.locator("#text").fill(_UNDER_WAY)
    page.locator("[name=do][value=check]").click()
    page.locator("[name=do][value=start]").click()
    page.wait_for_url("**/campaigns/*")
    expect(page.locator("tr.succeeded").nth(7)).to_be_attached()


_STAGE = ".stage"
SCENES = [
    Scene("library", visit("/library"), height=1000),
    Scene("library-filtered", visit("/library?q=summer&brand=pop"), height=700),
    Scene("library-chosen", chosen, height=700),
    Scene("library-phone", visit("/library"), width=390),
    Scene("picture", picture, height=1000),
    Scene("picture-phone", picture, width=390),
    Scene("create", visit("/?brand=aurora")),
    Scene("create-phone", visit("/?brand=botanic"), width=390),
    Scene("candidates", candidates, height=1000, top=_STAGE),
    Scene("candidates-phone", candidates, width=390, top=_STAGE),
    Scene("more", more, height=1000, top=_STAGE),
    Scene("start", start, height=1000, top="#source"),
    Scene("viewer", viewer),
    Scene("compare", compare),
    Scene("api", visit("/docs")),
    Scene("preview", preview, height=1000, top=_STAGE),
    Scene("campaigns", checked, height=1240),
    Scene("campaign", under_way, height=1000),
    Scene("warming", warming, is_cold=True),
]
STUDIES = [
    Scene("eight", made(num_images="8"), height=1000, top=_STAGE),
    Scene("banner", made(format="banner"), top=_STAGE),
    Scene("story", made(format="story", num_images="3"), top=_STAGE),
    Scene("one", made(num_images="1"), locale="es", top=_STAGE),
    Scene("spanish", more, locale="es", height=1000, top=_STAGE),
    Scene("spanish-library", visit("/library?q=nada+de+nada"), locale="es"),
    Scene("spanish-campaigns", checked, locale="es", height=1240),
    Scene("spanish-picture", picture, locale="es", height=1000),
]
