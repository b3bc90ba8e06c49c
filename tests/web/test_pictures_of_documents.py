"""Every picture that the documents show is there and loads quickly; none lies there unused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image
from scenes import SCENES

from imagegen.bootstrap import build
from imagegen.settings import Settings
from imagegen.web.app import create_app

MOST_BYTES = 150_000
SHOWN = re.compile(r"""(?:!\[[^\]]*\]\(|(?:src|srcset)=")([^)"\s]+)""")
IN_BOTH_THEMES = re.compile(
    r'<picture><source media="\(prefers-color-scheme: dark\)" '
    r'srcset="images/studio/([\w-]+)-dark\.webp">'
    r'<img (?:width="\d+" )?src="images/studio/([\w-]+)-light\.webp" alt="([^"]+)"></picture>'
)
PAGES = {
    "studio.page": "create",
    "library.page": "library",
    "library.picture": "picture",
    "campaigns.page": "campaigns",
    "campaigns.campaign": "campaign",
    "openapi.as_page": "api",
}
PIECES = {"/studio/generations"}  # of pages, for their scripts


def shown_by(document: Path) -> set[Path]:
    return {
        (document.parent / name).resolve()
        for name in SHOWN.findall(document.read_text())
        if "://" not in name
    }


@pytest.fixture(scope="module")
def shown(repository: Path) -> set[Path]:
    documents = [repository / "README.md", *(repository / "docs").glob("*.md")]
    return set().union(*map(shown_by, documents))


def test_every_picture_that_is_shown_is_there_and_none_lies_unused(
    shown: set[Path], repository: Path
) -> None:
    there = {path for path in (repository / "docs" / "images").rglob("*") if path.is_file()}
    assert shown == there


def test_every_picture_loads_quickly(shown: set[Path]) -> None:
    heavy = {path.name: path.stat().st_size for path in shown if path.stat().st_size > MOST_BYTES}
    assert not heavy


@pytest.fixture(scope="module")
def pairs(repository: Path) -> list[tuple[str, str, str]]:
    return IN_BOTH_THEMES.findall((repository / "docs" / "studio.md").read_text())


def test_the_studio_s_document_shows_every_page_in_both_themes(
    pairs: list[tuple[str, str, str]],
) -> None:
    assert all(dark == light for dark, light, _ in pairs)
    assert {dark for dark, *_ in pairs} == {scene.name for scene in SCENES}
    assert set(PAGES.values()) <= {scene.name for scene in SCENES}


def test_both_themes_show_the_same_and_are_not_the_same(
    pairs: list[tuple[str, str, str]], repository: Path
) -> None:
    folder = repository / "docs" / "images" / "studio"
    for name, *_ in pairs:
        light, dark = (Image.open(folder / f"{name}-{theme}.webp") for theme in ("light", "dark"))
        assert light.size == dark.size
        brightness = [one.convert("L").resize((1, 1)).getpixel((0, 0)) for one in (light, dark)]
        assert brightness[0] > brightness[1], name


def test_no_page_is_left_out(tmp_path: Path, repository: Path) -> None:
    """Whatever a person can open without asking for something."""
    settings = Settings(
        model="fake", presets=str(repository / "brand_presets"), storage=f"file:{tmp_path}"
    )
    app = create_app(build(settings))
    told = app.test_client().get("/openapi.json").get_json()["paths"]
    pages = {
        re.sub(r"\{[^}]*\}", "*", path)
        for path, methods in told.items()
        if "text/html"
        in methods.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
    }
    known = {
        re.sub(r"<[^>]*>", "*", rule.rule)
        for rule in app.url_map.iter_rules()
        if rule.endpoint in PAGES
    }
    assert pages - PIECES == known
