"""Every word on the studio's pages is in the catalogue, in every language."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from imagegen.engine.renderer import PHASES
from imagegen.parsing import _PATTERNS, _SENTENCES, IS_REQUIRED
from imagegen.web.studio.texts import LANGUAGES, texts_in
from imagegen.web.studio.told import translated

WEB = Path(__file__).parents[2] / "imagegen" / "web"
# The API's page is in the language of the API.
TEMPLATES = [path for path in (WEB / "templates").glob("*.html") if path.name != "docs.html"]
SCRIPTS = [path for path in (WEB / "static").glob("*.js") if path.name != "docs.js"]
ATTRIBUTES = ("light dark", "hidden disabled")  # words of HTML
HTML = {"width", "device", "initial", "scale", "same", "origin", "role", "tabindex", "autofocus"}
HTML |= {"aria", "describedby", "invalid"}
NAME = "imagegen"  # is said in every language
ENGLISH = texts_in("en").words


def places(text: str) -> list[str]:
    return sorted(re.findall(r"\{(\w*)\}", text))


@pytest.mark.parametrize("language", set(LANGUAGES) - {"en"})
def test_languages_have_the_same_texts_with_the_same_places(language: str) -> None:
    other = texts_in(language).words
    assert list(other) == list(ENGLISH)
    for key, text in ENGLISH.items():
        if not key.startswith("failure."):  # the API's own sentence says more
            assert places(other[key]) == places(text), key
        assert other[key].strip(), key
    assert sum(other[key] != text for key, text in ENGLISH.items()) > 0.8 * len(ENGLISH)


@pytest.mark.parametrize("path", list((WEB / "texts").iterdir()), ids=lambda path: path.name)
def test_no_section_is_there_twice(path: Path) -> None:
    sections = re.findall(r"^(\w+):", path.read_text(), flags=re.M)
    assert len(sections) == len(set(sections)), "YAML would take the last one without a word"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_holds_a_word(path: Path) -> None:
    template = re.sub(r"\{#.*?#\}", "", path.read_text(), flags=re.S)
    sentences = [
        literal
        for expression in re.findall(r"\{[{%].*?[%}]\}", template, flags=re.S)
        for literal in re.findall(r'"([^"]*)"', re.sub(r"\| *safe", "", expression))
        if re.search(r"\w [A-Za-z]", literal) and "=" not in literal and literal not in ATTRIBUTES
    ]
    assert sentences == []
    bare = re.sub(r"\{%.*?%\}", "", re.sub(r"\{\{.*?\}\}", "", template, flags=re.S), flags=re.S)
    said = re.findall(r'(?:aria-label|alt|title|placeholder|content)="([^"]*)"', bare)
    said += re.findall(r">([^<]*)", re.sub(r'"[^"]*"', "", bare))
    words = {word for text in said for word in re.findall(r"[^\W\d_]{2,}", text)}
    assert words - {NAME} - HTML == set()


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_holds_a_sentence(path: Path) -> None:
    script = re.sub(r"^\s*//.*$|\s// .*$", "", path.read_text(), flags=re.M)
    literals = re.findall(r"\"([^\"\n]*)\"|'([^'\n]*)'|`([^`]*)`", script)
    for literal in (a or b or c for a, b, c in literals):
        assert not re.search(r"[A-Z]\w+ [a-z]", literal), literal


def test_every_text_that_is_asked_for_is_there_and_every_one_is_asked_for() -> None:
    sources = [path.read_text() for path in [*TEMPLATES, *(WEB / "studio").glob("*.py")]]
    code = "\n".join(sources)
    scripts = "\n".join(path.read_text() for path in SCRIPTS)
    asked = set(re.findall(r'"([a-z_]+(?:\.[a-z_]+)+)"', code))
    asked |= {f"script.{key}" for key in re.findall(r'\bt\(\s*"([a-z_.]+)"', scripts)}
    asked |= {f"state.phase.{phase}" for phase in PHASES}
    known = {re.sub(r"\.(one|other)$", "", key) for key in ENGLISH}
    begun = re.findall(r'"([a-z_]+\.(?:[a-z_]+\.)*)(?:" ~|\{|"\))', code)
    begun += [f"script.{prefix}" for prefix in re.findall(r"\bt\(`([a-z_.]+\.)\$", scripts)]
    asked |= {key for key in known for prefix in begun if key.startswith(prefix)}
    assert known - asked - {"language"} == set(), "texts that nobody shows"
    sections = {key.partition(".")[0] for key in known}
    names = {key for key in asked if key.partition(".")[0] in sections}
    files = {key for key in names if key.endswith((".css", ".js", ".html"))}
    pages = set(re.findall(r'(?:url_for\(\s*|"nav\.[a-z]+", )"([a-z_.]+)"', code))
    assert names - known - files - set(ENGLISH) - pages == set(), "nobody wrote these"


def test_every_sentence_about_a_field_is_translated() -> None:
    spanish = texts_in("es")
    for sentence in (*_SENTENCES.values(), _PATTERNS["brand"], _PATTERNS["format"], IS_REQUIRED):
        said = re.sub(r"\{\w+\}", "7", sentence)
        assert translated(said, spanish) != said
    assert translated("is 8 x 8 pixels; 50,000,000 are taken at most", spanish).startswith("mide")
    assert translated("must be 0 or more", spanish) == "debe ser 0 o más"
    assert translated("Aurora does not allow 'casino'", spanish) == "Aurora no permite 'casino'"
    assert translated("is something new", spanish) == "is something new"


def test_no_sentence_is_taken_for_another() -> None:
    spanish = texts_in("es")
    for key, text in ENGLISH.items():
        section = f"{key.partition('.')[0]}."
        if section in ("fault.", "warning."):
            said, told = (re.sub(r"\{\w+\}", "7", one) for one in (text, spanish.words[key]))
            assert translated(said, spanish, section) == told, key


def test_whoever_reads_is_spoken_to_in_one_way() -> None:
    familiar = r"\b(tus?|tuyas?|elige|haz|querías|quieres|puedes|tienes|compara)\b"
    for key, text in texts_in("es").words.items():
        assert not re.search(familiar, text, re.IGNORECASE), key


def test_the_language_is_the_browser_s_until_somebody_chooses(client: FlaskClient) -> None:
    def heading(**headers: str) -> str:
        page = client.get("/", headers=headers)
        assert {"Accept-Language", "Cookie"} <= set(page.vary)
        return page.text

    assert '<html lang="en"' in heading()
    assert "Lock seed" in heading()
    assert '<html lang="es"' in heading(**{"Accept-Language": "fr, es-MX;q=0.8, en;q=0.5"})
    assert "Fijar semilla" in heading(**{"Accept-Language": "es"})
    assert '<html lang="en"' in heading(**{"Accept-Language": "fr"})
    with client.application.test_client() as other:
        answer = other.post("/studio/preferences", data={"language": "es", "back": "/?seed=7"})
        assert (answer.status_code, answer.location) == (303, "/?seed=7")
        assert "SameSite=Lax" in answer.headers["Set-Cookie"]
        spanish = other.get("/", headers={"Accept-Language": "en"}).text
        assert "Fijar semilla" in spanish
        said = re.search(r'data-texts="([^"]*)"', spanish)
        assert said
        texts = json.loads(said[1].replace("&#34;", '"').replace("&#39;", "'"))
        assert texts["copied"] == "Enlace copiado."


def test_the_theme_is_kept_and_nonsense_is_not(client: FlaskClient) -> None:
    with client.application.test_client() as other:
        assert 'data-theme="auto"' in other.get("/").text
        other.post("/studio/preferences", data={"theme": "dark", "back": "/"})
        assert 'data-theme="dark"' in other.get("/").text
        answer = other.post("/studio/preferences", data={"theme": "<x>", "language": "xx"})
        assert "Set-Cookie" not in answer.headers
        other.set_cookie("imagegen_theme", "<x>")
        assert 'data-theme="auto"' in other.get("/").text


@pytest.mark.parametrize(
    "back", ["//evil.example", "/\\evil.example", "https://evil.example", "", "/\t/evil.example"]
)
def test_the_way_back_stays_here(client: FlaskClient, back: str) -> None:
    answer = client.post("/studio/preferences", data={"theme": "dark", "back": back})
    assert answer.location == "/"


def test_other_sites_choose_nothing(client: FlaskClient) -> None:
    answer = client.post(
        "/studio/preferences", data={"theme": "dark"}, headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert answer.status_code == 403
