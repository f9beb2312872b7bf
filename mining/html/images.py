"""Formulas drawn as images: the TeX in an image's attributes or in its address.

Services that draw TeX carry it in the query (WordPress, codecogs, Zhihu, Jianshu, GitHub, Google charts), as the whole
query (mimetex, mathtex, CSDN) or in the path (upmath, Canvas, Texthelp).
"""

import re
from urllib.parse import unquote, urlsplit

from resiliparse.parse.html import ElementNode

from mining.html.asciimath import asciimath_to_latex
from mining.html.delimiters import clean_latex, looks_like_latex, strip_delimiters

MAY_BE_FORMULA = re.compile(
    r"\\(?:[A-Za-z]{2}|[()\[\]])|tex(?:=|\.cgi|\.(?:z-dn|s2cms)|help|ify\.com|render|[\"' ])|latex[.?&\"' /_]|upmath"
    r"|/math[/.?]|mathjax/tex|//math\.|[\"' ]math(?:[\"' ]|-)|equation[?_\"]|cht=tx|eeimg|formula[\"' ]|Wiris|«math"
    r"|&lt;math|alt=[\"']\s*\$[^$\"']+\$"
)
"""What the markup of an image has that may hold a formula."""

_SERVICE = re.compile(
    r"latex|(?:math|mime)?tex\.cgi|equation|/chart$|math/render|render/math|mathjax/tex|math\.|/math$|texhelp"
    r"|(?:^|[./])tex\."
)
_BARE_QUERY = re.compile(r"tex\.cgi|codecogs|latex\.\w+\.\w+/eq$|/(?:gif|svg|png|eq)\.(?:latex|image)$")
_IN_PATH = re.compile(
    r"(?:upmath\.me|s2cms\.ru|texthelp\.com)/(?:svg|png)(?:b?)/(.+)|/equation_images/(.+)|texify\.com/img/(.+)\.\w+$"
)
_AFTER = (
    r"(?:bg|fg|s|c|zoom|chs|chf|chco|cht|size|color|mode|dl|fmt|preview|consumer|font|dpi|theme|card|type|id|height)="
)
_QUERY = re.compile(rf"(?:^|&)(?:tex|latex|chl|formula|eq|math|from|inline|code|f|val)=(.*?)(?=&{_AFTER}|$)", re.DOTALL)
_SIZES = r"tiny|small|normalsize|large|Large|LARGE|huge|Huge"
_DRESS = re.compile(rf"\\(?:dpi|bg|fn|fg)(?:_\w+|\s*\{{[^}}]*\}})|\\(?:inline|{_SIZES})(?![A-Za-z])")
_ENTITIES = {"&space;": " ", "&plus;": "+", "&amp;": "&", "&sol;": "/", "&hash;": "#", "&quot;": '"'}

_ADDRESSES = ("src", "data-src", "data-original", "data-actualsrc", "data-lazy-src", "data-original-src")
_SOURCES = ("data-formula", "data-latex", "data-equation-content", "data-alt", "source", "alt", "title")
_SURE_CLASS = re.compile(
    r"\b(?:latex\w*|tex|texrender|math|mathcode|mwe-math\S*|equation|equation_image|formula|ee_img|ql-img-\S+)(?![\w])"
)
# Wolfram's pages write their alternative texts in a linear notation of their own that AsciiMath reads.
_LINEAR_CLASS = re.compile(r"\b(?:inlineformula|displayformula|numberedequation)\b", re.IGNORECASE)
_DISPLAY_CLASS = re.compile(r"display|numberedequation|latexcenter|ztext-math-block", re.IGNORECASE)
_HABR = re.compile(r"^(?:\$\$display\$\$(.*)\$\$display\$\$|\$inline\$(.*)\$inline\$)$", re.DOTALL)
_FILE = re.compile(r"\.[A-Za-z]\w{2,3}$")


def formula_of_image(element: ElementNode) -> tuple[str, bool] | None:
    """LaTeX and whether it is displayed, from the attributes of an image or its placeholder; None for a picture."""
    classes = element.class_name or ""
    addresses = [
        address for name in _ADDRESSES if (address := element.getattr(name) or "") and not address.startswith("data:")
    ]
    query = next((latex for address in addresses if (latex := tex_in_address(address))), "")
    sure = bool(query or _SURE_CLASS.search(classes) or any(_is_service(address) for address in addresses))
    block = bool(_DISPLAY_CLASS.search(classes)) or element.getattr("eeimg") == "2" or _stands_alone(element)
    for name in _SOURCES:
        latex, display = _bare(element.getattr(name) or "")
        linear = bool(latex and "\\" not in latex and _LINEAR_CLASS.search(classes))
        if linear:
            return asciimath_to_latex(latex), block
        # An address that carries TeX outranks an alt text of words ("equation").
        if "\\" in query and "\\" not in latex:
            continue
        is_meant = sure or "\\" in latex or display is not None
        if is_meant and looks_like_latex(latex) and not _FILE.search(latex):
            return _ended(latex, bool(display) or block)
    return _ended(query, block) if query else None


def tex_in_address(address: str) -> str:
    """The TeX that an image's address carries, empty where it carries none."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    place = f"{parts.netloc}{parts.path}"
    lower = place.lower()
    in_path = _IN_PATH.search(place)
    if in_path:
        # A hash or question mark of the formula, left unescaped, parts the address.
        return _undressed(unquote(in_path[1] or unquote(in_path[2] or "") or in_path[3] or ""))
    if not _SERVICE.search(lower) or (lower.endswith("/chart") and "cht=tx" not in parts.query):
        return ""
    query = parts.query + (f"#{parts.fragment}" if parts.fragment else "")
    if "__latex" in lower:
        query = parts.fragment
    match = None if _BARE_QUERY.search(lower) else _QUERY.search(query)
    if match:
        return _undressed(unquote(match[1].replace("+", " ")))
    return _undressed(unquote(query)) if _BARE_QUERY.search(lower) else ""


def _undressed(latex: str) -> str:
    for entity, char in _ENTITIES.items():
        latex = latex.replace(entity, char)
    return strip_delimiters(clean_latex(_DRESS.sub("", latex)).replace("\\$", "").strip("$"))[0]


def _bare(source: str) -> tuple[str, bool | None]:
    if "$" in source and (habr := _HABR.match(source.strip())):
        return clean_latex(habr[1] or habr[2] or ""), habr[1] is not None
    return strip_delimiters(source.removeprefix("LaTeX:"))


def _ended(latex: str, display: bool) -> tuple[str, bool]:
    """Zhihu marks a display formula by a line break at its end."""
    return (latex[:-2].rstrip(), True) if latex.endswith("\\\\") else (latex, display)


def _is_service(address: str) -> bool:
    """Whether the address, without what it asks, is that of a drawing service or of a folder of formulas."""
    return any(part in address for part in ("latex", "tex.cgi", "equation?", "math/render", "/math/", "tex.z-dn"))


def _stands_alone(element: ElementNode) -> bool:
    """Whether an image is all that its block holds, or stands in a block of mathematics beside its number."""
    parent = element.parent_element
    if parent is None or parent.tag not in ("p", "div", "center", "dd", "figure"):
        return False
    if parent.child_element_count == 1 and not (parent.text_content or "").strip():
        return True
    block = parent if parent.tag == "div" else parent.parent_element
    return block is not None and block.tag == "div" and "math" in (block.class_name or "").split()
