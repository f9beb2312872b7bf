"""Formulas in running text: the delimiters a page declares, the formulas between them, their final form.

A formula on its way through the text extraction is a *mark*: an opening character that tells its kind and whether it
is displayed, the LaTeX, a closing character. The characters are private ones of plane 16, so that the extractor keeps
them, no page uses them, and what comes out can be counted.
"""

import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from mining.html.asciimath import asciimath_to_latex
from mining.html.lines import holds_marks
from mining.html.macros import MAX_ADDED_CHARS, Macros, expand, without_definitions
from mining.html.symbols import FUNCTIONS, SYMBOLS

KINDS = (
    "delimited", "environment", "script", "katex", "mathjax", "mathml", "wikipedia", "image", "element", "sup_sub",
    "asciimath",
)  # fmt: skip
"""Where a formula was found: the keys of every count by kind."""

_FIRST = 0x10F000
CLOSE = "\U0010f0ff"
SUP, SUB, SCRIPT_END = "\U0010f100", "\U0010f101", "\U0010f102"
MASKED_DOLLAR, MASKED_BACKSLASH, MASKED_TICK = "\U0010f103", "\U0010f104", "\U0010f105"

MAX_INLINE_CHARS = 1_000
MAX_DISPLAY_CHARS = 10_000
"""A delimiter that finds no partner within so many characters is text."""

_MAX_CANDIDATES = 8
_MARK = re.compile(f"([\U0010f000-\U0010f0fe])([^\U0010f000-{CLOSE}]*){CLOSE}")
_LAST_MARK = re.compile(f"([\U0010f000-\U0010f0fe])([^\U0010f000-{CLOSE}]*){CLOSE}$")
_PUNCTUATION = re.compile(r"[ ]*([,.;:。，；：]?)(?!\S)[ ]*")
_LEFT_OVER = re.compile("[\U0010f000-\U0010f1ff]")

_MATHS_SIGN = re.compile(r"\\[A-Za-z]+|[\^_=<>+≤≥≠∈⊂→×±√∑∫∞]|[A-Za-z0-9)\]]\s?[-*/|]\s?[A-Za-z0-9(\\]")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_TEXT_ARGUMENT = re.compile(
    r"\\(?:text\w*|mbox|mathrm|operatorname|mathbf|mathit|mathsf|mathtt|label|tag|begin|end)\*?\{[^{}]*\}"
)
_PROSE = re.compile(
    r"(?<![A-Za-z])[A-Za-z]{2,}+[,;:]?(?:\s+[A-Za-z]{2,}+[,;:.]?){2,}|[\u3400-\u9fff\u3001\u3002\uff0c]{5,}"
)
_WORD = re.compile(r"(?<![A-Za-z])[A-Za-z]{3,}")
_SHORT = re.compile(
    r"[A-Za-z\u0370-\u03ff]['′]*|[A-Za-z]\d|[A-Za-z]\([A-Za-z0-9, ]{1,9}\)|\([A-Za-z], ?[A-Za-z]\)|\d{1,4}"
)
_LATEX_WORD = re.compile(
    r"\\(?:frac|d?frac|sqrt|sum|prod|int|lim|alpha|beta|gamma|delta|epsilon|varepsilon|theta|lambda|mu|pi|rho|sigma|phi|"
    r"omega|mathbb|mathcal|mathbf|mathrm|begin|left|right|cdot|times|le|leq|ge|geq|ne|neq|in|to|infty|text|dots|ldots|"
    r"cdots|partial|nabla|hat|bar|vec|overline|operatorname|log|ln|sin|cos|exp|approx|equiv|sim|subset|cup|cap|forall|"
    r"exists|Delta|Gamma|Omega|Sigma|quad|mid|pm|binom|boldsymbol|circ|perp|rightarrow|Rightarrow)(?![A-Za-z])"
)
# Macro definitions stand in delimiters so that the typesetter reads them; they print nothing.
_MACROS = re.compile(r"\s*\\(?:re)?(?:newcommand|def|DeclareMathOperator|definecolor|require|gdef|let)(?![A-Za-z])")
_ENVIRONMENTS = (
    "align|align\\*|aligned|alignat|alignat\\*|equation|equation\\*|eqnarray|eqnarray\\*|gather|gather\\*|multline|"
    "multline\\*|split|displaymath|math|flalign|flalign\\*|cases|matrix|pmatrix|bmatrix|array"
)


