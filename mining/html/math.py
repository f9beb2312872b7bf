"""Every web encoding of a formula -> a mark of delimited LaTeX in the page's tree, one handler a function.

`mark_formulas` edits the tree: each formula element becomes a text node that holds its mark, and what is drawn beside
the source (previews, glyph spans, fallback images) goes, so that each formula comes out once. Delimiters in running
text are read after extraction (`mining.html.delimiters`); this module only hides code from them.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from resiliparse.parse.html import ElementNode, HTMLTree, Node

from mining.html.asciimath import asciimath_to_latex
from mining.html.delimiters import (
    MASKED_BACKSLASH,
    MASKED_DOLLAR,
    MASKED_TICK,
    SCRIPT_END,
    SUB,
    SUP,
    clean_latex,
    looks_like_latex,
    mark,
    strip_delimiters,
)
from mining.html.mathml import mathml_to_latex, tex_annotation

MAX_FORMULAS = 20_000
"""Formula elements read in one page; those after it keep the form the page gives them."""


@dataclass(frozen=True, slots=True)
class Formula:
    """What a handler reads from an element. Empty `latex`: a formula that is there but cannot be read."""

    kind: str
    latex: str
    display: bool = False


REMOVE = Formula("", "")
"""The handler's answer for what is drawn beside a formula's source."""

_NEEDLES = ("math", "atex", "MathJax", "<su", "tex=", "metex")
# One pass for everything: its cost is the number of selectors, so class names are met by what they have in common
# ("math", "MathJax", "mwe-math-element"; "katex", "arithmatex", "latex"), and `_read` tells them apart.
_SELECTOR = (
    'math, script[type^="math/"], mjx-container, math-renderer, sup, sub, [class*="ath"], [class*="atex"], [data-tex], '
    '[id^="MathJax_"], img[src*="tex"], img[src*="math"], img[src*="chart?"], img[alt*="\\\\"], img[alt^="$"]'
)


def needs_formula_work(html: str) -> bool:
    """Whether a page can hold formulas in its markup; a few substring scans, so that most pages pay nothing more."""
    return any(needle in html for needle in _NEEDLES)


def mark_formulas(tree: HTMLTree) -> Counter[str]:
    """Formulas found by kind; in the tree each readable one has become a mark."""
    root = tree.document
    found: Counter[str] = Counter()
    if root is None:
        return found
    plan: list[tuple[ElementNode, str]] = []
    outer: ElementNode | None = None
    for element in root.query_selector_all(_SELECTOR).values()[:MAX_FORMULAS]:
        if outer is not None and outer.contains(element):
            continue
        answer = _read(element)
        if answer is None:
            continue
        if isinstance(answer, Formula) and answer is not REMOVE:
            found[answer.kind] += 1
        outer = element
        plan.append((element, _replacement(answer)))
    for element, text in plan:
        element.replace_with(*((tree.create_text_node(text),) if text else ()))
    return found


def mask_code(tree: HTMLTree) -> None:
    """Hides dollars, backslashes and backticks of code from the search for delimiters, as typesetters skip code."""
    root = tree.document
    if root is None:
        return
    outer: ElementNode | None = None
    for element in root.query_selector_all("pre, code, textarea, .tex2jax_ignore, .mathjax_ignore").values():
        text = element.text_content or ""
        if not ("$" in text or "\\" in text or "`" in text) or (outer is not None and outer.contains(element)):
            continue
        outer = element
        # Through the markup and not node by node: highlighted code has thousands of nodes, each a Python object.
        markup = element.inner_html.replace("$", MASKED_DOLLAR).replace("\\", MASKED_BACKSLASH)
        element.inner_html = markup.replace("`", MASKED_TICK)


def _replacement(answer: "Formula | str") -> str:
    if isinstance(answer, str):
        return answer
    return mark(answer.latex, answer.kind, display=answer.display) if answer.latex else ""


def _read(element: ElementNode) -> "Formula | str | None":
    """What an element becomes: a formula, plain text with script marks, REMOVE, or None to leave it alone."""
    tag = element.tag or ""
    if tag in _BY_TAG:
        return _BY_TAG[tag](element)
    for name in (element.class_name or "").split():
        if name in _BY_CLASS:
            return _BY_CLASS[name](element)
    if element.has_attribute("data-tex"):
        return data_tex(element)
    return REMOVE if (element.id or "").startswith("MathJax_") else None


def mathml(element: ElementNode) -> Formula:
    """`<math>`: LaTeXML's alttext or a TeX annotation where there is one, else the tree itself."""
    latex = clean_latex(tex_annotation(element))
    alttext = element.getattr("alttext") or ""
    if not latex and ("\\" in alttext or "^" in alttext or "_" in alttext or "ltx_" in (element.class_name or "")):
        latex = clean_latex(alttext)
    display = element.getattr("display") == "block" or (element.getattr("mode") == "display")
    return Formula("mathml", latex or clean_latex(mathml_to_latex(element)), display)


