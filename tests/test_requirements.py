"""The pins: each list is exact and whole, so that next year's machine gets the same packages."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

NAMED_BY_THE_USER = {
    "accelerate",
    "diffusers",
    "flask",
    "google-cloud-storage",
    "gunicorn",
    "pillow",
    "torch",
}


def pins(*files: Path) -> dict[str, str]:
    """Name to version of every line, in order; a line that is not an exact pin fails."""
    found: dict[str, str] = {}
    for file in files:
        for line in file.read_text().splitlines():
            wanted = line.partition("#")[0].strip()
            if wanted:
                name, equals, version = wanted.partition("==")
                assert equals, f"{file.name}: {wanted!r} is not pinned with =="
                name = canonicalize_name(name)
                assert name not in found, f"{name} is pinned twice"
                found[name] = version
    return found


def needed_by(names: Iterable[str]) -> set[str]:
    """The distributions that `names` need on this machine, themselves included."""
    waiting = [Requirement(name) for name in names]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement = waiting.pop()
        key = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if key in seen:
            continue
        seen.add(key)
        for child in map(Requirement, metadata.distribution(requirement.name).requires or []):
            extras = ("", *requirement.extras)
            if child.marker is None or any(child.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(child)
    return {name for name, _ in seen}


def test_spans_are_installed_by_their_own_names(repository: Path) -> None:
    """On the package index `imagegen` is somebody else's: nobody is to install it from there."""
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    page = (repository / "docs" / "deploy.md").read_text()
    assert " ".join(project["optional-dependencies"]["otel"]) in page
    texts = [*repository.glob("docs/*.md"), *repository.glob("imagegen/**/*.py"),
             repository / "README.md", repository / "Dockerfile"]  # fmt: skip
    assert not [path for path in texts if re.search(r"pip install.*\bimagegen\b", path.read_text())]


def of_an_accelerator(name: str) -> bool:
    return name.startswith(("nvidia", "triton", "cuda"))


@pytest.fixture(scope="module")
def lists(repository: Path) -> tuple[Path, Path]:
    return repository / "requirements.txt", repository / "tests" / "requirements.txt"


def test_what_the_user_named_is_pinned_and_torch_comes_first(lists: tuple[Path, Path]) -> None:
    pinned = pins(lists[0])
    assert set(pinned) >= NAMED_BY_THE_USER
    assert next(iter(pinned)) == "torch"
    assert pinned["torch"] == "2.13.0", "a plain version: which build it is, the index decides"


def test_no_list_drags_a_graphics_library_along(lists: tuple[Path, Path]) -> None:
    assert not list(filter(of_an_accelerator, pins(*lists)))


@pytest.mark.parametrize("count", [1, 2], ids=["run", "run and test"])
def test_a_list_holds_everything_its_packages_need(lists: tuple[Path, Path], count: int) -> None:
    pinned = pins(*lists[:count])
    needed = {name for name in needed_by(pinned) if not of_an_accelerator(name)}
    assert needed == set(pinned)


def test_what_is_installed_is_what_is_pinned(lists: tuple[Path, Path]) -> None:
    differing = {
        name: (version, metadata.version(name))
        for name, version in pins(*lists).items()
        if metadata.version(name).partition("+")[0] != version
    }
    assert not differing, "pinned, installed"
