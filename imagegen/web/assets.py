"""What pages are made of: static files, kept for ever, as their addresses change with them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from flask import Flask, Response, send_from_directory, url_for

_STATIC = Path(__file__).parent / "static"
_FOR_EVER = "public, max-age=31536000, immutable"


def register_assets(app: Flask) -> None:
    """Gives templates `asset(name)`, the address of a static file as it is now.

    The version stands before the name, so that what a script imports from beside it has it too.
    """
    current = _version()

    def static(version: str, filename: str) -> Response:
        response = send_from_directory(_STATIC, filename)
        # Only what is called so here: while a new version starts, the old one answers too.
        if version == current and response.status_code < 400:
            response.headers["Cache-Control"] = _FOR_EVER
        return response

    def asset(name: str) -> str:
        return url_for("static", version=current, filename=name)

    app.add_url_rule("/static/<version>/<path:filename>", "static", static)
    app.add_template_global(asset)


def _version() -> str:
    digest = hashlib.sha256()
    for path in sorted(_STATIC.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]