@dataclass(frozen=True, slots=True)
class Delimiters:
    """What opens and closes a formula in the text of one page."""

    inline: tuple[tuple[str, str], ...] = (("\\(", "\\)"),)
    display: tuple[tuple[str, str], ...] = (("$$", "$$"), ("\\[", "\\]"))
    declared: bool = False
    """The page loads a typesetter: its delimiters are meant. False: only what is plainly LaTeX counts."""
    dollar_declared: bool = False
    """The page's own configuration names the single dollar."""
    ascii_math: bool = False
    """Backticks enclose AsciiMath."""


_TRUSTED = Delimiters(display=(("\\[", "\\]"),), declared=True)
UNDECLARED = Delimiters(inline=(("\\(", "\\)"), ("$", "$")))
"""What is looked for where no typesetter is loaded, under the strictest tests."""


def read_delimiters(html: str) -> Delimiters:
    """The delimiters that the page's typesetter is told to look for: MathJax 2, MathJax 3 and 4, KaTeX auto-render."""
    has_mathjax = "MathJax" in html or "mathjax" in html
    has_katex = "katex" in html
    if not (has_mathjax or has_katex):
        return UNDECLARED
    inline = _declared_pairs(html, "inlineMath") if has_mathjax else []
    display = _declared_pairs(html, "displayMath") if inline or "displayMath" in html else []
    if has_katex:
        for left, right, is_display in _katex_pairs(html):
            (display if is_display else inline).append((left, right))
    dollar_declared = ("$", "$") in inline
    # The configuration often sits in a script of its own that a crawl does not hold: the defaults stay allowed, and
    # a single dollar must then look like mathematics.
    inline = list(dict.fromkeys((*inline, ("\\(", "\\)"), ("$", "$"))))
    display = list(dict.fromkeys((*display, ("$$", "$$"), ("\\[", "\\]"))))
    # PreTeXt's configuration names AsciiMath and confines it to elements of the class has_am.
    ascii_math = any(name in html for name in ("AM_HTMLorMML", "AM_CHTML", "sciimath", "sciiMath"))
    ascii_math = ascii_math and "has_am" not in html
    return Delimiters(tuple(inline), tuple(display), True, dollar_declared, ascii_math)


_JS_STRING = r"(?:'((?:[^'\\\n]|\\.)*)'|\"((?:[^\"\\\n]|\\.)*)\"|`((?:[^`\\\n]|\\.)*)`)"
_PAIR = re.compile(rf"\[\s*{_JS_STRING}\s*,\s*{_JS_STRING}\s*,?\s*\]")
_KATEX_PAIR = re.compile(
    rf"left['\"]?\s*:\s*{_JS_STRING}\s*,\s*['\"]?right['\"]?\s*:\s*{_JS_STRING}\s*,\s*['\"]?display['\"]?\s*:\s*(!0|!1|true|false)"
)
_JS_ESCAPE = re.compile(r"\\(.)")


def _declared_pairs(html: str, key: str) -> list[tuple[str, str]]:
    """Delimiter pairs of every `key: [[open, close], ...]` in the page's scripts."""
    pairs = []
    position = html.find(key)
    for _ in range(6):
        if position < 0:
            break
        block = html[position + len(key) : position + len(key) + 500]
        end = 0
        for match in _PAIR.finditer(block):
            if (end and block[end : match.start()].strip(" \t\r\n,")) or (not end and match.start() > 60):
                break
            end = match.end()
            strings = [_JS_ESCAPE.sub(r"\1", group) for group in match.groups() if group is not None]
            if len(strings) == 2 and all(strings):
                pairs.append((strings[0], strings[1]))
        position = html.find(key, position + 1)
    # A bare bracket is a slip of the configuration's escapes.
    return [pair for pair in pairs if all(0 < len(side) <= 20 and side not in "()[]{}" for side in pair)]


