"""deploy/deploy.sh against a gcloud that records: order, repetition, quoting, clear refusals."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fake_gcloud import FakeGcloud

from imagegen.settings import Settings

SCRIPTS = ["deploy/deploy.sh", "deploy/rollout.sh", ".ci/run"]
PROJECT, REGION = "my-project", "europe-west4"
BUCKET = f"{PROJECT}-imagegen"
SERVICE = f"serviceAccount:imagegen@{PROJECT}.iam.gserviceaccount.com"
WEB = f"serviceAccount:imagegen-web@{PROJECT}.iam.gserviceaccount.com"
TASKS = f"serviceAccount:imagegen-tasks@{PROJECT}.iam.gserviceaccount.com"
BUILD = f"serviceAccount:imagegen-build@{PROJECT}.iam.gserviceaccount.com"
ROLES = [
    (f"gs://{BUCKET}", SERVICE, "roles/storage.objectUser", "None"),
    (f"gs://{BUCKET}", WEB, "roles/storage.objectViewer", "None"),
    (f"gs://{BUCKET}", WEB, "roles/storage.objectUser",
     "title=library,expression=resource.name.startsWith("
     f'"projects/_/buckets/{BUCKET}/objects/pictures/imagegen-library/")'),
    (f"gs://{BUCKET}", WEB, "roles/storage.objectUser",
     "title=generations,expression=resource.name.startsWith("
     f'"projects/_/buckets/{BUCKET}/objects/pictures/imagegen-generations/")'),
    ("imagegen", SERVICE, "roles/cloudtasks.enqueuer", None),  # a queue's policy has no conditions
    (TASKS.partition(":")[2], SERVICE, "roles/iam.serviceAccountUser", "None"),
    ("imagegen", WEB, "roles/cloudtasks.enqueuer", None),
    (TASKS.partition(":")[2], WEB, "roles/iam.serviceAccountUser", "None"),
    (f"gs://{BUCKET}", BUILD, "roles/storage.objectViewer",
     "title=source,expression="
     f'resource.name.startsWith("projects/_/buckets/{BUCKET}/objects/source/")'),
    ("imagegen", BUILD, "roles/artifactregistry.writer", "None"),
    (PROJECT, BUILD, "roles/logging.logWriter", "None"),
    (PROJECT, BUILD, "roles/run.developer", "None"),
    (PROJECT, BUILD, "roles/run.invoker", "None"),
    (SERVICE.partition(":")[2], BUILD, "roles/iam.serviceAccountUser", "None"),
    (WEB.partition(":")[2], BUILD, "roles/iam.serviceAccountUser", "None"),
    (BUILD.partition(":")[2], BUILD, "roles/iam.serviceAccountOpenIdTokenCreator", "None"),
    ("imagegen", WEB, "roles/run.invoker", None),  # a service's policy has no conditions
    ("imagegen", TASKS, "roles/run.invoker", None),
]  # fmt: skip


# What somebody needs on the project who is no owner, by the first word of a command.
ROLE_FOR = {
    "services": "Service Usage Admin",
    "artifacts": "Artifact Registry Administrator",
    "storage": "Storage Admin",
    "tasks": "Cloud Tasks Admin",
    "iam": "Service Account Admin",
    "projects": "Project IAM Admin",
    "builds": "Cloud Build Editor",
    "run": "Cloud Run Admin",  # to say who may call a service
    "logging": "Logs Viewer",
    "scheduler": "Cloud Scheduler Admin",
    "secrets": "Secret Manager Admin",
}


@pytest.fixture
def gcloud(tmp_path: Path) -> FakeGcloud:
    return FakeGcloud(tmp_path / "bin")


def deploy(
    gcloud: FakeGcloud, repository: Path, *arguments: str, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    script = repository / "deploy" / "deploy.sh"
    return gcloud.run(script, *arguments, cwd=cwd or repository)


def changes(calls: list[list[str]]) -> list[list[str]]:
    looks = ("describe", "list")
    return [call for call in calls if not any(look in call[:4] for look in looks)]


def kinds(calls: list[list[str]]) -> list[str]:
    """`storage buckets create`, without the repetitions."""
    names = [" ".join(call[: 2 if call[0] in ("builds", "projects", "services") else 3])
             for call in calls]  # fmt: skip
    return list(dict.fromkeys(names))


def option(call: list[str], name: str) -> str:
    return call[call.index(name) + 1]


def test_a_first_run_creates_everything_in_order(gcloud, repository, tmp_path):
    done = deploy(gcloud, repository, "--project", PROJECT, "--region", REGION, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = changes(gcloud.calls())
    assert kinds(made) == [
        "services enable",
        "artifacts repositories create",
        "storage buckets create",
        "storage buckets update",
        "tasks queues create",
        "tasks queues update",
        "iam service-accounts create",
        "storage buckets add-iam-policy-binding",
        "tasks queues add-iam-policy-binding",
        "iam service-accounts add-iam-policy-binding",
        "artifacts repositories add-iam-policy-binding",
        "projects add-iam-policy-binding",
        "builds submit",
        "run services add-iam-policy-binding",
    ]
    assert {"run.googleapis.com", "iamcredentials.googleapis.com"} < set(made[0])
    [bucket] = [call for call in made if call[:3] == ["storage", "buckets", "create"]]
    assert {"--uniform-bucket-level-access", "--public-access-prevention"} < set(bucket)
    assert "Deployed." in done.stdout
    assert not gcloud.slept()


def test_the_accounts_get_these_roles_and_no_others(gcloud, repository):
    deploy(gcloud, repository, "--project", PROJECT, "--region", REGION)
    given = [call for call in gcloud.calls() if "add-iam-policy-binding" in call]
    assert [
        (call[call.index("add-iam-policy-binding") + 1],
         *(option(call, name) if name in call else None
           for name in ("--member", "--role", "--condition")))
        for call in given
    ] == ROLES  # fmt: skip


def test_the_page_says_the_same_roles_and_what_an_hour_costs(repository):
    page = (repository / "docs" / "deploy.md").read_text()
    table = page.partition("| account | role | on |")[2].partition("\n\n")[0]
    given = {role.removeprefix("roles/") for _, _, role, _ in ROLES}
    assert set(re.findall(r"`([a-z]+\.[a-zA-Z.]+)`", table)) == given
    assert f"${Settings().usd_per_hour:.2f} an hour" in page


def test_the_page_names_the_role_for_each_command_of_the_script_and_its_own(gcloud, repository):
    deploy(gcloud, repository, "--project", PROJECT, "--region", REGION)
    page = (repository / "docs" / "deploy.md").read_text()
    used = {call[0] for call in gcloud.calls()} | set(re.findall(r"\bgcloud (\w+) \w", page))
    needed = {ROLE_FOR[word] for word in used - {"auth"}}
    before = " ".join(page.partition("## Before")[2].partition("\n## ")[0].split())
    assert {role for role in needed if role not in before} == set()


def test_the_build_gets_its_words_whole(gcloud, repository):
    deploy(gcloud, repository, "--project", PROJECT, "--region", REGION)
    [build] = [call for call in gcloud.calls() if call[0] == "builds"]
    assert option(build, "--substitutions") == f"_BUCKET={BUCKET},_REGION={REGION}"
    assert option(build, "--service-account").endswith(BUILD.partition(":")[2])
    assert option(build, "--gcs-source-staging-dir") == f"gs://{BUCKET}/source"
    assert build[-1] == "."
    assert (repository / option(build, "--config")).is_file()


def test_a_second_run_creates_nothing(gcloud, repository):
    deploy(gcloud, repository, "--project", PROJECT, "--region", REGION)
    first = changes(gcloud.calls())
    assert deploy(gcloud, repository, "--project", PROJECT, "--region", REGION).returncode == 0
    second = changes(gcloud.calls())
    assert not [call for call in second if {"create", "enable"} & set(call)]
    # What is left changes nothing where it is so already: lifecycle, roles; and the new build.
    assert second == [call for call in first if not {"create", "enable"} & set(call)]


def test_only_what_is_missing_is_enabled(gcloud, repository):
    gcloud.answer(
        "services list", "run.googleapis.com\nstorage.googleapis.com\nxrun.googleapis.com"
    )
    deploy(gcloud, repository, "--project", PROJECT, "--region", REGION)
    [enabled] = [call for call in gcloud.calls() if call[:2] == ["services", "enable"]]
    assert "cloudbuild.googleapis.com" in enabled
    assert not {"run.googleapis.com", "storage.googleapis.com"} & set(enabled)


def test_a_dry_run_tells_what_a_run_does_and_changes_nothing(gcloud, repository):
    told = deploy(gcloud, repository, "--project", PROJECT, "--region", REGION, "--dry-run")
    assert told.returncode == 0, told.stderr
    assert not changes(gcloud.calls())
    lines = [line for line in told.stdout.splitlines() if line.startswith("+ ")]
    deploy(gcloud, repository, "--project", PROJECT, "--region", REGION)
    commands = [shlex.split(line.removeprefix("+ gcloud ")) for line in lines]
    assert commands == changes(gcloud.calls()), "pasted into a shell they are the same words"
    assert "Nothing was changed." in told.stdout


def test_a_bucket_of_that_name_that_is_somebody_elses_is_not_used(gcloud, repository):
    """It can be described, but the project's own list does not have it: creating it fails."""
    gcloud.answer("storage buckets describe", "location: US")
    gcloud.fail("storage buckets create", 1)
    done = deploy(gcloud, repository, "--project", PROJECT, "--region", REGION)
    assert done.returncode == 1
    assert not [call for call in gcloud.calls() if "add-iam-policy-binding" in call]


