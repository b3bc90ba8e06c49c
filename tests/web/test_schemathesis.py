"""schemathesis asks a real server whatever its document allows, and much that it does not."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from web_server import Server

from imagegen.callers.key_file import change_keys

EXAMPLES = 10  # of fuzzing, an operation: a quarter of a minute in all
CONFIG = """
# Brands that there are, so that it gets past "no such brand".
[parameters]
"path.brand" = ["aurora", "pop"]
"path.model" = ["aurora", "pop"]

# A deadline that nobody could keep is the caller's own: 504 is what the document promises for it.
[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "504"]
# Which brands, formats and words there are is more than a schema says: 422 is no contradiction.
positive_data_acceptance.enabled = false

# A form's fields are all text: a number or null in one arrives as letters, which break no rule.
[[operations]]
include-path-regex = "^/(studio/generations|campaigns)?$"
include-method = "POST"
checks.negative_data_rejection.enabled = false
"""


def test_answers_are_what_the_document_says(serve: Callable[..., Server], tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    key = change_keys(keys, lambda known: known.with_new("judge", None, datetime.now(UTC))[::2])
    server = serve(IMAGEGEN_AUTH="keys", IMAGEGEN_KEYS=str(keys))
    server.wait_until("/readyz")
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    result = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"), "--config-file", config, "--no-color",
            "run", f"http://127.0.0.1:{server.port}/openapi.json",
            "--header", f"Authorization: Bearer {key}",
            "--max-examples", str(EXAMPLES), "--continue-on-failure",
            "--generation-deterministic",  # what passed here passes on the next machine
        ],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-20_000:]
    tested = re.search(r"Tested: +(\d+)", result.stdout)
    assert tested is not None
    assert int(tested[1]) > 30, "all operations, not a few"
    assert server.ask("GET", "/readyz")[0] == 200
    assert server.ask("GET", "/docs")[0] == 401