def _katex_pairs(html: str) -> list[tuple[str, str, bool]]:
    pairs = []
    for start in (html.find("delimiters"), html.find("renderMathInElement")):
        for match in _KATEX_PAIR.finditer(html[start : start + 2_000] if start >= 0 else ""):
            strings = [_JS_ESCAPE.sub(r"\1", group) for group in match.groups()[:-1] if group is not None]
            if len(strings) == 2 and all(strings) and not strings[0].startswith("\\begin"):
                pairs.append((strings[0], strings[1], match[match.lastindex or 0] in ("true", "!0")))
    return pairs


def mark(latex: str, kind: str, *, display: bool) -> str:
    """The formula as a mark."""
    return f"{chr(_FIRST + 2 * KINDS.index(kind) + display)}{latex}{CLOSE}"


def may_hold_delimiters(text: str, delimiters: Delimiters) -> bool:
    """Whether a text could hold a delimited formula at all."""
    if delimiters.declared and any(left in text for left, _ in (*delimiters.inline, *delimiters.display)):
        return True
    return (
        (delimiters.ascii_math and "`" in text) or "$" in text or "\\(" in text or "\\[" in text or "\\begin{" in text
    )


def mark_delimited(text: str, delimiters: Delimiters) -> str:
    """The text with its delimited formulas turned into marks; what is already marked stays.

    Fragments are served without the script that typesets them: where one formula is LaTeX beyond doubt, the other
    `\\(..\\)` of the page are formulas too.
    """
    marked = _mark_once(text, delimiters)
    if not delimiters.declared and marked is not text and "\\(" in marked:
        return _mark_once(marked, _TRUSTED)
    return marked


def _mark_once(text: str, delimiters: Delimiters) -> str:
    opener, closers = _opener(delimiters)
    out: list[str] = []
    ahead: dict[str, int] = {}
    done = position = 0
    while match := opener.search(text, position):
        position = match.end()
        token = match[0]
        if token in closers:
            close, display = closers[token]
            kind = "asciimath" if token == "`" else "delimited"
        elif match[1]:
            close, display, kind = f"\\end{{{match[1]}}}", True, "environment"
        else:
            continue
        # The next closing delimiter is looked up once, not once an opening one: a page of openers takes linear time.
        if ahead.get(close, -1) < position:
            ahead[close] = text.find(close, position) % (len(text) + 1)
        found = _find_close(text, position, close, ahead[close])
        if found < 0:
            continue
        body = text[position:found]
        end = found + len(close)
        if _MACROS.match(body):
            out.append(text[done : match.start()])
            done = position = end
            continue
        if not _is_formula(body, token, text[end : end + 1], delimiters):
            continue
        if kind == "environment":
            body = f"{token}{body}{close}"
        elif kind == "asciimath":
            body = asciimath_to_latex(body)
        out += (text[done : match.start()], mark(clean_latex(body), kind, display=display))
        done = position = end
    return "".join((*out, text[done:])) if out else text


@lru_cache(maxsize=256)
def _opener(delimiters: Delimiters) -> tuple[re.Pattern[str], dict[str, tuple[str, bool]]]:
    closers = {left: (right, False) for left, right in delimiters.inline}
    closers |= {left: (right, True) for left, right in delimiters.display}
    if delimiters.ascii_math:
        closers["`"] = ("`", False)
    # One character class at the start lets the search run over the text; alternatives would be tried at every place.
    tokens = sorted(closers, key=len, reverse=True)
    rests: dict[str, list[str]] = {token[0]: [] for token in (*tokens, "\\")}
    for token in tokens:
        rests[token[0]].append(re.escape(token[1:]))
    # Marks and escaped characters are consumed whole, so that nothing opens inside them.
    rests["\\"] += [rf"begin\{{({_ENVIRONMENTS})\}}", r"[\\$]"]
    branches = [rf"(?<={re.escape(first)})(?:{'|'.join(rest)})" for first, rest in rests.items()]
    branches.append(rf"(?<=[\U0010f000-\U0010f0fe])[^{CLOSE}]*{CLOSE}")
    firsts = "".join(map(re.escape, rests))
    return re.compile(rf"[{firsts}\U0010f000-\U0010f0fe](?:{'|'.join(branches)})"), closers


