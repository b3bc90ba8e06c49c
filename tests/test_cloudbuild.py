"""cloudbuild.yaml and deploy/rollout.sh: a candidate beside what serves, then in its place."""

from __future__ import annotations

import copy
import json
import re
import runpy
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_gcloud import FakeGcloud
from google_schemas import faults_of_a_build, faults_of_a_job, faults_of_a_service

from imagegen.cloud_tasks import Target
from imagegen.settings import Settings

Mapping = dict[str, Any]
BASH = shutil.which("bash") or "bash"
IMAGE = "europe-west4-docker.pkg.dev/p/imagegen/imagegen@sha256:" + "0" * 64
ENVIRON = {
    "PROJECT": "my-project", "NUMBER": "123456789012",
    "REGION": "europe-west4", "SERVICE": "imagegen",
    "BUCKET": "my-bucket", "ACCOUNT": "imagegen@my-project.iam.gserviceaccount.com",
    "BUILD": "1a2b3c4d-0000-4000-8000-000000000000",
}  # fmt: skip
WHERE = ["--project", "my-project", "--region", "europe-west4"]
NEW, OLD = "imagegen-1a2b3c4d", "imagegen-00000000"
BUILD_FAULTS: dict[str, Callable[[Mapping], object]] = {
    "a misspelt key": lambda build: build.update(step=[]),
    "a text where a list belongs": lambda build: build["steps"][0].update(args="build"),
    "a machine that does not exist": lambda build: build["options"].update(
        machineType="E2_HIGHCPU_9"
    ),
    "a time without a unit": lambda build: build.update(timeout="3600"),
    "a size that is no number": lambda build: build["options"].update(diskSizeGb="100G"),
    "what only the server writes": lambda build: build.update(status="SUCCESS"),
    "an environment that is no list": lambda build: build["options"].update(env={"A": "b"}),
}


@pytest.fixture(scope="module")
def build(repository: Path) -> Mapping:
    return dict(yaml.safe_load((repository / "cloudbuild.yaml").read_text()))


def test_cloud_build_accepts_the_build(build: Mapping) -> None:
    assert faults_of_a_build(build) == []


@pytest.mark.parametrize("plant", BUILD_FAULTS.values(), ids=BUILD_FAULTS)
def test_a_fault_in_the_build_is_found(build: Mapping, plant: Callable[[Mapping], object]) -> None:
    broken = copy.deepcopy(build)
    plant(broken)
    assert len(faults_of_a_build(broken)) == 1


def test_the_steps_of_the_build(build: Mapping) -> None:
    steps = [step["id"] for step in build["steps"]]
    assert steps == ["build", "smoke-test", "push", "candidate", "check", "traffic"]
    for step in build["steps"][3:]:
        assert step["args"] == ["bash", "deploy/rollout.sh", step["id"]]


def test_every_script_is_bash_and_stops_at_its_first_fault(build: Mapping) -> None:
    for step in build["steps"][:3]:
        assert step["script"].startswith("#!/usr/bin/env bash\nset -euo pipefail\n")
        subprocess.run([BASH, "-n", "-c", step["script"]], check=True)


def test_a_script_uses_no_variable_that_the_build_does_not_set(
    build: Mapping, repository: Path
) -> None:
    rollout = (repository / "deploy" / "rollout.sh").read_text()
    scripts = [*(step.get("script", "") for step in build["steps"]), rollout]
    used = {
        name for text in scripts for name in re.findall(r"(?<!\\)\$\{?([A-Z_]{2,})", text)
    }  # fmt: skip
    assert used == {name for name, _ in given(build)} - {"DOCKER_BUILDKIT"}


def given(build: Mapping) -> list[tuple[str, str]]:
    return [tuple(entry.split("=", 1)) for entry in build["options"]["env"]]


def test_every_substitution_is_set_or_cloud_builds_own(build: Mapping) -> None:
    own = {"PROJECT_ID", "PROJECT_NUMBER", "BUILD_ID"}
    values = [*build["options"]["env"], *build["substitutions"].values()]
    used = {name for value in values for name in re.findall(r"\$\{?([A-Z_]+)", value)}
    assert used - own == set(build["substitutions"])
    assert build["options"]["dynamicSubstitutions"] is True


# The roll-out


