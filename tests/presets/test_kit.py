"""A brand's kit: every fault with its line, and what becomes of one that is in order."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sample_brands import logo_file

from imagegen.branding.kit import CHANNELS, Corner, SafeArea
from imagegen.branding.typefaces import Typeface
from imagegen.errors import InvalidPreset
from imagegen.presets import BrandPreset, PresetCatalog

FONT = Typeface.shipped("Manrope-SemiBold.ttf").data
HEAD = "name: Aurora\nkit:\n"


def write(folder: Path, kit: str) -> Path:
    brand = folder / "aurora"
    brand.mkdir(exist_ok=True)
    (brand / "preset.yaml").write_text(HEAD + kit)
    (brand / "light.svg").write_bytes(logo_file("#ffffff"))
    (brand / "dark.svg").write_bytes(logo_file("#000000"))
    (brand / "wide.svg").write_bytes(logo_file("#000000", 40))
    (brand / "script.svg").write_bytes(logo_file("#000").replace(b"<rect", b"<script/>\n<rect"))
    (brand / "bold.ttf").write_bytes(FONT)
    (brand / "cut.ttf").write_bytes(FONT[:5_000])
    Image.new("RGB", (64, 40), "#19c6a6").save(brand / "spring.png")
    return brand


def load(folder: Path, kit: str) -> BrandPreset:
    write(folder, kit)
    return PresetCatalog.load(folder).get("aurora")


@pytest.mark.parametrize(
    ("kit", "fault"),
    [
        ("  colour: red\n", "3: kit.colour: is not a known key"),
        ("  logo: {}\n", "3: kit.logo: names no file: say light, dark, or both"),
        ("  logo:\n    light: no.svg\n", "4: kit.logo.light: there is no file 'no.svg'"),
        ("  logo: {light: ../x.svg}\n", "3: kit.logo.light: '../x.svg' is not the name of a file"),
        ("  logo: {light: logo.gif}\n", "3: kit.logo.light: 'logo.gif' does not end with .svg or"),
        (
            "  logo:\n    dark: script.svg\n",
            "4: kit.logo.dark: script.svg: line 1: <script> is not taken",
        ),
        ("  logo: {light: link.svg}\n", "kit.logo.light: 'link.svg' leaves the brand's folder"),
        ("  logo: {light: light.svg, corner: middle}\n", "3: kit.logo.corner: input should be"),
        ("  logo: {light: light.svg, height: 0.5}\n", "3: kit.logo.height: input should be less"),
        ("  logo: {light: light.svg, min_px: 4}\n", "3: kit.logo.min_px: input should be greater"),
        (
            "  logo: {light: light.svg, dark: wide.svg}\n",
            "3: kit.logo: light and dark have different shapes: 2.99 and 4.00 times",
        ),
        ("  fonts: {headline: cut.ttf}\n", "3: kit.fonts.headline: cut.ttf: is cut short"),
        ("  fonts: {headline: bold.woff2}\n", "3: kit.fonts.headline: 'bold.woff2' does not end"),
        ("  fonts: {body: bold.ttf}\n", "3: kit.fonts.body: is not a known key"),
        ('  inks: {light: "#fff", dark: "#000000"}\n', "kit.inks.light: '#fff' is not a colour"),
        (
            '  inks: {light: "#999999", dark: "#777777"}\n',
            "3: kit.inks: light and dark have a contrast of 1.6; words need 4.5",
        ),
        (
            "  safe_areas:\n    reel: {top: 0.1, right: 0, bottom: 0.1, left: 0}\n",
            "4: kit.safe_areas.reel: no format 'reel'; there are banner,",
        ),
        ("  safe_areas: {story: {top: 0.1}}\n", "3: kit.safe_areas.story.right: is required"),
        (
            "  safe_areas: {story: {top: 0.5, right: 0, bottom: 0, left: 0}}\n",
            "kit.safe_areas.story.top: input should be less than or equal to 0.4",
        ),
        ("  approved: [light.svg]\n", "3: kit.approved[0]: 'light.svg' does not end with .png"),
        ("  approved: [no.png]\n", "3: kit.approved[0]: there is no file 'no.png'"),
        ("  logo: 3\n  fonts: [x]\n  approved: 4\n", "3: kit.logo: must be a table, not 3"),
    ],
)
def test_a_fault_has_its_file_and_line(tmp_path: Path, kit: str, fault: str) -> None:
    brand = write(tmp_path, kit)
    (brand / "link.svg").symlink_to("/etc/hostname")
    with pytest.raises(InvalidPreset) as refused:
        PresetCatalog.load(tmp_path)
    assert fault in str(refused.value)
    assert str(refused.value).startswith(f"{brand}/preset.yaml:")


def test_a_kit_that_is_in_order(tmp_path: Path) -> None:
    preset = load(
        tmp_path,
        "  logo: {light: light.svg, dark: dark.svg, corner: top-left, height: 0.2,"
        " clear_space: 1, min_px: 30}\n"
        "  fonts: {headline: bold.ttf}\n"
        '  inks: {light: "#FFFFFF", dark: "#0b1d3a"}\n'
        "  safe_areas: {story: {top: 0.2, right: 0.1, bottom: 0.3, left: 0.1}}\n"
        "  approved: [spring.png]\n",
    )
    kit = preset.kit
    assert kit.logo is not None
    assert (kit.logo.corner, kit.logo.height, kit.logo.min_px) == (Corner.TOP_LEFT, 0.2, 30)
    assert kit.logo.light is not None
    assert kit.logo.light.luminance == pytest.approx(1)
    assert kit.logo.aspect == pytest.approx(3, abs=0.01)
    assert (kit.headline.name, kit.legal.name) == ("bold.ttf", "Manrope-SemiBold.ttf")
    assert (kit.light, kit.dark) == ("#ffffff", "#0b1d3a")
    assert kit.safe_area("story", 9, 16) == SafeArea(0.2, 0.1, 0.3, 0.1)
    assert kit.safe_area("square", 1, 1) == CHANNELS["square"][1]
    assert kit.approved is not None
    assert preset.to_public(None).has_logo


def test_a_brand_without_a_kit_has_words_and_no_logo(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "preset.yaml").write_text("name: Plain\n")
    preset = PresetCatalog.load(tmp_path).get("plain")
    assert preset.kit.logo is None
    assert preset.kit.headline.name == "Manrope-ExtraBold.ttf"
    before_there_were_kits = "sha256:17fe4927b698438d0"
    assert preset.version.startswith(before_there_were_kits)


def test_the_version_changes_with_what_shows_on_a_picture(tmp_path: Path) -> None:
    kit = "  logo: {light: light.svg}\n  approved: [spring.png]\n"
    first = load(tmp_path, kit).version
    assert load(tmp_path, "  # a note\n" + kit).version == first
    (tmp_path / "aurora" / "light.svg").write_bytes(logo_file("#fffffe"))
    changed = PresetCatalog.load(tmp_path).get("aurora").version
    assert changed != first
    Image.new("RGB", (64, 40), "#ff0000").save(tmp_path / "aurora" / "spring.png")
    assert PresetCatalog.load(tmp_path).get("aurora").version == changed, "compared with, not shown"


def test_what_was_checked_is_what_is_used(tmp_path: Path) -> None:
    """A file that changes after the start changes no picture before the next one."""
    preset = load(tmp_path, "  logo: {light: light.svg}\n")
    shutil.rmtree(tmp_path / "aurora")
    assert preset.kit.logo is not None
    assert preset.kit.logo.light is not None
    scaled = preset.kit.logo.light.scaled(30, 10)
    assert scaled.shape == (10, 30, 4)
    assert np.all(scaled == 255)
