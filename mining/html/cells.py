"""Code that pages keep in scripts for a live cell -> preformatted text in the cell's place: Sage cells, quarto-webr."""

import json
import re
from html import escape

_SAGE, _WEBR = "text/x-sage", "qwebrCellDetails"
_SAGE_OPENING = re.compile(rf"<script[^<>]*\btype=[\"']?{re.escape(_SAGE)}[^<>]*>")
_SCRIPT_END = "</script>"
_WEBR_CELLS = re.compile(rf"{_WEBR}\s*+=\s*+(?=\[)")
_WEBR_PLACE = re.compile(r"<div id=[\"']qwebr-insertion-location-(\d{1,6})[\"'][^<>]*>")


def has_code_cells(scripts: str) -> bool:
    """Whether a page's scripts hold the code of cells."""
    return _SAGE in scripts or _WEBR in scripts


def with_code_cells(html: str) -> str:
    """The page with the code of its cells as preformatted text; a page whose cells cannot be read stays as it is."""
    if _SAGE in html:
        html = _with_sage_cells(html)
    match = _WEBR_CELLS.search(html)
    return _with_webr_cells(html, match.end()) if match else html


def _with_sage_cells(html: str) -> str:
    parts: list[str] = []
    done = 0
    while opening := _SAGE_OPENING.search(html, done):
        end = html.find(_SCRIPT_END, opening.end())
        if end < 0:
            break
        parts += (html[done : opening.start()], _preformatted(html[opening.end() : end]))
        done = end + len(_SCRIPT_END)
    return "".join((*parts, html[done:]))


def _with_webr_cells(html: str, start: int) -> str:
    try:
        cells, _ = json.JSONDecoder().raw_decode(html, start)
    except (ValueError, RecursionError):
        return html
    code = {
        str(cell.get("id")): cell["code"]
        for cell in cells
        if isinstance(cell, dict) and isinstance(cell.get("code"), str)
    }
    # A cell without a place of its own is one that the page runs and does not show.
    return _WEBR_PLACE.sub(lambda place: place[0] + _preformatted(code.pop(place[1], "")), html)


def _preformatted(code: str) -> str:
    code = code.strip("\n")
    return f"<pre>{escape(code, quote=False)}</pre>" if code.strip() else ""