def tex_script(element: ElementNode) -> Formula:
    """`<script type="math/tex">`, `; mode=display`, `math/mml` and `math/asciimath`: the source MathJax 2 keeps."""
    kind = (element.getattr("type") or "").lower()
    source = element.text_content or ""
    display = "mode=display" in kind.replace(" ", "")
    if "mml" in kind:
        math = _parsed_math(source)
        return Formula("script", mathml(math).latex if math else "", math is not None and mathml(math).display)
    if "ascii" in kind:
        return Formula("asciimath", asciimath_to_latex(source), display)
    latex, own_display = strip_delimiters(clean_latex(source))
    return Formula("script", latex, display or bool(own_display))


def katex(element: ElementNode) -> Formula | None:
    """Rendered KaTeX: its annotation or MathML half; the HTML half and any copy of it goes."""
    classes = (element.class_name or "").split()
    display = "katex-display" in classes or element.closest(".katex-display") is not None
    math = element.query_selector("math")
    if math is not None:
        return Formula("katex", mathml(math).latex, display or math.getattr("display") == "block")
    if "katex-error" in classes:
        return Formula("katex", strip_delimiters(element.text_content or "")[0], display)
    if element.query_selector(".katex-html") is not None:
        return Formula("katex", "", display)
    return None


def mathjax_2(element: ElementNode) -> Formula | str | None:
    """Rendered MathJax 2: nothing where its source script follows, else its MathML copy."""
    sibling = element.next_element_sibling
    for _ in range(3):
        if sibling is None:
            break
        if sibling.tag == "script" and (sibling.getattr("type") or "").startswith("math/"):
            return REMOVE
        sibling = sibling.next_element_sibling
    if "MathJax_Preview" in (element.class_name or ""):
        return None if (element.text_content or "").strip() else REMOVE
    display = "Display" in (element.class_name or "")
    math = element.query_selector("math")
    if math is None:
        holder = element if element.has_attribute("data-mathml") else element.query_selector("[data-mathml]")
        math = _parsed_math(holder.getattr("data-mathml") or "") if holder is not None else None
    return Formula(
        "mathjax", mathml(math).latex if math else "", display or (math is not None and mathml(math).display)
    )


def mathjax_3(element: ElementNode) -> Formula:
    """`<mjx-container>` of MathJax 3 and 4: assistive MathML, else the LaTeX that version 4 notes beside its glyphs."""
    display = element.getattr("display") in ("true", "block")
    math = element.query_selector("math")
    if math is not None:
        return Formula("mathjax", mathml(math).latex, display or math.getattr("display") == "block")
    holder = element if element.has_attribute("data-latex") else element.query_selector("[data-latex]")
    return Formula("mathjax", clean_latex(holder.getattr("data-latex") or "") if holder else "", display)


