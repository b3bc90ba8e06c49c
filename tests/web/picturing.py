"""Takes the pictures of docs/studio.md: a real server with the model and the brands that ship.

    .venv/bin/python tests/web/picturing.py                # writes docs/images/studio/, in minutes
    .venv/bin/python tests/web/picturing.py --only create  # of one page alone
    .venv/bin/python tests/web/picturing.py --look FOLDER  # every page as PNG, at three widths

Every page is taken light and dark. `--look` adds what no document shows and is hard to lay out.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from browsing import FLAGS
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright
from scenes import SCENES, STUDIES, Scene, Studio, furnish
from web_server import REPOSITORY, Server

expect.set_options(timeout=120_000)  # two cores that also render
SHOWN = REPOSITORY / "docs" / "images" / "studio"
THEMES = ("light", "dark")
WIDTHS = (390, 820, 1440)
MOST_BYTES = 150_000
_QUALITIES = (86, 78, 68, 56)


def webp(png: bytes) -> bytes:
    """As good as it gets in 150 KB."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    for quality in _QUALITIES:
        file = io.BytesIO()
        picture.save(file, "WEBP", quality=quality, method=6)
        if file.tell() < MOST_BYTES:
            break
    return file.getvalue()


@contextmanager
def served(storage: Path) -> Iterator[Server]:
    """As `make run` starts it. A second one on the same storage knows how long starts take."""
    environment = {
        "IMAGEGEN_MODEL": "starter",
        "IMAGEGEN_PRESETS": str(REPOSITORY / "brand_presets"),
        "IMAGEGEN_STORAGE": f"file:{storage}",
    }
    server = Server(environment)
    try:
        yield server
    finally:
        server.end()


def page_for(scene: Scene, browser: Browser, studio: Studio) -> Page:
    is_phone = scene.width < 600
    context = browser.new_context(
        base_url=studio.url,
        viewport={"width": scene.width, "height": 844 if is_phone else scene.height},
        device_scale_factor=2 if is_phone else 1,
        has_touch=is_phone,
        reduced_motion="reduce",
        locale=scene.locale,
        timezone_id="UTC",
    )
    page = context.new_page()
    page.set_default_timeout(120_000)
    return page


def show(studio: Studio, browser: Browser, scenes: list[Scene], look: Path | None) -> None:
    """Sets each page up once, so that all its pictures show the same."""
    for scene in scenes:
        page = page_for(scene, browser, studio)
        scene.set_up(studio, page)
        for width in WIDTHS if look else (scene.width,):
            if look:
                page.set_viewport_size({"width": width, "height": scene.height})
            for theme in THEMES:
                page.emulate_media(color_scheme=theme)
                scene.settle(page)
                png = page.screenshot()
                if look:
                    (look / f"{scene.name}-{width}-{theme}.png").write_bytes(png)
                else:
                    (SHOWN / f"{scene.name}-{theme}.webp").write_bytes(webp(png))
        page.context.close()
        sys.stdout.write(f"{scene.name}\n")
        sys.stdout.flush()


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", help="names of pages")
    parser.add_argument("--look", type=Path, metavar="FOLDER")
    asked = parser.parse_args(arguments)
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    scenes = [
        scene
        for scene in (SCENES + STUDIES if asked.look else SCENES)
        if not asked.only or scene.name in asked.only
    ]
    (asked.look or SHOWN).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as storage, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        with served(Path(storage)) as server:
            server.wait_until("/readyz", timeout_s=240)
            studio = furnish(server)
            show(studio, browser, [scene for scene in scenes if not scene.is_cold], asked.look)
        for scene in scenes:
            if scene.is_cold:
                show_cold(Path(storage), browser, scene, asked.look)
        browser.close()


def show_cold(storage: Path, browser: Browser, scene: Scene, look: Path | None) -> None:
    """A page that is there only until the model is."""
    with served(storage) as server:
        server.wait_until("/livez")
        show(Studio(server), browser, [scene], look)


if __name__ == "__main__":
    main(sys.argv[1:])
