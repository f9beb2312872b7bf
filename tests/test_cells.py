"""Code of live cells stands in the text where the page shows it, once; nothing else of the scripts does."""

import json
import time

import pytest

from mining.html.cells import with_code_cells
from mining.html.extract import ExtractConfig, extract

MATHJAX = "<script>MathJax = {}</script>"
PROSE = "<p>The matrix below has two eigenvalues, and one of them is zero, as its determinant says.</p>"


def text_of(body: str) -> str:
    return extract(f"<html><head>{MATHJAX}</head><body>{body}</body></html>", "u", ExtractConfig()).text


def test_sage_cells_are_code_in_their_place():
    sage = '<script type="text/x-sage">A = matrix([[1, 2], [2, 4]])\nprint(1 < 2)\n</script>'
    text = text_of(f"{PROSE}<div class=sagecell-sage>{sage}</div>{PROSE}<script type=text/x-sage>\n</script>")
    before, _, after = text.partition("A = matrix([[1, 2], [2, 4]])\nprint(1 < 2)")
    assert "eigenvalues" in before and "eigenvalues" in after and text.count("matrix([[") == 1


def test_cells_of_quarto_webr_are_code_in_their_places():
    cells = [
        {"id": 2, "code": "y <- x^2\nplot(x, y)", "options": {}},
        {"id": 1, "code": "x <- 1:3"},
        {"id": 3, "code": "set.seed(1)"},
        {"id": 4, "code": None},
    ]
    places = "".join(f'{PROSE}<div id="qwebr-insertion-location-{n}"></div>' for n in (1, 2, 4, 2))
    text = text_of(f"<script>globalThis.qwebrCellDetails = {json.dumps(cells)};\nrun()</script>{places}")
    assert text.index("x <- 1:3") < text.index("y <- x^2\nplot(x, y)")
    assert text.count("plot(x, y)") == 1 and "set.seed" not in text and "run()" not in text


@pytest.mark.parametrize(
    "page",
    [
        '<script type="text/x-sage">A = 1',
        "<script>qwebrCellDetails = [{</script>",
        "<script>qwebrCellDetails = 3</script>",
        '<script>qwebrCellDetails = [1, null, {"id": 1}]</script><div id="qwebr-insertion-location-1"></div>',
        f"<script>qwebrCellDetails = {'[' * 20_000}</script>",
    ],
)
def test_cells_that_cannot_be_read_change_nothing(page):
    assert with_code_cells(page) == page


@pytest.mark.parametrize("piece", ['<script type="text/x-sage">', "<script type=", "<script ", "qwebrCellDetails = ["])
def test_no_cells_take_quadratic_time(piece):
    started = time.process_time()
    with_code_cells(piece * (200_000 // len(piece)))
    assert time.process_time() - started < 2