@pytest.fixture
def checkout(repository: Path, tmp_path: Path) -> Path:
    """What a step finds: deploy/, and the image's digest from the step before."""
    shutil.copytree(repository / "deploy", tmp_path / "checkout" / "deploy")
    (tmp_path / "checkout" / "image-by-digest").write_text(f"{IMAGE}\n")
    return tmp_path / "checkout"


@pytest.fixture
def gcloud(tmp_path: Path) -> FakeGcloud:
    fake = FakeGcloud(tmp_path / "bin")
    fake.answer("run services list", serving([{"revisionName": OLD, "percent": 100}]))
    fake.answer("run services describe", "https://imagegen-abc-ez.a.run.app")
    fake.answer("auth print-identity-token", "a.token")
    return fake


def serving(traffic: list[Mapping]) -> str:
    return json.dumps([{"metadata": {"name": "imagegen"}, "status": {"traffic": traffic}}])


def rollout(gcloud: FakeGcloud, checkout: Path, step: str) -> subprocess.CompletedProcess[str]:
    done = gcloud.run(BASH, "deploy/rollout.sh", step, cwd=checkout, **ENVIRON)
    assert done.returncode == 0, done.stderr
    return done


def test_the_candidate_has_an_address_and_no_traffic(gcloud: FakeGcloud, checkout: Path) -> None:
    rollout(gcloud, checkout, "candidate")
    asked, replaced, *_ = gcloud.calls()
    assert asked == ["run", "services", "list", *WHERE, "--filter", "metadata.name=imagegen",
                     "--format", "json"]  # fmt: skip
    assert replaced == ["run", "services", "replace", "imagegen.yaml", *WHERE]
    service = yaml.safe_load((checkout / "imagegen.yaml").read_text())
    assert faults_of_a_service(service) == []
    assert "${" not in str(service)
    assert service["spec"]["template"]["metadata"]["name"] == NEW
    [container] = service["spec"]["template"]["spec"]["containers"]
    assert container["image"] == IMAGE, "by digest: exactly what was tested"
    assert service["spec"]["traffic"] == [
        {"revisionName": OLD, "percent": 100},
        {"revisionName": NEW, "tag": "candidate"},
    ]


def test_both_services_have_the_same_queue(gcloud: FakeGcloud, checkout: Path) -> None:
    rollout(gcloud, checkout, "candidate")
    for name in ("imagegen", "imagegen-web"):
        service = yaml.safe_load((checkout / f"{name}.yaml").read_text())
        [container] = service["spec"]["template"]["spec"]["containers"]
        said = {entry["name"]: entry["value"] for entry in container["env"]}
        assert Target.of(Settings.from_environment(said)) == Target(
            "projects/my-project/locations/europe-west4/queues/imagegen",
            "https://imagegen-123456789012.europe-west4.run.app",
            "imagegen-tasks@my-project.iam.gserviceaccount.com",
        )


@pytest.mark.parametrize("answer", ["[]", '[{"metadata": {"name": "imagegen"}}]'])
def test_the_first_revision_of_all_has_the_traffic(
    gcloud: FakeGcloud, checkout: Path, answer: str
) -> None:
    gcloud.answer("run services list", answer)
    rollout(gcloud, checkout, "candidate")
    service = yaml.safe_load((checkout / "imagegen.yaml").read_text())
    assert service["spec"]["traffic"] == [
        {"revisionName": NEW, "tag": "candidate", "percent": 100}
    ]  # fmt: skip


def test_the_check_asks_the_candidate_with_a_token_for_the_service(
    gcloud: FakeGcloud, checkout: Path
) -> None:
    (checkout / "deploy" / "smoke_test.py").write_text(
        "import sys\nprint(sys.argv[1:], open(sys.argv[3]).read())\n"
    )
    done = rollout(gcloud, checkout, "check")
    described, asked, *_ = gcloud.calls()
    assert described[:4] == ["run", "services", "describe", "imagegen"]
    assert asked[2:] == ["--audiences", "https://imagegen-abc-ez.a.run.app"]
    candidate = "https://candidate---imagegen-abc-ez.a.run.app"
    assert done.stdout.splitlines()[::2] == [
        f"{[candidate, '600', 'token']} a.token",
        f"{[candidate, '600', 'token', 'brands']} a.token",  # what stands in front of it
    ]


