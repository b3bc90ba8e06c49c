#!/usr/bin/env bash
# Puts imagegen on Google Cloud, or brings what is there up to date. docs/deploy.md tells the whole story.
set -euo pipefail

usage() {
  cat <<'EOF'
usage: deploy/deploy.sh --project PROJECT --region REGION [--dry-run]

Creates what the project lacks (APIs, a repository for images, a bucket, a queue, four service
accounts and their roles), then builds the image from this folder and deploys it. Safe to repeat.

  --project PROJECT  the project's id
  --region REGION    one where Cloud Run has L4 GPUs, such as europe-west4
  --dry-run          look only, and print the commands that would change something
EOF
}

fail() {
  printf 'deploy.sh: %s\n' "$1" >&2
  exit "${2:-1}"
}

project='' region='' dry_run=no
while [ $# -gt 0 ]; do
  case $1 in
    --project | --region)
      [ $# -ge 2 ] || fail "$1 needs a value; see --help" 2
      if [ "$1" = --project ]; then project=$2; else region=$2; fi
      shift 2
      ;;
    --dry-run) dry_run=yes && shift ;;
    --help | -h) usage && exit 0 ;;
    *) fail "unknown argument '$1'; see --help" 2 ;;
  esac
done
[ -n "$project" ] || fail 'which project? say --project PROJECT' 2
[ -n "$region" ] || fail 'which region? say --region REGION' 2
[[ $project =~ ^[a-z][a-z0-9-]{4,28}[a-z0-9]$ ]] || fail "'$project' is no project's id" 2
[[ $region =~ ^[a-z]+-[a-z]+[0-9]+$ ]] || fail "'$region' is no region, such as europe-west4" 2
command -v gcloud >/dev/null || fail 'gcloud is not installed: https://cloud.google.com/sdk/docs/install'
cd "$(dirname "$0")/.."

readonly apis=(
  run.googleapis.com cloudbuild.googleapis.com artifactregistry.googleapis.com storage.googleapis.com
  cloudtasks.googleapis.com iam.googleapis.com
  cloudresourcemanager.googleapis.com # the project's roles
  iamcredentials.googleapis.com # tokens for the check of a candidate, signed links
)
readonly repository=imagegen
readonly queue=imagegen
readonly bucket=$project-imagegen
readonly service_account=imagegen@$project.iam.gserviceaccount.com # what renders runs as: service and job
readonly web_account=imagegen-web@$project.iam.gserviceaccount.com # what the service with the pages runs as
readonly tasks_account=imagegen-tasks@$project.iam.gserviceaccount.com # as what the queue calls the renderer
readonly build_account=imagegen-build@$project.iam.gserviceaccount.com

# Runs a command that changes something, after telling it in a form that can be pasted.
change() {
  printf '+' && printf ' %q' "$@" && printf '\n'
  [ "$dry_run" = yes ] || "$@"
}

# A change of roles. An account just created is not known everywhere at once: a minute's patience.
grant() {
  local tries_left=6
  until change gcloud "$@" --format none; do
    tries_left=$((tries_left - 1))
    [ $tries_left -gt 0 ] || fail 'the role could not be given; see above'
    printf 'not yet; again in 10 s\n' >&2
    sleep 10
  done
}

there() {
  gcloud "$@" --project "$project" --quiet >/dev/null 2>&1
}