def wikipedia(element: ElementNode) -> Formula | None:
    """MediaWiki's pair of hidden MathML and fallback image: one formula."""
    image = element.query_selector("img")
    math = element.query_selector("math")
    display = "display" in " ".join((element.class_name or "", (image.class_name if image else None) or ""))
    display = display or "mwe-math-element-block" in (element.class_name or "")
    if math is not None:
        read = mathml(math)
        return Formula("wikipedia", read.latex, display or read.display)
    return Formula("wikipedia", clean_latex(image.getattr("alt") or ""), display) if image else None


def tex_element(element: ElementNode) -> Formula | str | None:
    """An element whose text is TeX: .math-container, Pandoc and Sphinx math, CKEditor, arithmatex, GitHub, GitLab."""
    if element.query_selector('math, script, img, mjx-container, .katex, .MathJax, [class*="MathJax"]') is not None:
        return None
    classes = (element.class_name or "").split()
    number = element.query_selector(".eqno")
    source = element.text_content or ""
    if number is not None:
        source = source.replace(number.text_content or "", "", 1)
    if element.query_selector("sup, sub") is not None:
        source = "".join(_script_latex(child) for child in element.child_nodes)
    latex, display = strip_delimiters(source)
    if display is None:
        sure = {"inline", "display", "math-container", "math-inline", "math-display", "language-math"} & {*classes}
        if not (sure or looks_like_latex(latex)):
            return None
        display = "display" in classes or "math-display" in classes or element.tag in ("div", "pre")
        display = display or element.getattr("data-math-style") == "display"
    return Formula("element", latex, display) if latex else None


def data_tex(element: ElementNode) -> Formula | None:
    """`data-tex` and its like (Zhihu): the source in an attribute."""
    latex, display = strip_delimiters(element.getattr("data-tex") or "")
    if not latex:
        return None
    # Zhihu marks a display formula by a line break at its end.
    return Formula("element", latex.removesuffix("\\\\").strip(), bool(display) or latex.endswith("\\\\"))


def wp_katex(element: ElementNode) -> Formula | None:
    """`.wp-katex-eq`: bare TeX, `data-display` tells the rest."""
    latex, display = strip_delimiters(element.text_content or "")
    return Formula("element", latex, bool(display) or element.getattr("data-display") == "true") if latex else None


def ascii_math(element: ElementNode) -> Formula | None:
    """`.asciimath`: AsciiMath between backticks or bare."""
    source = (element.text_content or "").strip().strip("`").strip()
    return Formula("asciimath", asciimath_to_latex(source)) if source else None


_TEX_QUERY = re.compile(r"(?:^|&)(?:tex|latex|chl|formula|eq|math)=([^&]*(?:&(?:space|plus|amp);[^&]*)*)")
_SOURCE_HOSTS = ("latex", "tex.cgi", "mathtex", "mimetex", "equation", "chart", "math/render")
_CODECOGS = re.compile(r"\\(?:dpi|bg|fn|fg)(?:_\w+|\s*\{[^}]*\})|\\(?:inline|tiny|small|large|LARGE|huge)(?![A-Za-z])")


def image(element: ElementNode) -> Formula | None:
    """A formula drawn as an image: its alt text, title or the TeX in its address."""
    address = element.getattr("src") or element.getattr("data-src") or element.getattr("data-original") or ""
    classes = element.class_name or ""
    if address.startswith("data:"):
        address = ""
    sure = any(part in address for part in _SOURCE_HOSTS) or bool(
        re.search(r"\b(?:latex|tex|math|mwe-math\S*)\b", classes)
    )
    query = tex_in_address(address)
    for source in (element.getattr("data-formula"), element.getattr("alt"), element.getattr("title"), query):
        latex, display = strip_delimiters(source or "")
        # An address that carries TeX outranks an alt text of words ("equation").
        if latex and looks_like_latex(latex) and (sure or "\\" in latex) and not re.search(r"\.\w{3,4}$", latex):
            return Formula("image", latex, bool(display) or "display" in classes or _stands_alone(element))
    return Formula("image", clean_latex(query), _stands_alone(element)) if query else None


