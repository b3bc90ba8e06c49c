"""Who gets a service's traffic while a candidate is tried: traffic.py REVISION < services.json

Reads the answer of `gcloud run services list --format json` for one service, or for none at its
first deployment; prints `spec.traffic` as JSON, which is YAML too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

TAG = "candidate"  # its address is https://candidate---…


def with_candidate(now: Sequence[Mapping[str, Any]], candidate: str) -> list[dict[str, Any]]:
    """The targets of today by revision, and the candidate without traffic.

    now: `status.traffic`. Where nothing has traffic, there is nobody to protect: the candidate
    gets all of it.
    """
    kept = []
    for target in now:
        parts = {
            name: target[name] for name in ("revisionName", "percent", "tag") if name in target
        }
        if parts.get("tag") == TAG:
            del parts["tag"]  # the candidate of before
        if parts.get("percent") or "tag" in parts:
            kept.append(parts)
    share = {} if any(target.get("percent") for target in kept) else {"percent": 100}
    return [*kept, {"revisionName": candidate, "tag": TAG, **share}]


def main(candidate: str) -> None:
    services = json.load(sys.stdin)
    now = services[0].get("status", {}).get("traffic", []) if services else []
    print(json.dumps(with_candidate(now, candidate)))


if __name__ == "__main__":
    main(sys.argv[1])
