"""What a person who makes pictures meets on Create, in headless Chromium."""

from __future__ import annotations

import dataclasses
import functools
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import expect
from studio_pages import SHOWN, Visit, generate, results, shown_pictures, until
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
