"""What all pages of the studio share: the bar at the top, the language, the theme."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import (
    Blueprint,
    Flask,
    Response,
    current_app,
    g,
    redirect,
    request,
)
from flask.typing import ResponseReturnValue

from imagegen.web.studio.texts import FALLBACK, LANGUAGES, Texts, texts_in

_PAGES = (  # a page is in the bar once there is one: (its text, its endpoint)
    ("nav.create", "studio.page"),
    ("nav.library", "library.page"),
    ("nav.campaigns", "campaigns.page"),
)
THEMES = ("auto", "dark", "light")
_CHOICES = {"language": LANGUAGES, "theme": THEMES}
_YEAR_S = 365 * 24 * 3600


def register_shell(app: Flask) -> None:
    """Gives templates `t`, `theme` and what the bar shows; pages differ by language and cookies."""

    def for_templates() -> dict[str, Any]:
        pages = [(text, name) for text, name in _PAGES if name in current_app.view_functions]
        return {
            "t": current_texts(),
            "theme": _chosen("theme") or THEMES[0],
            "pages": pages,
            "back": _here(),
            "languages": [texts_in(language) for language in LANGUAGES],
        }

    def vary(response: Response) -> Response:
        if response.mimetype == "text/html":
            response.vary.update(("Accept-Language", "Cookie"))
            response.headers.setdefault("Cache-Control", "no-cache")
        return response

    app.context_processor(for_templates)
    app.after_request(vary)


def register_preferences(blueprint: Blueprint) -> None:
    """Where the bar's two switches lead; they need no script."""

    @blueprint.post("/studio/preferences")
    def prefer() -> ResponseReturnValue:
        """Keeps `language` or `theme` in a cookie and goes back to the page it was chosen on."""
        answer = redirect(_way_back(request.form.get("back", "")), HTTPStatus.SEE_OTHER)
        for name, known in _CHOICES.items():
            if (value := request.form.get(name)) in known:
                answer.set_cookie(
                    _cookie(name), value, _YEAR_S, samesite="Lax", secure=request.is_secure
                )
        return answer


def current_texts() -> Texts:
    """In the language of whoever looks: chosen on a page, else the first that his browser names."""
    if "texts" not in g:
        g.texts = texts_in(_chosen("language") or _accepted())
    texts: Texts = g.texts
    return texts


def _accepted() -> str:
    """Of `es-MX, en` the first: an exact match further down would be nearer only in letters."""
    named = (tag.partition("-")[0].lower() for tag in request.accept_languages.values())
    return next((language for language in named if language in LANGUAGES), FALLBACK)


def _chosen(name: str) -> str | None:
    value = request.cookies.get(_cookie(name))
    return value if value in _CHOICES[name] else None


def _cookie(name: str) -> str:
    return f"imagegen_{name}"


def _here() -> str:
    """Where the bar's switches come back to. Some forms' addresses cannot be opened: theirs is the
    page that such a form stands on.
    """
    if request.method == "GET":
        return request.full_path.rstrip("?")
    path, addresses = request.path, current_app.create_url_adapter(request)
    while path and addresses is not None and not addresses.test(path, method="GET"):
        path = path.rpartition("/")[0]
    return path or "/"


def _way_back(path: str) -> str:
    """A path of ours: what begins like one may still lead elsewhere (`//`, `/\\`)."""
    leads_away = not path.startswith("/") or path[1:2] in ("/", "\\") or any(c < " " for c in path)
    return "/" if leads_away else path
