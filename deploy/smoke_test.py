"""Asks a running service for one picture: python smoke_test.py URL SECONDS_UNTIL_READY

Exit 0 when it came whole. Runs inside the image (cloudbuild.yaml), so it needs nothing but Python.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
import urllib.error
import urllib.request
from typing import Any


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return bytes(answer.read())


def wait_until_ready(service: str, within_s: float) -> None:
    """Returns when `/readyz` says 200; raises TimeoutError with its last word after `within_s`."""
    deadline = time.monotonic() + within_s
    while fault := why_not_ready(service):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not ready after {within_s:.0f} s: {fault}")
        time.sleep(1)


def why_not_ready(service: str) -> str:
    """Empty when it is ready."""
    try:
        get(f"{service}/readyz")
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read().decode(errors='replace')}"
    except OSError as error:  # not listening yet
        return f"{error!r}"
    return ""


def generate(service: str, brand: str) -> dict[str, Any]:
    body = json.dumps({"brand": brand, "prompt": "a red mug", "seed": 7}).encode()
    request = urllib.request.Request(
        f"{service}/generate", body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        return dict(json.load(answer))


def main(service: str, ready_within_s: float) -> None:
    wait_until_ready(service, ready_within_s)
    brand = json.loads(get(f"{service}/brands"))["brands"][0]["id"]
    generation = generate(service, brand)
    [image] = generation["images"]
    data = get(image["url"])
    if hashlib.sha256(data).hexdigest() != image["sha256"]:
        raise ValueError(f"{image['url']} is not the picture that was announced")
    print(f"{brand}: {image['width']} x {image['height']}, {generation['timings']['total_s']} s")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
