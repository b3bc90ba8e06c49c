"""The Dockerfile: linted, and held against the code that it packs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from imagegen.renderers import STARTER_FOLDER
from imagegen.settings import Settings


@pytest.fixture(scope="module")
def dockerfile(repository: Path) -> str:
    return (repository / "Dockerfile").read_text()


def test_hadolint_finds_nothing(repository: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    command = [hadolint, repository / "Dockerfile"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_image_runs_as_a_numbered_user_that_is_not_root(dockerfile: str) -> None:
    user, group = re.findall(r"^USER (\d+):(\d+)$", dockerfile, re.MULTILINE)[-1]
    assert int(user) > 0
    assert int(group) > 0


def test_its_user_may_write_pictures_where_the_settings_put_them(dockerfile: str) -> None:
    user, group = re.findall(r"^USER (\d+):(\d+)$", dockerfile, re.MULTILINE)[-1]
    [folder] = re.findall(rf"--owner={user} --group={group} (\S+)$", dockerfile, re.MULTILINE)
    [at] = re.findall(r"^WORKDIR (\S+)$", dockerfile, re.MULTILINE)
    assert Settings().storage == f"file:./{Path(folder).relative_to(at)}"


def test_the_image_starts_with_the_starter_model(repository: Path, dockerfile: str) -> None:
    [model] = re.findall(r"^ARG MODEL=(\S+)$", dockerfile, re.MULTILINE)
    assert repository / model == STARTER_FOLDER


def test_the_image_carries_a_cuda_build_that_the_l4s_driver_runs(dockerfile: str) -> None:
    [index] = re.findall(r"^ARG TORCH_INDEX=(\S+)$", dockerfile, re.MULTILINE)
    assert index.rpartition("/")[2].startswith("cu12")


def test_the_model_is_a_layer_before_the_code(dockerfile: str) -> None:
    image = dockerfile.rpartition("\nFROM ")[2]
    packages, model, code = (
        image.index(copied) for copied in ("/opt/venv /opt/venv", "COPY ${MODEL}", "/app /app")
    )
    assert packages < model < code


def test_the_builder_sees_everything_the_image_copies(repository: Path, dockerfile: str) -> None:
    ignored = (repository / ".dockerignore").read_text().split()
    copied = re.findall(
        r"^COPY (?!--from)(\S+)", dockerfile.replace("${MODEL}", "imagegen"), re.MULTILINE
    )
    assert copied
    for name in copied:
        assert f"!{name}" in ignored


def test_the_gpu_is_set_up_in_the_image_for_service_job_and_cluster_alike(dockerfile: str) -> None:
    assert "PYTORCH_ALLOC_CONF=expandable_segments:True" in dockerfile
    assert "CUDA_MODULE_LOADING=LAZY" in dockerfile
