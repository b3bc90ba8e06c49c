#!/usr/bin/env bash
# The last steps of cloudbuild.yaml: rollout.sh candidate | check | traffic
# Environment: PROJECT REGION SERVICE BUCKET ACCOUNT BUILD (its id), and the image in the file image-by-digest.
# Every deploy/service*.yaml is a service: service.yaml is $SERVICE, a service-web.yaml would be $SERVICE-web.
set -euo pipefail
cd "$(dirname "$0")/.."

where=(--project "$PROJECT" --region "$REGION")
tag=candidate # as in traffic.py

# FILE -> the service's name
name_of() {
  local role=${1#deploy/service}
  printf '%s' "$SERVICE${role%.yaml}"
}

# SERVICE -> the name of this build's revision of it
revision_of() {
  printf '%s-%s' "$1" "${BUILD%%-*}"
}

# FILE REVISION TRAFFIC -> the file with its names filled in
filled_in() {
  sed --expression "s|\${SERVICE}|$SERVICE|" --expression "s|\${IMAGE}|$(cat image-by-digest)|" \
    --expression "s|\${PROJECT}|$PROJECT|" --expression "s|\${BUCKET}|$BUCKET|" --expression "s|\${ACCOUNT}|$ACCOUNT|" \
    --expression "s|\${REVISION}|$2|" --expression "s|\${TRAFFIC}|$3|" "$1"
}

# A new revision beside the one that serves: it has an address of its own and no traffic.
candidate() {
  local name=$1 file=$2 revision traffic
  revision=$(revision_of "$name")
  gcloud run services list "${where[@]}" --filter "metadata.name=$name" --format json >services.json
  traffic=$(python3 deploy/traffic.py "$revision" <services.json)
  filled_in "$file" "$revision" "$traffic" >"$name.yaml"
  gcloud run services replace "$name.yaml" "${where[@]}"
}

# One picture from the candidate. Its token is for the service, whatever the address asked.
check() {
  local name=$1 url
  url=$(gcloud run services describe "$name" "${where[@]}" --format 'value(status.url)')
  gcloud auth print-identity-token --audiences "$url" >token
  python3 deploy/smoke_test.py "https://$tag---${url#https://}" 600 token
}

traffic() {
  local name=$1
  gcloud run services update-traffic "$name" "${where[@]}" --to-revisions "$(revision_of "$name")=100"
}

for file in deploy/service*.yaml; do
  case $1 in
    candidate | check | traffic) "$1" "$(name_of "$file")" "$file" ;;
    *) printf 'rollout.sh: candidate, check or traffic, not %s\n' "$1" >&2 && exit 2 ;;
  esac
done
if [ "$1" = traffic ]; then # the job has no traffic: it gets the image that has passed the check
  filled_in deploy/job.yaml '' '' >job.yaml
  gcloud run jobs replace job.yaml "${where[@]}"
fi