def _find_close(text: str, start: int, close: str, found: int) -> int:
    """Where the closing delimiter stands whose braces balance, -1 where the block ends before it.

    found: the first place of the closing delimiter after `start`.
    """
    if found > start + MAX_DISPLAY_CHARS:
        return -1
    limit = min(len(text), start + (MAX_INLINE_CHARS if close == "$" else MAX_DISPLAY_CHARS))
    block_end = text.find("\n\n", start, limit)
    limit = block_end if block_end >= 0 else limit
    if close == "$" and (line_end := text.find("\n", start, limit)) >= 0:
        limit = line_end
    for _ in range(_MAX_CANDIDATES):
        if not 0 <= found <= limit - len(close):
            break
        body = text[start:found]
        num_escapes = len(body) - len(body.rstrip("\\"))
        if num_escapes % 2 == 0 and (close.startswith("\\end") or body.count("{") - body.count("\\{") <= (
            body.count("}") - body.count("\\}")
        )):  # fmt: skip
            return found
        found = text.find(close, found + 1, limit)
    return -1


def _is_formula(body: str, token: str, after: str, delimiters: Delimiters) -> bool:
    if not body.strip() or (CLOSE in body and token in ("$", "$$")):
        return False
    if token == "$":
        return _is_dollar_formula(body, after, delimiters.dollar_declared)
    if token == "`":
        return not _is_prose(body) and (looks_like_latex(body.strip()) or bool(_ASCII_MATH.search(body)))
    if delimiters.declared or token.startswith("\\begin"):
        return token != "$$" or body.lstrip().startswith("\\begin{") or not _is_prose(body)
    if token == "$$":
        return bool(_MATHS_SIGN.search(body)) and not _is_prose(body)
    return bool(_LATEX_WORD.search(body) or re.search(r"[A-Za-z)][_^][{A-Za-z0-9]", body))


def _is_dollar_formula(body: str, after: str, declared: bool) -> bool:
    """Whether what stands between two single dollars is a formula and not money, a shell variable or prose."""
    if body.startswith(("{", "(")) and not declared and not _COMMAND.search(body):
        return False
    if after.isdigit() or _is_prose(body):
        return False
    has_sign = bool(_MATHS_SIGN.search(body))
    if body[0].isdigit() and not _COMMAND.search(body) and (_WORD.search(body) or body[-1].isspace()):
        return False
    if body[0].isspace() or body[-1].isspace():
        return has_sign and (declared or bool(_COMMAND.search(body) or re.search(r"[\^_=]", body)))
    if has_sign or _SHORT.fullmatch(body):
        return declared or not after.isalpha()
    return declared


def _is_prose(body: str) -> bool:
    return bool(_PROSE.search(_COMMAND.sub(" ", _TEXT_ARGUMENT.sub(" ", body))))


_ASCII_MATH = re.compile(r"\b(?:root|sqrt|in|uu|nn|vv|sub|sup|oo|RR|ZZ|NN|QQ|CC|xx|vec|hat|bar)\b|\[\[")

_OUTER = (("\\(", "\\)", False), ("\\[", "\\]", True), ("$$", "$$", True), ("$", "$", False))
_STYLE = re.compile(r"^\{?\s*\\(?:displaystyle|textstyle)(?![A-Za-z])\s*")
_CDATA = re.compile(r"%?<!\[CDATA\[|%?\]\]>|%[ \t]{0,9}(?=<!\[CDATA|\]\]>)")
_AMP = re.compile(r"\\amp(?![A-Za-z])")
_LINE_JOIN = re.compile(r"(?<!\\)%[ \t]*\n\s*")


