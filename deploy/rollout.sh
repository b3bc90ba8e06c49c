#!/usr/bin/env bash
# The last steps of cloudbuild.yaml: rollout.sh candidate | check | traffic
# Environment: PROJECT NUMBER (the project's) REGION SERVICE BUCKET ACCOUNT BUILD (its id), and the image in the file image-by-digest.
# Every deploy/service*.yaml is a service: service.yaml is $SERVICE, which renders and comes first; service-web.yaml is
# $SERVICE-web, and runs as ACCOUNT with the same ending.
set -euo pipefail
cd "$(dirname "$0")/.."

where=(--project "$PROJECT" --region "$REGION")
tag=candidate # as in traffic.py

# FILE -> what its service's name and account end with
ending_of() {
  local role=${1#deploy/service}
  printf '%s' "${role%.yaml}"
}

# SERVICE -> the name of this build's revision of it
revision_of() {
  printf '%s-%s' "$1" "${BUILD%%-*}"
}

# SERVICE -> its address
url_of() {
  gcloud run services describe "$1" "${where[@]}" --format 'value(status.url)'
}

# FILE ACCOUNT REVISION TRAFFIC -> the file with its names filled in. The queue calls the renderer by the address that
# follows from its name: https://cloud.google.com/run/docs/triggering/https-request#deterministic
filled_in() {
  local render_url=''
  if grep --quiet --fixed-strings "\${RENDER_URL}" "$1"; then render_url=$(url_of "$SERVICE"); fi
  sed --expression "s|\${SERVICE}|$SERVICE|" --expression "s|\${IMAGE}|$(cat image-by-digest)|" \
    --expression "s|\${PROJECT}|$PROJECT|" --expression "s|\${BUCKET}|$BUCKET|" --expression "s|\${ACCOUNT}|$2|" \
    --expression "s|\${REGION}|$REGION|" --expression "s|\${TASKS_ACCOUNT}|${ACCOUNT/@/-tasks@}|" \
    --expression "s|\${TASKS_URL}|https://$SERVICE-$NUMBER.$REGION.run.app|" \
    --expression "s|\${REVISION}|$3|" --expression "s|\${TRAFFIC}|$4|" \
    --expression "s|\${RENDER_URL}|$render_url|" "$1"
}

# A new revision beside the one that serves: it has an address of its own and no traffic.
candidate() {
  local name=$1 file=$2 identity revision traffic
  identity=${ACCOUNT/@/$(ending_of "$file")@}
  revision=$(revision_of "$name")
  gcloud run services list "${where[@]}" --filter "metadata.name=$name" --format json >services.json
  traffic=$(python3 deploy/traffic.py "$revision" <services.json)
  filled_in "$file" "$identity" "$revision" "$traffic" >"$name.yaml"
  gcloud run services replace "$name.yaml" "${where[@]}"
}

# One picture from the candidate that renders; of others, that they answer: what stands in front of the renderer may
# call it only once deploy.sh has said so, after the first build. The token is for the service, whatever the address.
check() {
  local name=$1 file=$2 url words=()
  url=$(url_of "$name")
  gcloud auth print-identity-token --audiences "$url" >token
  [ "$file" = deploy/service.yaml ] || words=(brands)
  python3 deploy/smoke_test.py "https://$tag---${url#https://}" 600 token "${words[@]}"
}

traffic() {
  local name=$1
  gcloud run services update-traffic "$name" "${where[@]}" --to-revisions "$(revision_of "$name")=100"
}

for file in deploy/service.yaml deploy/service-*.yaml; do
  case $1 in
    candidate | check | traffic) "$1" "$SERVICE$(ending_of "$file")" "$file" ;;
    *) printf 'rollout.sh: candidate, check or traffic, not %s\n' "$1" >&2 && exit 2 ;;
  esac
done
if [ "$1" = traffic ]; then # the job has no traffic: it gets the image that has passed the check
  filled_in deploy/job.yaml "$ACCOUNT" '' '' >job.yaml
  gcloud run jobs replace job.yaml "${where[@]}"
fi
