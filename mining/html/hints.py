"""Which elements of a page may be formulas: a selector for them, read off the page's characters before it is queried.

Most pages have none and must pay next to nothing; the others pay for the selectors they need. Selectors of tags cost
twice those of attributes, and each element that matches costs 3 us, so that neither the glyphs of KaTeX ("mord
mathnormal") nor running text with delimiters ("process-math") may match.
"""

import re

from mining.html.images import MAY_BE_FORMULA

_MATH_SCRIPT = r"cript\s+(?=(?:id=[^\s<>]+\s+)?type=[\"']?math/)"
_SPAN = (
    r"pan\s+(?:class=[\"']?(?:katex|wp-katex|MathJax|arithmatex|asciimath|texhtml|ql-formula|span-(?:in|bl)|"
    r"(?:tex|latex|formula|equation)(?=[\"'\s>]))|data-(?:tex|formula|latex|eq))"
)
_TAGS = r"SU[BP](?=[\s>])|m(?:ath(?=[\s>-])|jx-c|(?:ml)?:math)"
_NAMED = rf"dt?-math|tex-math|la-tex|eqn?(?=[\s>])|(?:img|IMG)(?=\s[^<>]*?(?:{MAY_BE_FORMULA.pattern}))"
# No pattern may run past the next tag, as a page of tags that never close would take quadratic time. A literal first
# character lets the search skip from tag to tag.
_HINT = re.compile(rf"<(s(?:u[bp](?=[\s>])|{_MATH_SCRIPT}|{_SPAN})|{_TAGS}|{_NAMED})")
_MATH_CLASS = re.compile(
    r"math(?:(?<=class=.math)(?=[\"' -]|jax-tex)|(?<=class=math)(?=[ >-])|(?<=[\" ]math)(?=\"[ >])|(?<=mwe-math)"
    r"|(?<=ztext-math)|(?<=guage-math)|(?<=s-render-math)|(?<=class=.asciimath)"
    r"|(?<=[\" ]math)-(?:tex|inline|display|block|con))"
)
_TAG_HINT = re.compile(
    r"<(?:su[bp]|SU[BP]|script|m(?:ath|jx-c|(?:ml)?:math)|dt?-math|tex-math|la-tex|eq|"
    r"span\s+(?:data-|class=[\"']?(?:katex|wp-katex|MathJax|arithmatex|asciimath|tex|ql-formula|span-|latex|formula|equation))|"
    r"(?:img|IMG)\s[^<>]*?(?:tex[=.hir\"' ?&/_]|math|equation|cht=tx|eeimg|formula|Wiris|[\\$]))",
    re.ASCII,
)
_WORD_HINT = re.compile("math|MathJax-Element")
_CODE_HINT = re.compile("(?i:<(?:pre|code|textarea))|jax_ignore", re.ASCII)
HINT_OF_TAG, HINT_OF_WORD, HINT_OF_CODE = 1, 2, 4
ALL_HINTS = HINT_OF_TAG | HINT_OF_WORD | HINT_OF_CODE
"""What has to be assumed of a page that nobody has looked at."""
_CLASS_SELECTOR = '[class*="ath"]:not([class*="s-math"]):not([class*="d math"])'
_NAMED_SELECTOR = (
    ".katex, .katex-display, .katex-error, .katex--inline, .katex--display, .katex-eq, .wp-katex-eq, .arithmatex, "
    ".asciimath, .texhtml, .tex, .latex, .formula, .equation, .ql-formula, [data-tex], [data-formula], "
    "[data-latex]:not([data-mjx-texclass]), [data-equation], [class^=MathJax], tex-math, d-math, dt-math, "
    "la-tex, eq, eqn"
)
_SELECTORS = {
    "su": "sup, sub", "sc": 'script[type^="math/"]', "im": "img",
    "ma": "math, math-renderer, math-field, .ltx_eqn_table, .katex, .katex-display, .mwe-math-element",
    "mj": "mjx-container", "m:": "m\\:math", "mm": "mml\\:math", "": _NAMED_SELECTOR,
}  # fmt: skip
"""What to select where a hint begins so."""


def hints_in(html: str) -> int:
    """What of ALL_HINTS a page has: for formulas less than the patterns of `formula_selector` ask, as C can look for.

    HINT_OF_CODE: the page may have elements whose text no typesetter reads.
    """
    return (
        HINT_OF_TAG * bool(_TAG_HINT.search(html))
        | HINT_OF_WORD * bool(_WORD_HINT.search(html))
        | HINT_OF_CODE * bool(_CODE_HINT.search(html))
    )


def formula_selector(html: str, hints: int = ALL_HINTS) -> str:
    """The selector of the elements that may be formulas; empty for a page that has none, as most pages.

    hints: what `hints_in` finds in the page.
    """
    starts = {name[:2].lower() for name in set(_HINT.findall(html))} if hints & HINT_OF_TAG else ()
    selectors = {_SELECTORS.get(start, _NAMED_SELECTOR): None for start in sorted(starts)}
    if not hints & HINT_OF_WORD:
        return ", ".join(selectors)
    if "MathJax-Element" in html:
        selectors['.mjx-chtml, .MJXp-display, [class*="MathJax"]'] = None
    elif 'data-mml-node="math"' in html and "mjx-container" not in html:
        selectors["svg"] = None
    if _MATH_CLASS.search(html):
        selectors[_CLASS_SELECTOR] = None
    return ", ".join(selectors)