def clean_latex(latex: str) -> str:
    """The formula in one line, without what only serves the markup: CDATA, style wrappers, TeX line joins."""
    if "%" in latex or "CDATA" in latex:
        latex = _LINE_JOIN.sub("", _CDATA.sub("", latex))
    if "\\amp" in latex:
        latex = _AMP.sub("&", latex)
    latex = " ".join(latex.split())
    if latex.startswith(("{\\displaystyle", "{\\textstyle")) and latex.endswith("}"):
        latex = latex[1:-1]
    return _STYLE.sub("", latex).strip() if latex.startswith("\\") else latex


def strip_delimiters(source: str) -> tuple[str, bool | None]:
    """The formula inside its delimiters and whether they say display; None where it stands bare."""
    source = source.strip()
    for left, right, display in _OUTER:
        if source.startswith(left) and source.endswith(right) and len(source) >= len(left) + len(right):
            return clean_latex(source[len(left) : len(source) - len(right)]), display
    return clean_latex(source), None


def looks_like_latex(text: str) -> bool:
    """Whether a bare string is a formula rather than words."""
    return bool(text) and not _is_prose(text) and bool(_MATHS_SIGN.search(text) or _SHORT.fullmatch(text))


_SCRIPT_RUN = re.compile(f"(?:[{SUP}{SUB}][^{SUP}{SUB}{SCRIPT_END}]*{SCRIPT_END})+")
_SCRIPT = re.compile(f"([{SUP}{SUB}])([^{SCRIPT_END}]*){SCRIPT_END}")
_BASE = re.compile(r"(?:(?<![A-Za-z\d])\d*[A-Za-z]{1,3}|[A-Za-z]{3,6}|\d[\d,.]*|[\u0370-\u03ff∑∫∏]|[)\]|′])$")
_UNITS = frozenset(("cm", "mm", "km", "nm", "kg", "ft", "in", "yd", "mi", "ms", "sec", "min", "mol", "Hz"))
_BRACKETS = {")": "(", "]": "[", "|": "|"}
# Between two formulas of raised and lowered letters: an operator, or nothing.
_CHAIN = re.compile(f"{CLOSE}((?:[ ]?[-+=*/<>≤≥·×±−][ ]?)?){chr(_FIRST + 2 * KINDS.index('sup_sub'))}")


def assemble_scripts(text: str) -> tuple[str, int]:
    """The text with raised and lowered runs hung on their bases as formulas, and how many; others are flattened.

    Flattened: footnote numbers on words, years and titles, chemical formulas.
    """
    if SCRIPT_END not in text:
        return text, 0
    out: list[str] = []
    done = 0
    is_flat = False
    for match in _SCRIPT_RUN.finditer(text):
        head = text[done : match.start()]
        scripts = [(sign, body.strip()) for sign, body in _SCRIPT.findall(match[0])]
        tail = "".join(f"{'^' if sign == SUP else '_'}{{{_latex_symbols(body)}}}" for sign, body in scripts)
        # The rest of a chemical formula goes the way of its beginning.
        after = text[match.end() : match.end() + 1]
        base = "" if is_flat and head.isalpha() else _script_base(head[-80:], scripts, after)
        is_flat = not base
        if _hangs_on_formula(head, scripts):
            out += (head[:-1], tail, CLOSE)
        elif base:
            latex = f"\\{base}" if base in FUNCTIONS else f"\\mathrm{{{base}}}" if base in _UNITS else base
            out += (head[: len(head) - len(base)], mark(_latex_symbols(latex) + tail, "sup_sub", display=False))
        else:
            out += (head, "".join(body for _, body in scripts))
        done = match.end()
    joined = _CHAIN.sub(r"\1", "".join((*out, text[done:])))
    return joined, joined.count(chr(_FIRST + 2 * KINDS.index("sup_sub")))


def _hangs_on_formula(head: str, scripts: list[tuple[str, str]]) -> bool:
    """Whether scripts belong to the formula before them; a raised number there is a footnote's."""
    last = _LAST_MARK.search(head[-MAX_INLINE_CHARS:]) if head.endswith(CLOSE) else None
    if last is None or (ord(last[1]) - _FIRST) % 2:
        return False
    return all(
        "_" not in last[2] if sign == SUB else "^" not in last[2] and not body.isdigit() for sign, body in scripts
    )


