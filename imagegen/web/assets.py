"""What pages are made of: static files, kept for ever, as their addresses change with them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from flask import Flask, Response, request, url_for

_STATIC = Path(__file__).parent / "static"
_FOR_EVER = "public, max-age=31536000, immutable"


def register_assets(app: Flask) -> None:
    """Gives templates `asset(name)`, the address of a static file as it is now."""
    digests = {path.name: _digest(path) for path in _STATIC.iterdir()}

    def asset(name: str) -> str:
        return url_for("static", filename=name, v=digests[name])

    def keep(response: Response) -> Response:
        # Only what is called so here: while a new version starts, the old one answers too.
        name = str((request.view_args or {}).get("filename"))
        is_asset = request.endpoint == "static" and name in digests
        if is_asset and request.args.get("v") == digests[name] and response.status_code < 400:
            response.headers["Cache-Control"] = _FOR_EVER
        return response

    app.add_template_global(asset)
    app.after_request(keep)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