enable_apis() {
  local enabled missing=() api
  enabled=$(gcloud services list --enabled --project "$project" --format 'value(config.name)')
  for api in "${apis[@]}"; do
    grep --quiet --line-regexp --fixed-strings "$api" <<<"$enabled" || missing+=("$api")
  done
  [ ${#missing[@]} -eq 0 ] || change gcloud services enable "${missing[@]}" --project "$project"
}

create_repository() {
  there artifacts repositories describe "$repository" --location "$region" ||
    change gcloud artifacts repositories create "$repository" --location "$region" --project "$project" \
      --repository-format docker --description 'Images of imagegen'
}

create_bucket() {
  local found
  # Asks for this project's own: a bucket of that name that somebody else made is not to be used.
  found=$(gcloud storage buckets list --project "$project" --filter "name=$bucket" --format 'value(name)')
  [ "$found" = "$bucket" ] ||
    change gcloud storage buckets create "gs://$bucket" --location "$region" --project "$project" \
      --uniform-bucket-level-access --public-access-prevention
  change gcloud storage buckets update "gs://$bucket" --lifecycle-file deploy/lifecycle.json
}

# Eight deliveries for each of the three instances: half of the places that an instance has. Twenty-five tries, an
# hour and a half, are the service's own bound (imagegen/cloud_tasks.py); the queue's is for what never gets there.
create_queue() {
  local where=(--location "$region" --project "$project")
  there tasks queues describe "$queue" --location "$region" || change gcloud tasks queues create "$queue" "${where[@]}"
  change gcloud tasks queues update "$queue" "${where[@]}" \
    --max-concurrent-dispatches 24 --max-dispatches-per-second 10 \
    --max-attempts 40 --min-backoff 2s --max-backoff 300s --max-doublings 7
}

create_account() { # NAME WHAT-FOR
  there iam service-accounts describe "$1@$project.iam.gserviceaccount.com" ||
    change gcloud iam service-accounts create "$1" --display-name "$2" --project "$project"
}

# Every role an account has, and no other. "--condition None" is needed where a policy has conditions.
give_roles() {
  local builder=serviceAccount:$build_account role account
  # Pictures are written once and read back. objectCreator is not enough: whether somebody who may not
  # delete is told "it is there already" or "forbidden" about a taken name is not documented.
  grant storage buckets add-iam-policy-binding "gs://$bucket" --condition None \
    --member "serviceAccount:$service_account" --role roles/storage.objectUser
  # The pages show pictures, and write none. What people think of them the pages do write, and what is to be made later.
  grant storage buckets add-iam-policy-binding "gs://$bucket" --condition None \
    --member "serviceAccount:$web_account" --role roles/storage.objectViewer
  local folder folders="projects/_/buckets/$bucket/objects/pictures"
  for folder in library generations; do
    grant storage buckets add-iam-policy-binding "gs://$bucket" \
      --member "serviceAccount:$web_account" --role roles/storage.objectUser \
      --condition "title=$folder,expression=resource.name.startsWith(\"$folders/imagegen-$folder/\")"
  done
  # Both put tasks into the queue, which calls in the name of an account that may do nothing else.
  for account in "$service_account" "$web_account"; do
    grant tasks queues add-iam-policy-binding "$queue" --location "$region" --project "$project" \
      --member "serviceAccount:$account" --role roles/cloudtasks.enqueuer
    grant iam service-accounts add-iam-policy-binding "$tasks_account" --project "$project" \
      --condition None --member "serviceAccount:$account" --role roles/iam.serviceAccountUser
  done
  # The build reads what was uploaded for it, but no pictures.
  grant storage buckets add-iam-policy-binding "gs://$bucket" \
    --member "$builder" --role roles/storage.objectViewer \
    --condition "title=source,expression=resource.name.startsWith(\"projects/_/buckets/$bucket/objects/source/\")"
  grant artifacts repositories add-iam-policy-binding "$repository" --location "$region" --project "$project" \
    --condition None --member "$builder" --role roles/artifactregistry.writer
  # It writes its log, deploys, and asks the candidate for a picture.
  for role in logging.logWriter run.developer run.invoker; do
    grant projects add-iam-policy-binding "$project" --condition None --member "$builder" --role "roles/$role"
  done
  # It deploys services that run as the other accounts, and gets a token for itself.
  for account in "$service_account" "$web_account"; do
    grant iam service-accounts add-iam-policy-binding "$account" --project "$project" \
      --condition None --member "$builder" --role roles/iam.serviceAccountUser
  done
  grant iam service-accounts add-iam-policy-binding "$build_account" --project "$project" \
    --condition None --member "$builder" --role roles/iam.serviceAccountOpenIdTokenCreator
}

submit_build() {
  change gcloud builds submit --config cloudbuild.yaml --project "$project" \
    --service-account "projects/$project/serviceAccounts/$build_account" \
    --gcs-source-staging-dir "gs://$bucket/source" \
    --substitutions "_BUCKET=$bucket,_REGION=$region" .
}

# The pages and the queue ask this one service, which the first build has made, for pictures.
let_call() {
  local account
  for account in "$web_account" "$tasks_account"; do
    grant run services add-iam-policy-binding imagegen --region "$region" --project "$project" \
      --member "serviceAccount:$account" --role roles/run.invoker
  done
}

gcloud projects describe "$project" --quiet >/dev/null ||
  fail "cannot see the project $project: is it its id, and are you logged in (gcloud auth login)?"
enable_apis
create_repository
create_bucket
create_queue
create_account imagegen 'imagegen: service and job'
create_account imagegen-web 'imagegen: pages'
create_account imagegen-tasks 'imagegen: queue'
create_account imagegen-build 'imagegen: build'
give_roles
submit_build
let_call
cat <<EOF
$([ "$dry_run" = yes ] && printf 'Nothing was changed.' || printf 'Deployed.') Who may call the service is said with:
  gcloud run services add-iam-policy-binding imagegen-web --project $project --region $region \\
    --role roles/run.invoker --member user:SOMEBODY@EXAMPLE.COM
EOF
