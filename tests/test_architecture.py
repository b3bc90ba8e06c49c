"""The house stands as it is drawn: floors, a true tree, and no torch where none is needed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

WITHOUT_TORCH = [
    "imagegen.wsgi",
    "imagegen.web.app",
    "imagegen.cli",
    "imagegen.presets.catalog",
    "imagegen.engine.fake",
    "imagegen.front.service",
]
HEAVY = {"torch", "diffusers", "transformers", "peft", "accelerate"}


def run(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_imports_point_down_only(repository: Path) -> None:
    result = run(Path(sys.executable).with_name("lint-imports"), folder=repository)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_everything_but_rendering_imports_without_torch(repository: Path, module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    result = run(sys.executable, "-c", code, folder=repository)
    assert result.returncode == 0, result.stderr
    assert not HEAVY & set(result.stdout.split())


def test_the_tree_in_the_docs_names_every_module(repository: Path) -> None:
    page = (repository / "docs" / "architecture.md").read_text()
    tree = page.partition("```\nimagegen/\n")[2].partition("\n```")[0]
    package = repository / "imagegen"
    there = Counter(p.stem for p in package.rglob("*.py") if not p.stem.startswith("__"))
    named = Counter(re.findall(r"\b([a-z_0-9]+)\.py\b", tree))
    assert not list(there - named), "docs/architecture.md does not name these"
    assert not list(named - there), "docs/architecture.md names these, and they are gone"


def test_every_module_says_what_it_is_for(repository: Path) -> None:
    silent = [
        str(path.relative_to(repository))
        for path in (repository / "imagegen").rglob("*.py")
        if not path.read_text().startswith('"""')
    ]
    assert not silent