def test_an_account_that_is_not_known_everywhere_yet_is_waited_for(gcloud, repository):
    gcloud.fail("storage buckets add-iam-policy-binding", 2)
    done = deploy(gcloud, repository, "--project", PROJECT, "--region", REGION)
    assert done.returncode == 0, done.stderr
    assert gcloud.slept() == ["10", "10"]
    assert "builds submit" in kinds(gcloud.calls())


def test_a_role_that_can_never_be_given_ends_the_run(gcloud, repository):
    gcloud.fail("projects add-iam-policy-binding", 99)
    done = deploy(gcloud, repository, "--project", PROJECT, "--region", REGION)
    assert done.returncode == 1
    assert "deploy.sh: the role could not be given; see above\n" in done.stderr
    assert len(gcloud.slept()) == 5
    assert "builds submit" not in kinds(gcloud.calls())


@pytest.mark.parametrize(
    "step",
    ["services list", "services enable", "artifacts repositories create", "storage buckets list",
     "storage buckets create", "storage buckets update", "iam service-accounts create",
     "builds submit"],
)  # fmt: skip
def test_the_first_failure_is_the_last_command(gcloud, repository, step):
    gcloud.fail(step, 1)
    done = deploy(gcloud, repository, "--project", PROJECT, "--region", REGION)
    assert done.returncode != 0
    assert "told to fail" in done.stderr
    assert "Deployed." not in done.stdout
    assert " ".join(gcloud.calls()[-1]).startswith(step)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "which project? say --project PROJECT"),
        (["--project", PROJECT], "which region? say --region REGION"),
        (["--project"], "--project needs a value; see --help"),
        (["--project", "my project", "--region", REGION], "'my project' is no project's id"),
        (["--project", "p'; rm -rf x;'", "--region", REGION], "is no project's id"),
        (["--project", PROJECT, "--region", "Europe"], "'Europe' is no region"),
        (["--project", PROJECT, "--region", REGION, "--dryrun"], "unknown argument '--dryrun'"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_2(gcloud, repository, arguments, sentence):
    done = deploy(gcloud, repository, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("deploy.sh: ")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert not gcloud.calls()


def test_a_project_nobody_sees_is_told_before_anything_is_made(gcloud, repository):
    done = deploy(gcloud, repository, "--project", "another-project", "--region", REGION)
    assert done.returncode == 1
    assert "NOT_FOUND" in done.stderr  # gcloud's own word: it may be another reason
    assert "cannot see the project another-project" in done.stderr
    assert len(gcloud.calls()) == 1


def test_help_names_every_option(gcloud, repository):
    done = deploy(gcloud, repository, "--help")
    assert done.returncode == 0
    for name in ("--project", "--region", "--dry-run"):
        assert name in done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_is_bash_that_shellcheck_finds_nothing_in(repository, script):
    assert (repository / script).read_text().startswith("#!/usr/bin/env bash\n")
    subprocess.run([shutil.which("bash") or "bash", "-n", repository / script], check=True)
    shellcheck = Path(sys.executable).with_name("shellcheck")
    found = subprocess.run(
        [shellcheck, repository / script], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr
