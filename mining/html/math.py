"""Every web encoding of a formula -> a mark of delimited LaTeX in the page's tree, one handler a function.

`mark_formulas` edits the tree: each formula element that `mining.html.hints` points at becomes text that holds its
mark, and what is drawn beside the source (previews, glyph spans, fallback images) goes, so that each formula comes out
once. Delimiters in running text are read after extraction (`mining.html.delimiters`); this module only hides code from
them.
"""

import html as entities
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

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
from mining.html.glyphs import glyphs_to_latex
from mining.html.images import MAY_BE_FORMULA, formula_of_image
from mining.html.katex_glyphs import katex_to_latex
from mining.html.limits import Deadline
from mining.html.mathml import mathml_to_latex
from mining.html.symbols import SYMBOLS, join

MAX_FORMULAS = 20_000
"""Formula elements read in one page; those after it keep the form the page gives them."""


@dataclass(frozen=True, slots=True)
class Formula:
    """What a handler reads from an element. Empty `latex`: a formula that is there but cannot be read."""

    kind: str
    latex: str
    display: bool = False


_DEADLINE_STEP = 64

REMOVE = Formula("", "")
"""The handler's answer for what is drawn beside a formula's source."""


def mark_formulas(tree: HTMLTree, selector: str, deadline: Deadline | None = None) -> Counter[str]:
    """Formulas found by kind; in the tree each readable one has become a mark.

    Raises RecordError("cpu_time") after the deadline.
    """
    root = tree.document
    found: Counter[str] = Counter()
    if root is None or not selector:
        return found
    plan: list[tuple[ElementNode, str]] = []
    outer: ElementNode | None = None
    for index, element in enumerate(root.query_selector_all(selector).values()[:MAX_FORMULAS]):
        if deadline and index % _DEADLINE_STEP == 0:
            deadline.check(f"formula {index}")
        if outer is not None and outer.contains(element):
            continue
        tag = element.tag or ""
        handler = _handler(tag, element.class_name or "")
        answer = handler(element) if handler else _by_attribute(element)
        if answer is None:
            continue
        if isinstance(answer, Formula) and answer is not REMOVE:
            found[answer.kind] += 1
        outer = element
        plan.append((element, _replacement(answer)))
    for element, text in plan:
        _put(tree, element, text)
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


_IN_PLACE = frozenset(("span", "em", "i", "sup", "sub", "math", "mjx-container", "math-renderer", "tex-math", "eq"))


def _put(tree: HTMLTree, element: ElementNode, text: str) -> None:
    """Puts a mark in an element's place; within it where the element prints nothing of its own, at a tenth the cost."""
    is_hidden = element.has_attribute("aria-hidden") or "none" in (element.getattr("style") or "")
    if text and element.tag in _IN_PLACE and not is_hidden:
        element.text_content = text
        return
    parent = element.parent_element if element.tag == "img" else None
    # What stands in <noscript> is not extracted.
    place = parent if parent is not None and parent.tag == "noscript" else element
    place.replace_with(*((tree.create_text_node(text),) if text else ()))


def _replacement(answer: "Formula | str") -> str:
    if isinstance(answer, str):
        return answer
    return mark(answer.latex, answer.kind, display=answer.display) if answer.latex else ""


@lru_cache(maxsize=4096)
def _handler(tag: str, classes: str) -> "Callable[[ElementNode], Formula | str | None] | None":
    if tag in _BY_TAG:
        return _BY_TAG[tag]
    return next((_BY_CLASS[name] for name in classes.split() if name in _BY_CLASS), None)


def _by_attribute(element: ElementNode) -> Formula | None:
    """What an element of no known tag and class becomes: the TeX of its attribute, or REMOVE for MathJax's messages."""
    if (element.id or "").startswith("MathJax_"):
        return REMOVE
    return data_tex(element)


_ANNOTATION = re.compile(
    r"<annotation\b[^>]{0,200}\bencoding=\"[^\"]{0,60}[tT][eE][xX][^\"]{0,60}\"[^>]*>([^<]*)</annotation>"
)
_PREFIX = re.compile(r"(</?)\w+:")


def mathml(element: ElementNode) -> Formula:
    """`<math>`: LaTeXML's alttext or a TeX annotation where there is one, else the tree itself."""
    display = element.getattr("display") == "block" or element.getattr("mode") == "display"
    display = display or "tml-display" in (element.class_name or "")
    markup = element.inner_html
    latex = clean_latex(_annotated(markup))
    alttext = element.getattr("alttext") or ""
    if not latex and ("\\" in alttext or "^" in alttext or "_" in alttext or "ltx_" in (element.class_name or "")):
        latex = clean_latex(alttext)
    if not latex:
        latex = clean_latex(mathml_to_latex(element))
    return Formula("mathml", latex, display)


def _annotated(markup: str) -> str:
    """The TeX annotation of a formula's markup, empty where there is none: no Python object a node."""
    match = _ANNOTATION.search(markup) if "<annotation" in markup else None
    return entities.unescape(match[1]) if match else ""


def prefixed_mathml(element: ElementNode) -> Formula | None:
    """`<m:math>`, `<mml:math>`: MathML of XML pages, that an HTML parser takes for unknown elements."""
    previous = element.previous_element_sibling
    if previous is not None and previous.tag == "tex-math":
        return REMOVE
    math = _parsed_math(_PREFIX.sub(r"\1", element.outer_html))
    return mathml(math) if math is not None else None


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
    markup = element.inner_html
    display = "katex-display" in classes or "katex--display" in classes or 'class="katex-display' in markup
    if latex := clean_latex(_annotated(markup)):
        return Formula("katex", latex, display or ("<math " in markup and 'display="block"' in markup))
    if "katex-error" in classes:
        return Formula("katex", strip_delimiters(element.text_content or "")[0], display)
    math = element.query_selector("math")
    if math is not None:
        return Formula("katex", mathml(math).latex, display or math.getattr("display") == "block")
    half = element.query_selector(".katex-mathml")
    if half is not None:
        # CSDN strips the tags of the MathML half: glyphs a line each, then the source in a line of its own.
        lines = [line.strip() for line in (half.text_content or "").splitlines() if line.strip()]
        return Formula("katex", clean_latex(lines[-1]) if len(lines) > 1 else "", display)
    if "katex-html" in markup:
        return Formula("katex", clean_latex(katex_to_latex(element)), display)
    return katex_source(element) if "<" not in markup else None


def katex_source(element: ElementNode) -> Formula | None:
    """`.wp-katex-eq`, `.katex-eq` and bare `.katex`: TeX, `data-display` tells the rest."""
    latex, display = strip_delimiters(element.text_content or "")
    if not latex:
        return None
    display = display or "true" in (element.getattr("data-display"), element.getattr("data-katex-display"))
    return Formula("element", latex, display or "katex--display" in (element.class_name or ""))


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
    """`<mjx-container>` of MathJax 3 and 4: assistive MathML, the LaTeX that version 4 notes, else the glyphs' tree."""
    display = element.getattr("display") in ("true", "block")
    math = element.query_selector("math")
    if math is not None:
        return Formula("mathjax", mathml(math).latex, display or math.getattr("display") == "block")
    holder = element if element.has_attribute("data-latex") else element.query_selector("[data-latex]")
    latex = clean_latex(holder.getattr("data-latex") or "") if holder else ""
    return Formula("mathjax", latex or clean_latex(glyphs_to_latex(element)), display)


_WIKIPEDIA_DISPLAY = re.compile(r"mwe-math-(?:mathml|fallback-image)-display|mwe-math-element-block")


def lone_svg(element: ElementNode) -> Formula | None:
    """An SVG that MathJax 3 drew and an editor took out of its container (mdnice)."""
    if element.query_selector('g[data-mml-node="math"]') is None:
        return None
    parent = element.parent_element
    return Formula("mathjax", glyphs_to_latex(element), parent is not None and "block" in (parent.class_name or ""))


def wikipedia(element: ElementNode) -> Formula | None:
    """MediaWiki's pair of hidden MathML and fallback image: one formula."""
    markup = element.outer_html
    display = bool(_WIKIPEDIA_DISPLAY.search(markup)) or '<math display="block"' in markup
    if latex := clean_latex(_annotated(markup)):
        return Formula("wikipedia", latex, display)
    math = element.query_selector("math")
    if math is not None:
        read = mathml(math)
        return Formula("wikipedia", read.latex, display or read.display)
    # Mobile pages hide the image in <noscript> and load it into a placeholder.
    image = element.query_selector("img, [data-alt]")
    alt = (image.getattr("alt") or image.getattr("data-alt") or "") if image is not None else ""
    return Formula("wikipedia", clean_latex(alt), display) if image is not None else None


# Longer elements are sections of a page; nested a thousand deep, each would be read to the end.
_MAX_SOURCE_CHARS = 20_000
_SURE_CLASSES = frozenset(("inline", "display", "math-container", "math-inline", "math-display", "language-math"))
_RENDERED = re.compile(r"<(?:math|script|img|mjx-container)[\s>]|class=\"[^\"]*(?:katex|MathJax)")


def tex_element(element: ElementNode) -> Formula | str | None:
    """An element whose text is TeX: .math-container, Pandoc and Sphinx math, CKEditor, arithmatex, GitHub, GitLab."""
    markup = element.inner_html
    if len(markup) > _MAX_SOURCE_CHARS:
        return None
    source = element.text_content or ""
    if "<" in markup:
        if _RENDERED.search(markup):
            return None
        number = element.query_selector(".eqno") if "eqno" in markup else None
        if number is not None:
            source = source.replace(number.text_content or "", "", 1)
        if "<su" in markup:
            source = "".join(_script_latex(child) for child in element.child_nodes.values())
    latex, display = strip_delimiters(source)
    if display is None:
        classes = (element.class_name or "").split()
        if not (_SURE_CLASSES.intersection(classes) or looks_like_latex(latex)):
            return None
        display = "display" in classes or "math-display" in classes or element.tag in ("div", "pre")
        display = display or element.getattr("data-math-style") == "display"
    return Formula("element", latex, display) if latex else None


def tex_tag(element: ElementNode) -> Formula | None:
    """`<tex-math>`, `<d-math>`, `<la-tex>`, `<eq>`, `<math-field>`: an element made for TeX."""
    markup = element.inner_html
    if _RENDERED.search(markup):
        return None
    latex, display = strip_delimiters(element.text_content or "")
    parent = element.parent_element
    display = display or element.tag == "eqn" or any(map(element.has_attribute, ("block", "display", "data-display")))
    return (
        Formula("element", latex, display or (parent is not None and "disp" in (parent.tag or ""))) if latex else None
    )


_LOGOS = {name.lower(): name for name in ("TeX", "LaTeX", "KaTeX", "XeTeX")}


def loose_tex(element: ElementNode) -> Formula | str | None:
    """`.tex`, `.latex`, `.formula`, `.equation`: names that other things bear too, so only what is plainly TeX."""
    source = element.text_content or ""
    if "<" in element.inner_html:
        return _LOGOS.get(source.strip().lower())
    latex, display = strip_delimiters(source)
    if not latex or (display is None and not ("\\" in latex and looks_like_latex(latex))):
        return None
    return Formula("element", latex, bool(display) or element.tag in ("div", "p"))


# Fractions, roots and stacked limits that a site sets by its own style sheet, and identifiers of programs.
_SET_IN_HTML = re.compile(r"<(?:table|br|a)[\s>]|class=\"(?!mvar|nowrap|texhtml)")
_LONG_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{4,}|::")


def html_math(element: ElementNode) -> Formula | None:
    """`.texhtml` of MediaWiki and `.formula` of Docutils: mathematics set in HTML, as far as it is only scripts."""
    markup = element.inner_html
    if _RENDERED.search(markup) or _SET_IN_HTML.search(markup):
        return None
    latex = clean_latex("".join(_script_latex(child) for child in element.child_nodes.values()))
    if not looks_like_latex(latex) or _LONG_WORD.search(latex):
        return None
    return Formula("element", _latex_symbols(latex), element.tag == "div")


def _latex_symbols(text: str) -> str:
    return text if text.isascii() else join([char if char.isascii() else SYMBOLS.get(char, char) for char in text])


_TEX_ATTRIBUTES = ("data-tex", "data-formula", "data-latex", "data-equation", "data-value")


def data_tex(element: ElementNode) -> Formula | None:
    """`data-tex` and its like (Zhihu, mdnice, Quill): the source in an attribute."""
    source = next((value for name in _TEX_ATTRIBUTES if (value := element.getattr(name))), "")
    latex, display = strip_delimiters(source)
    if not latex or not looks_like_latex(latex):
        return None
    # Zhihu marks a display formula by a line break at its end.
    display = display or latex.endswith("\\\\") or element.tag in ("section", "div", "figure")
    display = display or "block" in (element.class_name or "")
    return Formula("element", latex.removesuffix("\\\\").strip(), display)


def ascii_math(element: ElementNode) -> Formula | None:
    """`.asciimath`: AsciiMath between backticks or bare."""
    source = (element.text_content or "").strip().strip("`").strip()
    return Formula("asciimath", asciimath_to_latex(source)) if source else None


_WIRIS = str.maketrans({"«": "<", "»": ">", "¨": '"', "§": "&", "`": "'"})


def image(element: ElementNode) -> Formula | None:
    """A formula drawn as an image: MathML or TeX in its attributes, or the TeX in its address."""
    markup = element.outer_html
    if not MAY_BE_FORMULA.search(markup):
        return None
    if "«math" in markup or "&lt;math" in markup:
        source = element.getattr("data-mathml") or element.getattr("alt") or ""
        math = _parsed_math(source.translate(_WIRIS) if "«" in source else source)
        if math is not None:
            return Formula("image", mathml(math).latex, mathml(math).display)
    read = formula_of_image(element)
    if read is None:
        return None
    holder = element.parent_element
    if holder is not None and holder.tag == "noscript":
        # A page that loads its images by script repeats them here; of the two copies one is kept.
        copies = (holder.previous_element_sibling, holder.next_element_sibling)
        if any(copy is not None and copy.tag in ("img", "span") and formula_of_image(copy) for copy in copies):
            return None
    return Formula("image", *read)


def latexml_equations(table: ElementNode) -> Formula | None:
    """LaTeXML's table of an equation or an aligned group: one displayed formula with its numbers as tags."""
    if "ltx_eqn_table" in table.inner_html:
        return None
    rows = []
    for row in table.query_selector_all("tr").values():
        cells = [clean_latex(math.getattr("alttext") or "") for math in row.query_selector_all("math").values()]
        if not all(cells) or (not cells and (row.text_content or "").strip()):
            return None
        number = row.query_selector(".ltx_tag_equation")
        label = (number.text_content or "").strip().strip("()") if number is not None else ""
        if cells:
            rows.append(" & ".join(cells) + (f" \\tag{{{label}}}" if label else ""))
    if not rows:
        return None
    is_single = len(rows) == 1 and " & " not in rows[0]
    body = " \\\\ ".join(rows)
    return Formula("mathml", body if is_single else f"\\begin{{align}} {body} \\end{{align}}", display=True)


_ORDINAL = re.compile(r"(?:st|nd|rd|th|er|re|e|è|ème|o|a|º|ª|tm|TM|®|©|™|SM|\*|†|‡|§)\.?$")
_NO_SCRIPT = re.compile(r"<(?:a|img|math|script)[\s>]")


def script_element(element: ElementNode) -> str | None:
    """`<sup>` and `<sub>` as marks that `assemble_scripts` hangs on what stands before them; None for footnotes."""
    markup = element.inner_html
    text = (element.text_content or "").strip()
    if not text or len(text) > 24 or text.startswith("[") or _ORDINAL.match(text):
        return None
    if "<" in markup:
        if _NO_SCRIPT.search(markup):
            return None
        text = "".join(_script_latex(child) for child in element.child_nodes.values()).strip()
    parent = element.parent_element
    if parent is not None and parent.tag == "a":
        return None
    return f"{SUP if element.tag == 'sup' else SUB}{text}{SCRIPT_END}"


def _script_latex(node: Node, depth: int = 0) -> str:
    if node.tag == "#text":
        return node.value or ""
    inner = (
        "".join(_script_latex(child, depth + 1) for child in node.child_nodes.values())
        if depth < 8
        else node.text or ""
    )
    if node.tag in ("sup", "sub"):
        return f"{'^' if node.tag == 'sup' else '_'}{{{inner.strip()}}}"
    return inner if node.tag not in ("script", "style") else ""


def _parsed_math(markup: str) -> ElementNode | None:
    body = HTMLTree.parse(markup).body if "<math" in markup else None
    return body.query_selector("math") if body is not None else None


_Handlers = dict[str, Callable[[ElementNode], Formula | str | None]]
_BY_TAG: _Handlers = {
    "math": mathml, "script": tex_script, "mjx-container": mathjax_3, "math-renderer": tex_element, "img": image,
    "svg": lone_svg,
    "sup": script_element, "sub": script_element, "mml:math": prefixed_mathml, "m:math": prefixed_mathml,
    **dict.fromkeys(("tex-math", "d-math", "dt-math", "la-tex", "eq", "eqn", "math-field"), tex_tag),
}  # fmt: skip
_BY_CLASS: _Handlers = {
    **dict.fromkeys(("katex-display", "katex", "katex-error", "katex--inline", "katex--display"), katex),
    **dict.fromkeys(("wp-katex-eq", "katex-eq"), katex_source),
    **dict.fromkeys(("MathJax_Preview", "MathJax_Display", "MathJax_SVG_Display", "MathJax_CHTML_Display", "MathJax",
                     "MathJax_SVG", "MathJax_CHTML", "MathJax_PHTML", "MathJax_PHTML_Display",
                     "MJXp-display", "mjx-chtml"), mathjax_2),
    **dict.fromkeys(("math-container", "math", "math-tex", "arithmatex", "language-math", "js-render-math",
                     "math-inline", "math-display", "math-block", "mathjax-tex", "SimpleMath", "Math"), tex_element),
    **dict.fromkeys(("tex", "latex", "equation"), loose_tex),
    "mwe-math-element": wikipedia, "ztext-math": data_tex, "ql-formula": data_tex, "asciimath": ascii_math,
    "texhtml": html_math, "formula": html_math, "ltx_eqn_table": latexml_equations,
}  # fmt: skip
