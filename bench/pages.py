"""How soon a page can be used, what it weighs and whether anything on it moves, in Chromium.

    python -m bench.pages            # every page 15 times, a minute and a half
    python -m bench.pages --times 3

A server as people start it, with the brands that ship, a hundred pictures and the fake renderer, so
that the processor is the page's. Each load is a browser's first, with nothing in its cache. A page
can be used once its scripts have run (they are modules: the end of DOMContentLoaded) and no task of
more than 50 ms follows in the next second.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen

from playwright.sync_api import Browser, ViewportSize, sync_playwright

from bench.machine import REPOSITORY, this_machine
from bench.servers import Server, Start, launched

GENERATIONS = 25  # of four pictures each
QUIET_MS = 1000
WINDOW: ViewportSize = {"width": 1440, "height": 900}
_WATCH = """
window.seen = {tasks: [], moved: 0, largest: 0};
const watch = (type, act) => new PerformanceObserver(
  (list) => list.getEntries().forEach(act)).observe({type, buffered: true});
watch("longtask", (one) => { seen.tasks.push(one.startTime + one.duration); });
watch("layout-shift", (one) => { seen.moved += one.value; });
watch("largest-contentful-paint", (one) => { seen.largest = one.startTime; });
"""
_TOLD = """() => {
  const [page] = performance.getEntriesByType("navigation");
  const bytes = {html: page.encodedBodySize, css: 0, js: 0, font: 0};
  for (const one of performance.getEntriesByType("resource")) {
    const [, kind] = one.name.match(/static.*[.](css|js|woff2)$/) ?? [];
    if (kind) bytes[kind === "woff2" ? "font" : kind] += one.encodedBodySize;
  }
  return {...bytes, largest: seen.largest, moved: seen.moved,
          usable: Math.max(page.domContentLoadedEventEnd, ...seen.tasks)};
}"""


@contextmanager
def served() -> Iterator[str]:
    """The address of a studio in which something was made."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    with tempfile.TemporaryDirectory() as output:
        environment = {
            "IMAGEGEN_MODEL": "fake",
            "IMAGEGEN_PRESETS": str(REPOSITORY / "brand_presets"),
            "IMAGEGEN_STORAGE": f"file:{output}",
            "PORT": str(port),
        }
        start = Start([sys.executable, "-m", "imagegen", "serve"], environment, port, "/readyz")
        with launched(start):
            while not Server(port).ready(start.ready):
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"


def make(address: str) -> str:
    """Several generations; the id of one."""
    for number in range(GENERATIONS):
        brand = ("aurora", "botanic", "pop")[number % 3]
        asked = {"brand": brand, "prompt": "a mug", "seed": number, "num_images": 4}
        headers = {"Content-Type": "application/json"}
        request = Request(f"{address}/generate", json.dumps(asked).encode(), headers)
        with urlopen(request, timeout=60) as answer:
            made: str = json.load(answer)["id"]
    return made


def load(browser: Browser, url: str) -> dict[str, Any]:
    context = browser.new_context(viewport=WINDOW)
    context.add_init_script(_WATCH)
    page = context.new_page()
    page.goto(url)
    page.wait_for_timeout(QUIET_MS)
    told: dict[str, Any] = page.evaluate(_TOLD)
    context.close()
    return told


def moved_by_pictures(browser: Browser, address: str) -> float:
    """The layout shift of Create from the press of the button to four finished pictures."""
    context = browser.new_context(viewport=WINDOW)
    context.add_init_script(_WATCH)
    page = context.new_page()
    page.goto(f"{address}/?prompt=a+mug&num_images=4&num_inference_steps=20")
    page.locator("#generate").click()
    page.locator("[data-picture]").nth(3).wait_for()
    page.wait_for_timeout(QUIET_MS)
    moved: float = page.evaluate("seen.moved")
    context.close()
    return moved


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=15)
    times = parser.parse_args().times
    with served() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        made = make(address)
        print("| page | can be used | largest picture | HTML | CSS | JS | font | moved |")
        print("|---|---|---|---|---|---|---|---|")
        paths = {
            "Create": "/",
            "Library": "/library",
            "a picture": f"/library/{made}/0",
            "Campaigns": "/campaigns",
            "/docs": "/docs",
        }
        for name, path in paths.items():
            loads = [load(browser, address + path) for _ in range(times)]
            usable = [one["usable"] for one in loads]
            largest = statistics.median(one["largest"] for one in loads)
            sizes = " | ".join(f"{loads[0][k] / 1e3:.0f} kB" for k in ("html", "css", "js", "font"))
            moved = max(one["moved"] for one in loads)
            took = f"{statistics.median(usable):.0f} ms, at most {max(usable):.0f}"
            print(f"| {name} | {took} | {largest:.0f} ms | {sizes} | {moved:.4f} |")
        print(f"Create, as four pictures arrive: moved {moved_by_pictures(browser, address):.4f}")
        browser.close()
    machine = this_machine()
    print(f"{machine.device}; commit {machine.commit}; {machine.date} UTC; {times} loads each")


if __name__ == "__main__":
    main()
