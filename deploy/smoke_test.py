"""Asks a running service for one picture.

python smoke_test.py URL SECONDS_UNTIL_READY [TOKEN_FILE [brands]]

Exit 0 when it came whole; with `brands`, when the catalogue did. Runs inside the image, and from
the build against Cloud Run with an identity token (cloudbuild.yaml), so it needs nothing but
Python.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any


class Service:
    """A service at `url`. Cloud Run's own check takes the token from a header of its own, so that
    `Authorization` stays the application's."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._headers = {"X-Serverless-Authorization": f"Bearer {token}"} if token else {}

    def ask(self, path: str, body: bytes | None = None, timeout_s: float = 60) -> bytes:
        kind = {} if body is None else {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self._url}{path}", body, self._headers | kind)
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return bytes(answer.read())

    def picture(self, link: str) -> bytes:
        """The token stays here: a link may lead to Cloud Storage."""
        if link.startswith(f"{self._url}/"):
            return self.ask(link.removeprefix(self._url))
        with urllib.request.urlopen(link, timeout=60) as answer:
            return bytes(answer.read())

    def why_not_ready(self) -> str:
        """Empty when it is ready."""
        try:
            self.ask("/readyz")
        except urllib.error.HTTPError as error:
            return f"{error.code} {error.read().decode(errors='replace')}"
        except OSError as error:  # not listening yet
            return f"{error!r}"
        return ""


def wait_until_ready(service: Service, within_s: float) -> None:
    """Returns when `/readyz` says 200; raises TimeoutError with its last word after `within_s`."""
    deadline = time.monotonic() + within_s
    while fault := service.why_not_ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not ready after {within_s:.0f} s: {fault}")
        time.sleep(1)


def find_brands(service: Service) -> None:
    """Where callers must say who they are, being asked that is an answer."""
    try:
        service.ask("/brands")
    except urllib.error.HTTPError as error:
        if error.code != 401 or json.load(error)["code"] != "unauthenticated":
            raise


def generate(service: Service, brand: str) -> dict[str, Any]:
    """In few steps: it is looked at by nobody, and the build machine has no GPU."""
    asked = {"brand": brand, "prompt": "a red mug", "seed": 7, "num_inference_steps": 4}
    body = json.dumps(asked).encode()
    return dict(json.loads(service.ask("/generate", body, timeout_s=300)))


def main(url: str, ready_within_s: float, token: str, *, only_brands: bool) -> None:
    service = Service(url, token)
    wait_until_ready(service, ready_within_s)
    if only_brands:
        find_brands(service)
        return
    brand = json.loads(service.ask("/brands"))["brands"][0]["id"]
    generation = generate(service, brand)
    [image] = generation["images"]
    data = service.picture(image["url"])
    if hashlib.sha256(data).hexdigest() != image["sha256"]:
        raise ValueError(f"{image['url']} is not the picture that was announced")
    print(f"{brand}: {image['width']} x {image['height']}, {generation['timings']['total_s']} s")


if __name__ == "__main__":
    words = sys.argv[3:]
    secret = Path(words[0]).read_text().strip() if words else ""
    main(sys.argv[1], float(sys.argv[2]), secret, only_brands=words[1:] == ["brands"])