def tex_in_address(address: str) -> str:
    """The TeX that an image's address carries, empty where it carries none."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    place = f"{parts.netloc}{parts.path}".lower()
    if not any(name in place for name in _SOURCE_HOSTS):
        return ""
    query = parts.query + (f"#{parts.fragment}" if parts.fragment else "")
    match = _TEX_QUERY.search(query)
    if match:
        source = match[1]
    elif any(name in place for name in ("mimetex", "mathtex", "tex.cgi", "codecogs")):
        source = query
    else:
        return ""
    source = unquote(source.replace("+", " ") if match else source)
    source = source.replace("&space;", " ").replace("&plus;", "+").replace("&amp;", "&")
    return clean_latex(_CODECOGS.sub("", source).replace("\\$", "").strip("$"))


def _stands_alone(element: ElementNode) -> bool:
    """Whether an image is all that its block holds."""
    parent = element.parent_element
    if parent is None or parent.tag not in ("p", "div", "center", "dd", "figure"):
        return False
    return not (parent.text_content or "").strip() and parent.child_element_count == 1


_ORDINAL = re.compile(r"(?:st|nd|rd|th|er|re|e|è|ème|o|a|º|ª|tm|TM|®|©|™|SM|\*|†|‡|§)\.?$")


def script_element(element: ElementNode) -> str | None:
    """`<sup>` and `<sub>` as marks that `assemble_scripts` hangs on what stands before them; None for footnotes."""
    parent = element.parent_element
    if element.query_selector("a, img, math, script") is not None or (parent is not None and parent.tag == "a"):
        return None
    text = (element.text_content or "").strip()
    if not text or len(text) > 24 or text.startswith("[") or _ORDINAL.match(text):
        return None
    inner = "".join(_script_latex(child) for child in element.child_nodes)
    return f"{SUP if element.tag == 'sup' else SUB}{inner.strip()}{SCRIPT_END}"


def _script_latex(node: Node, depth: int = 0) -> str:
    if node.tag == "#text":
        return node.value or ""
    inner = "".join(_script_latex(child, depth + 1) for child in node.child_nodes) if depth < 8 else node.text or ""
    if node.tag in ("sup", "sub"):
        return f"{'^' if node.tag == 'sup' else '_'}{{{inner.strip()}}}"
    return inner if node.tag not in ("script", "style") else ""


def _parsed_math(markup: str) -> ElementNode | None:
    body = HTMLTree.parse(markup).body if "<math" in markup else None
    return body.query_selector("math") if body is not None else None


_BY_TAG: dict[str, Callable[[ElementNode], Formula | str | None]] = {
    "math": mathml, "script": tex_script, "mjx-container": mathjax_3, "math-renderer": tex_element, "img": image,
    "sup": script_element, "sub": script_element,
}  # fmt: skip
_BY_CLASS: dict[str, Callable[[ElementNode], Formula | str | None]] = {
    "katex-display": katex, "katex": katex, "katex-error": katex, "MathJax_Preview": mathjax_2,
    "MathJax_Display": mathjax_2, "MathJax_SVG_Display": mathjax_2, "MathJax_CHTML_Display": mathjax_2,
    "MathJax": mathjax_2, "MathJax_SVG": mathjax_2, "MathJax_CHTML": mathjax_2, "mjx-chtml": mathjax_2,
    "mwe-math-element": wikipedia, "wp-katex-eq": wp_katex, "ztext-math": data_tex, "asciimath": ascii_math,
    "math-container": tex_element, "math": tex_element, "math-tex": tex_element, "arithmatex": tex_element,
    "language-math": tex_element, "js-render-math": tex_element,
}  # fmt: skip