def _script_base(head: str, scripts: list[tuple[str, str]], after: str) -> str:
    """The end of the text that the scripts belong to, empty where they are no mathematics."""
    match = _BASE.search(head)
    if match is None:
        return ""
    base = match[0]
    sign, body = scripts[0]
    if base in _BRACKETS:
        depth = 0
        for index in range(len(head) - 1, -1, -1):
            depth += (head[index] == base) - (head[index] == _BRACKETS[base])
            if depth == 0 and index < len(head) - 1:
                return head[index:] if "\n" not in head[index:] and CLOSE not in head[index:] else ""
        return ""
    if base[0].isdigit() and base[-1].isdigit():
        is_year = len(base) == 4 and base[:2] in ("18", "19", "20")
        return "" if is_year or sign == SUB or base.endswith((",", ".")) else base
    if sign == SUB and body.isdigit() and base.isupper() and (len(base) > 1 or after.isupper() or after == "("):
        return ""
    if len(base) > 1 and base.isalpha():
        if base in FUNCTIONS or base in _UNITS:
            return base
        return base if len(base) <= 3 and sign == SUB and base.isupper() and body.isalpha() else ""
    return base


def _latex_symbols(text: str) -> str:
    if text.isascii():
        return text
    return re.sub(
        r"(\\[A-Za-z]+) (?![A-Za-z])",
        r"\1",
        "".join(
            f"{SYMBOLS[char]} " if SYMBOLS.get(char, "").startswith("\\") else SYMBOLS.get(char, char) for char in text
        ),
    ).strip()


def _written_out(latex: str, macros: Macros) -> str:
    if "newcommand" in latex or "\\def" in latex or "MathOperator" in latex:
        latex = without_definitions(latex)
    return clean_latex(expand(latex, macros))


def finish(text: str, macros: Macros | None = None) -> tuple[str, Counter[str]]:
    """The text with each mark as `$..$` or, on lines of its own, `$$..$$`; and the marks counted by kind.

    macros: the page's own, which are written out. A formula that only defines some prints nothing.
    """
    kept: Counter[str] = Counter()
    if not holds_marks(text):
        return text, kept
    out: list[str] = []
    done = num_added = 0
    for match in _MARK.finditer(text):
        index = ord(match[1]) - _FIRST
        latex = " ".join(match[2].split())
        if not latex or index // 2 >= len(KINDS):
            out += (text[done : match.start()], latex)
            done = match.end()
            continue
        kept[KINDS[index // 2]] += 1
        if macros and "\\" in latex and num_added < MAX_ADDED_CHARS:
            num_added -= len(latex)
            latex = _written_out(latex, macros)
            num_added += len(latex)
            if not latex:
                out.append(text[done : match.start()])
                done = match.end() + text.startswith(" ", match.end())
                continue
        if index % 2 == 0:
            before = text[done : match.start()]
            # Money before a formula: `$$b$` would open a display.
            out += (before[:-1] + "\\$" if before.endswith("$") else before, "$", latex, "$")
            done = match.end()
        else:
            before = text[done : match.start()].rstrip(" ")
            tail = _PUNCTUATION.match(text, match.end())
            punctuation, end = (tail[1], tail.end()) if tail else ("", match.end())
            # In a row of a table the cell's borders are tabs, and a line break would tear the row.
            is_cell = before.endswith("\t") or text.startswith("\t", end)
            starts_line = (not before and not out) or (before or (out[-1] if out else "")).endswith("\n")
            out += (before, "" if is_cell or starts_line else "\n", f"$${latex}$${punctuation}")
            out.append("" if is_cell or text.startswith("\n", end) or end == len(text) else "\n")
            done = end
    text = "".join((*out, text[done:]))
    text = text.replace(MASKED_DOLLAR, "$").replace(MASKED_BACKSLASH, "\\").replace(MASKED_TICK, "`")
    return _LEFT_OVER.sub("", text) if holds_marks(text) else text, kept
