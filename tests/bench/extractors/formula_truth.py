"""Formulas that a real page's own source states beyond doubt, found without any code of `mining.html`, and whether an
extractor's text holds them."""

import html as html_module
import re
from collections import Counter
from dataclasses import dataclass

import lxml.html

MIN_LETTERS = 6
MAX_LETTERS = 600
_SCRIPT = re.compile(r"""<script[^>]+type=["']?math/tex[^>]*>(.*?)</script""", re.DOTALL | re.IGNORECASE)
_CDATA = re.compile(r"%?\s*<!\[CDATA\[|%?\s*\]\]>")
_ANNOTATION = re.compile(
    r"""<annotation[^>]+encoding=["']?application/x-tex["']?[^>]*>(.*?)</annotation""", re.DOTALL | re.IGNORECASE
)
_ALTTEXT = re.compile(r"""<math\b[^>]*?\balttext=(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)
_LATEX_IMAGE = re.compile(r"""<img\b[^>]*\bclass=["'](?:latex|tex|mwe-math-fallback[^"']*)["'][^>]*>""", re.IGNORECASE)
_ALT = re.compile(r"""\balt=(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_TYPESETTER = re.compile(r"mathjax|auto-render|katex(?:\.min)?\.js|renderMathInElement", re.IGNORECASE)
_DOLLAR_DECLARED = re.compile(r"""inlineMath["']?\s*:\s*[{\[](?:[^;]{0,80})['"]\$['"]|left:\s*['"]\$['"]""")
_PAIRS = (
    re.compile(r"\\\((.{1,600}?)\\\)", re.DOTALL),
    re.compile(r"\\\[(.{1,900}?)\\\]", re.DOTALL),
    re.compile(r"(?<![\\$])\$\$(?!\$)([^$]{1,900})\$\$(?!\$)"),
)
_DOLLARS = re.compile(r"(?<![\\$])\$(?!\$)([^$\n]{1,400}?)(?<!\\)\$(?!\$)")
_TEX_LIKE = re.compile(r"[\\^_=]")
# Where no formula of the page's content stands, or where a typesetter put its own output.
_NOT_CONTENT = (
    "//script|//style|//noscript|//template|//head|//textarea|//pre|//code|//nav|//aside|//footer|//comment()"
    "|//math|//*[contains(@class,'MathJax') or contains(@class,'katex') or contains(@class,'sidebar')"
    " or contains(@class,'related')]|//*[local-name()='mjx-container']"
)
_BLOCK = frozenset(
    ("p", "div", "li", "td", "th", "tr", "dd", "dt", "h1", "h2", "h3", "h4", "h5", "h6", "section", "article", "main",
     "blockquote", "figcaption", "table", "ul", "ol", "dl", "header", "center")
)  # fmt: skip
_DEFINITION = re.compile(r"\\(?:newcommand|renewcommand|def|let|DeclareMathOperator|require)(?![a-zA-Z])")
_DEFINED = re.compile(
    r"\\(?:re|provide)?newcommand\*?\s*\{?\s*\\([A-Za-z]+)|\\def\s*\\([A-Za-z]+)"
    r"|MathOperator\*?\s*\{?\s*\\([A-Za-z]+)|(?:(?<=[{,])|^)\s*[\"']?\\{0,2}([A-Za-z]+)[\"']?\s*:\s*(?:\[\s*)?[\"']",
    re.MULTILINE,
)
_COMMANDS = re.compile(
    r"\\\\|\\(?:displaystyle|textstyle|left|right|limits|nolimits)(?![a-zA-Z])|\\(?:label|tag\*?)\s*\{[^}]*\}"
    # PreTeXt closes sentences inside the formula: \(x\text{.}\)
    r"|\\text\s*\{\s*[.,;:]\s*\}"
)
_SPACING = re.compile(r"\\(?:quad|qquad|[,;:! ])")
_DROPPED = re.compile(r"[\s{}$]|\\(?![a-zA-Z])")
_SYNONYMS = {"lt": "<", "gt": ">", "leq": "\\le", "geq": "\\ge", "neq": "\\ne", "dfrac": "\\frac", "tfrac": "\\frac"}
_SYNONYM = re.compile(rf"\\({'|'.join(_SYNONYMS)})(?![a-zA-Z])")


@dataclass(frozen=True, slots=True)
class Truth:
    """The formulas of one page in their bare form."""

    formulas: tuple[str, ...]
    """Distinct formulas of MIN_LETTERS or more: shorter ones are found anywhere by accident."""
    source: str
    """All that the page states, bare: how often a formula may stand in its text."""


def bare(latex: str) -> str:
    """LaTeX without white space, braces, spacing commands and other marks that do not change what it says.

    Applied to the truth and to the whole text of every extractor alike, Markdown's escapes fall away with it.
    """
    latex = _SYNONYM.sub(lambda match: _SYNONYMS[match.group(1)], _COMMANDS.sub("", latex))
    return _DROPPED.sub("", _SPACING.sub("", latex))


def truth_of(html: str) -> Truth:
    """The formulas that scripts, annotations, alternative texts and declared delimiters of the page state."""
    stated = [_of_scripts(html), _of_matches(_ANNOTATION, html), _of_matches(_ALTTEXT, html), _of_images(html)]
    body = _body_text(html)
    active = _COMMENT.sub("", html)
    delimited = (
        _delimited(body, with_dollars=bool(_DOLLAR_DECLARED.search(active))) if _TYPESETTER.search(active) else []
    )
    stated.append(delimited)
    # One formula is often stated twice, as annotation and alttext say; the page shows it as often as its best source.
    counts: Counter[str] = Counter()
    for source in stated:
        counts |= Counter(source)
    # An extractor may write the page's own macros out or leave them: neither is a loss.
    macros = {f"\\{name}" for names in _DEFINED.findall(html) for name in names if name and name not in _SYNONYMS}
    chosen = tuple(
        one for one in counts if MIN_LETTERS <= len(one) <= MAX_LETTERS and not any(macro in one for macro in macros)
    )
    unseen = counts - Counter(delimited)
    return Truth(chosen, bare(body) + "\n" + "\n".join(unseen.elements()))


def kept_and_repeated(truth: Truth, text: str) -> tuple[int, int]:
    """(formulas that stand in the text, formulas that stand there more often than the page states them).

    A formula counts as repeated only if the surplus is not owed to a longer formula around it.
    """
    plain = bare(text)
    num_kept = num_repeated = 0
    for formula in truth.formulas:
        num_there = plain.count(formula)
        num_kept += num_there > 0
        num_repeated += num_there > max(1, truth.source.count(formula))
    return num_kept, num_repeated


def _of_scripts(html: str) -> list[str]:
    return [bare(_CDATA.sub("", one)) for one in _SCRIPT.findall(html) if not _DEFINITION.search(one)]


def _of_matches(pattern: re.Pattern[str], html: str) -> list[str]:
    found = (next(filter(None, match.groups()), "") for match in pattern.finditer(html))
    return [bare(html_module.unescape(one)) for one in found]


def _of_images(html: str) -> list[str]:
    return [one for image in _LATEX_IMAGE.findall(html) for one in _of_matches(_ALT, image)]


def _body_text(html: str) -> str:
    """The body's text, a line break at every block."""
    try:
        tree = lxml.html.document_fromstring(
            html.encode("utf-8", "replace"), parser=lxml.html.HTMLParser(encoding="utf-8")
        )
    except (ValueError, lxml.etree.LxmlError):
        return ""
    for element in tree.xpath(_NOT_CONTENT):
        if element.getparent() is not None:
            element.drop_tree()
    parts: list[str] = []
    for event, element in lxml.etree.iterwalk(tree, events=("start", "end")):
        if not isinstance(element.tag, str):
            continue
        broken = "\n" if element.tag in _BLOCK else ""
        if event == "start":
            parts += (broken, element.text or "")
        else:
            parts += (broken, element.tail or "")
    return "".join(parts)


def _delimited(body: str, *, with_dollars: bool) -> list[str]:
    found = []
    for pattern in _PAIRS:
        found += pattern.findall(body)
        body = pattern.sub(" ", body)
    if with_dollars:
        for line in body.split("\n"):
            # An odd dollar is a price or a typing slip: no telling which two belong together.
            if line.count("$") % 2 == 0:
                found += [one for one in _DOLLARS.findall(line) if _TEX_LIKE.search(one)]
    return [bare(one) for one in found if "\n\n" not in one and not _DEFINITION.search(one)]