def test_a_candidate_without_a_picture_ends_the_build(gcloud: FakeGcloud, checkout: Path) -> None:
    (checkout / "deploy" / "smoke_test.py").write_text("raise SystemExit(1)\n")
    done = gcloud.run(BASH, "deploy/rollout.sh", "check", cwd=checkout, **ENVIRON)
    assert done.returncode == 1
    assert not [call for call in gcloud.calls() if "update-traffic" in call]


def test_in_the_end_the_revision_has_the_traffic_and_the_job_its_image(
    gcloud: FakeGcloud, checkout: Path
) -> None:
    rollout(gcloud, checkout, "traffic")
    moved, moved_too, job = gcloud.calls()
    assert moved_too[3] == "imagegen-web"
    assert moved == ["run", "services", "update-traffic", "imagegen", *WHERE,
                     "--to-revisions", f"{NEW}=100"]  # fmt: skip
    assert job == ["run", "jobs", "replace", "job.yaml", *WHERE]
    written = yaml.safe_load((checkout / "job.yaml").read_text())
    assert faults_of_a_job(written) == []
    assert "${" not in str(written)
    assert written["metadata"]["name"] == "imagegen-batch"
    assert IMAGE in str(written)


def test_another_role_is_another_service_after_the_one_that_renders(
    gcloud: FakeGcloud, checkout: Path
) -> None:
    for step in ("candidate", "traffic"):
        rollout(gcloud, checkout, step)
    calls = [" ".join(call) for call in gcloud.calls()]
    steps = [
        *(f"run services replace {name}.yaml" for name in ("imagegen", "imagegen-web")),
        *(f"run services update-traffic {name} {' '.join(WHERE)} --to-revisions {name}-1a2b3c4d=100"
          for name in ("imagegen", "imagegen-web")),
    ]  # fmt: skip
    found = [next(i for i, call in enumerate(calls) if call.startswith(step)) for step in steps]
    assert found == sorted(found)


def test_the_pages_run_as_their_own_account_and_know_the_renderer(
    gcloud: FakeGcloud, checkout: Path
) -> None:
    rollout(gcloud, checkout, "candidate")
    service = yaml.safe_load((checkout / "imagegen-web.yaml").read_text())
    assert faults_of_a_service(service) == []
    assert "${" not in str(service)
    pod = service["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "imagegen-web@my-project.iam.gserviceaccount.com"
    environ = {entry["name"]: entry["value"] for entry in pod["containers"][0]["env"]}
    assert environ["IMAGEGEN_RENDER_URL"] == "https://imagegen-abc-ez.a.run.app"


def test_a_step_that_does_not_exist_is_refused(gcloud: FakeGcloud, checkout: Path) -> None:
    done = gcloud.run(BASH, "deploy/rollout.sh", "trafic", cwd=checkout, **ENVIRON)
    assert done.returncode == 2
    assert "candidate, check or traffic, not trafic" in done.stderr
    assert not gcloud.calls()


# traffic.py


@pytest.mark.parametrize(
    ("now", "then"),
    [
        pytest.param(
            [{"revisionName": "a", "percent": 90}, {"revisionName": "b", "percent": 10}],
            [{"revisionName": "a", "percent": 90}, {"revisionName": "b", "percent": 10},
             {"revisionName": "new", "tag": "candidate"}],
            id="a split stays",
        ),
        pytest.param(
            [{"revisionName": "a", "percent": 100, "latestRevision": True},
             {"revisionName": "b", "tag": "candidate", "url": "https://candidate---x"}],
            [{"revisionName": "a", "percent": 100}, {"revisionName": "new", "tag": "candidate"}],
            id="the newest one is named, the candidate of before is not",
        ),
        pytest.param(
            [{"revisionName": "a", "percent": 100, "tag": "candidate", "url": "https://x"},
             {"revisionName": "b", "percent": 0, "tag": "blue"}],
            [{"revisionName": "a", "percent": 100},
             {"revisionName": "b", "percent": 0, "tag": "blue"},
             {"revisionName": "new", "tag": "candidate"}],
            id="an operator's own tag stays",
        ),
        pytest.param(
            [], [{"revisionName": "new", "tag": "candidate", "percent": 100}],
            id="nobody to protect",
        ),
    ],
)  # fmt: skip
def test_traffic_stays_where_it_is(
    repository: Path, now: list[Mapping], then: list[Mapping]
) -> None:
    functions = runpy.run_path(str(repository / "deploy" / "traffic.py"))
    assert functions["with_candidate"](now, "new") == then
