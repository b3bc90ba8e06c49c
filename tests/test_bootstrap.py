"""The settings choose the parts; a mistake in them stops the start with a sentence."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from sample_brands import write_brands

from imagegen.bootstrap import build, build_for_role
from imagegen.engine.fake import FakeRenderer
from imagegen.errors import InvalidModel, InvalidPreset, InvalidSettings, OperatorError
from imagegen.generation import GenerationRequest
from imagegen.renderers import local_model_folder, renderer_maker
from imagegen.settings import Settings
from imagegen.storage.local import LocalStorage


def settings(tmp_path: Path, **changes: object) -> Settings:
    said = {
        "model": "fake",
        "presets": str(tmp_path / "brands"),
        "storage": f"file:{tmp_path}/output",
    }
    return Settings.model_validate(said | changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_brands(tmp_path / "brands")
    return tmp_path


def test_the_parts_work_together(folder: Path) -> None:
    application = build(settings(folder))
    application.start()
    try:
        request = GenerationRequest(brand="pop", prompt="x", seed=0)
        [image] = application.service.generate(request).images
        assert application.storage.read(image.url.removeprefix("/images/")) is not None
    finally:
        application.stop()
    assert application.engine.pid is None
    assert isinstance(application.storage, LocalStorage)


@pytest.mark.parametrize(("said", "rows"), [("auto", None), (6, 6)])
def test_the_rows_of_a_step_are_bounded_where_the_operator_says_so(
    folder: Path, said: str | int, rows: int | None
) -> None:
    assert build(settings(folder, max_rows=said)).engine._keeper._start.max_rows == rows


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"presets": "/nowhere"}, InvalidPreset, "no such folder"),
        ({"storage": "file:/proc/imagegen"}, InvalidSettings, "cannot write"),
        ({"storage": "output"}, InvalidSettings, "use file:FOLDER"),
        ({"urls": "signed"}, InvalidSettings, "a folder cannot sign links"),
        ({"model": "/nowhere"}, InvalidModel, "model_index.json"),
        ({"model": "./nowhere"}, InvalidModel, "model_index.json"),
        ({"model": "nonsense"}, InvalidModel, "model_index.json"),
        ({"model": "tests/nowhere"}, InvalidModel, "model_index.json"),  # tests/ is a folder here
    ],
)
def test_a_mistake_stops_the_start(
    folder: Path, changes: dict[str, object], error: type[OperatorError], words: str
) -> None:
    with pytest.raises(error, match=words):
        build(settings(folder, **changes))


def test_pages_that_cannot_sign_links_do_not_start(folder: Path) -> None:
    """They tell of what is in Storage: the links of that are theirs to sign."""
    front = {"role": "web", "render_url": "http://127.0.0.1:9"}
    build_for_role(settings(folder, **front))
    with pytest.raises(InvalidSettings, match="a folder cannot sign links"):
        build_for_role(settings(folder, urls="signed", **front))


def test_a_preset_s_fault_stops_the_start(folder: Path) -> None:
    (folder / "brands" / "pop" / "preset.yaml").write_text("name: Pop\ncolour: red\n")
    with pytest.raises(InvalidPreset, match=r"preset\.yaml:2: colour"):
        build(settings(folder))


@pytest.mark.parametrize("model", ["fake", "gs://bucket/model", "owner/name"])
def test_models_that_lie_elsewhere_have_no_folder_here(model: str) -> None:
    assert local_model_folder(model) is None


def test_a_folder_in_diffusers_layout_is_a_model(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    assert local_model_folder(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("model", ["fake", "gs://bucket/model", "owner/name"])
def test_what_makes_the_renderer_travels_to_another_process(tmp_path: Path, model: str) -> None:
    make = pickle.loads(pickle.dumps(renderer_maker(settings(tmp_path, model=model), ())))
    if model == "fake":
        assert isinstance(make(), FakeRenderer)


def test_the_starter_keeps_its_name_where_it_is_said_as_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the image does; the record of a picture must not depend on where it was made."""
    monkeypatch.setattr("imagegen.renderers.STARTER_FOLDER", tmp_path / "starter")
    names = {}
    for folder in ("starter", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "model_index.json").write_text("{}")
        make = renderer_maker(settings(tmp_path, model=str(tmp_path / folder)), ())
        names[folder] = make()._name
    assert names == {"starter": "starter", "other": str(tmp_path / "other")}


def test_the_server_s_process_never_imports_what_only_rendering_needs() -> None:
    """What keeps the way from birth to /livez short."""
    heavy = ("torch", "diffusers", "transformers", "peft", "google.cloud", "requests")
    program = (
        "import sys, imagegen.wsgi, imagegen.web.app; "
        f"print(*(name for name in {heavy} if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
