"""The contact sheet: one HTML file beside a batch's pictures, to look through and hand on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }}
body {{ margin: 2rem; }}
h1 {{ font-size: 1.4rem; margin: 0 0 .25rem; }}
.sheet {{ display: grid; gap: 1.5rem; padding: 0; list-style: none;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr)); }}
figure {{ margin: 0; }}
img {{ display: block; width: 100%; height: auto; border-radius: 6px; background: #8882; }}
figcaption {{ margin-top: .5rem; overflow-wrap: anywhere; }}
.fine {{ opacity: .75; font-size: .85rem; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p class="fine">{summary}</p>
<ul class="sheet">
{pictures}</ul>
{failures}</body>
</html>
"""

_PICTURE = """\
<li><figure><a href="{href}"><img src="{href}" alt="{prompt}" width="{width}" height="{height}" \
loading="lazy"></a>
<figcaption>{prompt}<br><span class="fine">{brand} · seed {seed} · line {line}</span></figcaption>\
</figure></li>
"""


@dataclass(frozen=True)
class SheetPicture:
    """A picture and what was asked for; `file` lies beside the sheet."""

    file: str
    line: int
    brand: str
    prompt: str
    seed: int
    width: int
    height: int


def contact_sheet(title: str, pictures: Sequence[SheetPicture], failures: Sequence[str]) -> str:
    """One page of HTML with relative links, readable from a disk, a share or an unpacked zip."""
    return _PAGE.format(
        title=escape(title),
        summary=f"{len(pictures):,} pictures"
        + (f", {len(failures):,} rows without" if failures else ""),
        pictures="".join(map(_picture, pictures)),
        failures=_failures(failures),
    )


def _picture(picture: SheetPicture) -> str:
    return _PICTURE.format(
        href=escape("./" + quote(picture.file)),
        line=picture.line,
        brand=escape(picture.brand),
        prompt=escape(picture.prompt),
        seed=picture.seed,
        width=picture.width,
        height=picture.height,
    )


def _failures(failures: Sequence[str]) -> str:
    if not failures:
        return ""
    lines = "".join(f"<li>{escape(failure)}</li>\n" for failure in failures)
    return f"<h2>Rows without pictures</h2>\n<ul>\n{lines}</ul>\n"
