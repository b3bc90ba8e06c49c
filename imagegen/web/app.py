"""create_app: the Flask application, made of blueprints and nothing else."""

from __future__ import annotations

from functools import partial

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from imagegen.web.a1111 import a1111_blueprint, tell_a1111
from imagegen.web.api import api_blueprint
from imagegen.web.assets import register_assets
from imagegen.web.auth import register_auth
from imagegen.web.collaborators import Collaborators
from imagegen.web.errors import register_errors
from imagegen.web.generations import generations_blueprint
from imagegen.web.headers import register_headers
from imagegen.web.images import images_blueprint
from imagegen.web.marks import marks_blueprint
from imagegen.web.openai import openai_blueprint, tell_openai
from imagegen.web.openapi.routes import openapi_blueprint
from imagegen.web.ops import ops_blueprint, pageless_blueprint
from imagegen.web.picture_files import picture_files_blueprint
from imagegen.web.picture_room import MAX_BODY_BYTES, open_picture_room
from imagegen.web.studio import (
    campaigns_blueprint,
    library_blueprint,
    register_shell,
    studio_blueprint,
    tell_in_words,
    tell_nowhere,
    tell_on_page,
)
from imagegen.web.tasks import tasks_blueprint
from imagegen.web.thumbnails import thumbnails_blueprint


def create_app(parts: Collaborators) -> Flask:
    """The WSGI application around `parts`; it starts and stops nothing."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES  # where no picture is sent
    open_picture_room(app)
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the order of formats has a meaning
    app.url_map.merge_slashes = False  # its redirects would be HTML
    # Cloud Run ends TLS and says so; the client's address is the one its front end saw.
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1)  # type: ignore[method-assign]
    register_assets(app)
    register_shell(app)
    register_headers(app, signed_pictures=parts.settings.urls == "signed")
    renders_alone = parts.settings.role == "render"
    on_page = partial(tell_on_page, parts)
    pages = dict.fromkeys(("/", "/docs", "/library", "/campaigns"), on_page)
    pages[""] = partial(tell_nowhere, parts)  # all other addresses
    dialects = {"/v1": tell_openai, "/sdapi": tell_a1111, "/studio": tell_in_words}
    register_errors(app, dialects=dialects if renders_alone else {**dialects, **pages})
    register_auth(app, parts)
    app.register_blueprint(ops_blueprint(parts))
    app.register_blueprint(api_blueprint(parts))
    app.register_blueprint(openai_blueprint(parts))
    app.register_blueprint(a1111_blueprint(parts))
    app.register_blueprint(openapi_blueprint(parts))
    app.register_blueprint(generations_blueprint(parts))
    app.register_blueprint(marks_blueprint(parts))
    app.register_blueprint(picture_files_blueprint(parts))
    if parts.deliveries is not None:
        app.register_blueprint(tasks_blueprint(parts.deliveries, parts.campaigns))
    app.register_blueprint(thumbnails_blueprint(parts.library.thumbnails))
    if renders_alone:
        app.register_blueprint(pageless_blueprint())
    else:
        app.register_blueprint(studio_blueprint(parts))
        app.register_blueprint(library_blueprint(parts))
        app.register_blueprint(campaigns_blueprint(parts))
    if parts.settings.urls == "proxy":
        app.register_blueprint(images_blueprint(parts.storage))
    return app
