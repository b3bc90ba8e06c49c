"""The contact sheet: one HTML file beside a batch's pictures, to look through and hand on.

It needs nothing but the pictures beside it: no address is asked, no script comes from elsewhere,
and its own policy (CSP) forbids both. Without its script it shows everything, unfiltered.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

from imagegen.generation import GeneratedImage

_STYLE = """\
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 2rem; }
h1 { font-size: 1.4rem; margin: 0 0 .75rem; }
form { display: flex; flex-wrap: wrap; gap: .75rem; align-items: baseline; margin: 0 0 1.25rem; }
input, select { font: inherit; padding: .25rem .4rem; }
.sheet { display: grid; gap: 1.5rem; padding: 0; margin: 0; list-style: none;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr)); }
.sheet > li { content-visibility: auto; contain-intrinsic-size: auto 20rem; }
figure { margin: 0; }
img { display: block; width: 100%; height: auto; border-radius: 6px; background: #8882; }
.none { padding: 1rem; border: 1px dashed #8888; border-radius: 6px; }
figcaption { margin-top: .5rem; overflow-wrap: anywhere; }
.fine { opacity: .75; font-size: .85rem; }
[hidden] { display: none !important; }
"""

_SCRIPT = """\
'use strict';
const form = document.querySelector('form');
const cards = [...document.querySelectorAll('.sheet > li')];
const shown = document.querySelector('output');
const texts = cards.map(card => card.textContent.toLowerCase());
for (const name of ['brand', 'status']) {
  const values = [...new Set(cards.map(card => card.dataset[name]))].filter(Boolean).sort();
  form.elements[name].append(...values.map(value => new Option(value)));
}
function filter() {
  const {brand, status, text} = form.elements;
  const words = text.value.toLowerCase().split(/\\s+/).filter(Boolean);
  let count = 0;
  cards.forEach((card, at) => {
    const fits = (!brand.value || card.dataset.brand === brand.value)
      && (!status.value || card.dataset.status === status.value)
      && words.every(word => texts[at].includes(word));
    card.hidden = !fits;
    count += fits;
  });
  shown.value = `${count.toLocaleString()} of ${cards.length.toLocaleString()}`;
}
form.addEventListener('input', filter);
form.addEventListener('submit', event => event.preventDefault());
form.hidden = false;
filter();
"""


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


_HEAD = f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src 'self' file:; \
style-src '{_digest(_STYLE)}'; script-src '{_digest(_SCRIPT)}'; form-action 'none'; \
base-uri 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%(title)s</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>%(title)s</h1>
<form hidden>
<label>Brand <select name="brand"><option value="">all</option></select></label>
<label>Status <select name="status"><option value="">all</option></select></label>
<label>Text <input name="text" type="search"></label>
<output class="fine"></output>
</form>
<ul class="sheet">
"""

_TAIL = f"""\
</ul>
<script>{_SCRIPT}</script>
</body>
</html>
"""


@dataclass(frozen=True)
class SheetRow:
    """A row of the script, as far as the sheet tells of it."""

    line: int
    status: str
    brand: str
    prompt: str
    error: str


def page_head(title: str) -> str:
    """Everything before the first card."""
    return _HEAD.replace("%(title)s", escape(title))


def page_tail() -> str:
    """Everything behind the last card."""
    return _TAIL


def card(row: SheetRow, file: str | None = None, image: GeneratedImage | None = None) -> str:
    """One picture, which lies beside the sheet as `file`; or a row without any, and why."""
    about = f"{escape(row.brand)} · line {row.line}"
    if file is None or image is None:
        shown = f'<div class="none">{escape(row.error or row.status)}</div>'
    else:
        about = f"{escape(row.brand)} · seed {image.seed} · line {row.line}"
        href = escape("./" + quote(file))
        shown = (
            f'<a href="{href}"><img src="{href}" alt="{escape(row.prompt)}" width="{image.width}" '
            f'height="{image.height}" loading="lazy"></a>'
        )
    return (
        f'<li data-brand="{escape(row.brand)}" data-status="{row.status}"><figure>{shown}\n'
        f'<figcaption>{escape(row.prompt)}<br><span class="fine">{about}</span></figcaption>'
        "</figure></li>\n"
    )
