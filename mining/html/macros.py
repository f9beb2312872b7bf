"""The TeX macros that a page defines for its formulas, written out in them: a reader of the text has no preamble.

Read are \\newcommand, \\renewcommand, \\providecommand, \\def and \\DeclareMathOperator anywhere in the page, and the
`Macros` or `macros` of MathJax's and KaTeX's configuration. As in TeX the last definition counts.
"""

import html as entities
import re
from dataclasses import dataclass

MAX_MACROS = 400
MAX_BODY_CHARS = 400
MAX_FORMULA_CHARS = 20_000
"""A formula that grows beyond this is left as it was written."""
MAX_ADDED_CHARS = 400_000
"""What a page's formulas may grow by in all; those after it are left as they were written."""

_MAX_PASSES = 6
_MAX_CONFIGS = 8
_OPENINGS = ("\\newcommand", "\\renewcommand", "\\providecommand", "\\DeclareMathOperator", "\\def", "\\gdef")
_DEFINITION = re.compile(
    r"\\(?:(?:re)?newcommand|providecommand)\*?\s*+\{?\s*+\\(?P<new>[A-Za-z]++)\s*+\}?\s*+"
    r"(?:\[(?P<args>\d)\])?\s*+(?P<default>\[[^\[\]]{0,80}\])?\s*+(?=\{)"
    r"|\\(?P<operator>DeclareMathOperator)(?P<star>\*?)\s*+\{?\s*+\\(?P<name>[A-Za-z]++)\s*+\}?\s*+(?=\{)"
    r"|\\g?def\s*+\\(?P<def>[A-Za-z]++)\s*+(?P<params>(?:#\d)*+)\s*+(?=\{)"
)
_CONFIG = re.compile(r"[\"']?[mM]acros[\"']?\s*:\s*\{")
_CONFIG_ENTRY = re.compile(
    r"(?<![A-Za-z])(?P<name>[A-Za-z]++)[\"']?\s*+:\s*+"
    r"(?:\[\s*+)?(?P<quote>[\"'`])(?P<body>(?:\\.|(?!(?P=quote))[^\\\n]){0,400})(?P=quote)(?:\s*,\s*(?P<args>\d))?"
)
# What stands in a brace up to its end: strings are skipped whole, and a second brace ends it.
_CONFIG_BLOCK = re.compile(r"""(?:[^{}"'`]++|"(?:\\.|[^"\\\n])*+"|'(?:\\.|[^'\\\n])*+'|`(?:\\.|[^`\\])*+`)*+""")
_JS_ESCAPE = re.compile(r"\\(.)")
_COMMAND = re.compile(r"\\([A-Za-z]+)(?![A-Za-z])")
_PARAMETER = re.compile(r"#(\d)")


@dataclass(frozen=True, slots=True)
class Macro:
    """What a command stands for."""

    body: str
    num_args: int = 0
    default: str | None = None
    """Value of the first argument where it is left out."""


Macros = dict[str, Macro]


def read_macros(page: str, scripts: str = "") -> Macros:
    """The macros that a page and its scripts define, by name without the backslash."""
    macros: Macros = {}
    if "acros" in scripts:
        for opening in list(_CONFIG.finditer(scripts))[:_MAX_CONFIGS]:
            block = _CONFIG_BLOCK.match(scripts, opening.end())
            for entry in _CONFIG_ENTRY.finditer(block[0] if block else ""):
                macros[entry["name"]] = Macro(_JS_ESCAPE.sub(r"\1", entry["body"]), int(entry["args"] or 0))
    for start in _starts(page):
        match = _DEFINITION.match(page, start)
        if match and (body := _braced(page, match.end(), MAX_BODY_CHARS)) is not None:
            name, macro = _macro(match, entities.unescape(body[1:-1]).strip())
            macros[name] = macro
    return {name: macro for name, macro in macros.items() if name not in _COMMAND.findall(macro.body)}


def _starts(page: str) -> list[int]:
    """Where definitions may start, in the page's order; a pattern of alternatives would stop at every backslash."""
    starts: list[int] = []
    for opening in _OPENINGS:
        at = page.find(opening)
        while at >= 0 and len(starts) < MAX_MACROS:
            starts.append(at)
            at = page.find(opening, at + 1)
    return sorted(starts)


def _macro(match: re.Match[str], body: str) -> tuple[str, Macro]:
    if match["operator"]:
        return match["name"], Macro(f"\\operatorname{match['star']}{{{body}}}")
    if match["def"]:
        return match["def"], Macro(body, match["params"].count("#"))
    default = match["default"][1:-1] if match["default"] and match["args"] else None
    return match["new"], Macro(body, int(match["args"] or 0), default)


def without_definitions(latex: str) -> str:
    """A formula without the definitions in it, which print nothing."""
    out = []
    done = 0
    for match in _DEFINITION.finditer(latex):
        body = _braced(latex, match.end(), MAX_FORMULA_CHARS)
        if match.start() >= done and body is not None:
            out.append(latex[done : match.start()])
            done = match.end() + len(body)
    return "".join((*out, latex[done:])).strip()


def expand(latex: str, macros: Macros) -> str:
    """A formula with the page's macros written out; unchanged where that does not end."""
    if macros.keys().isdisjoint(_COMMAND.findall(latex)):
        return latex
    expanded = latex
    for _ in range(_MAX_PASSES):
        once = _expand_once(expanded, macros)
        if once == expanded:
            return expanded
        if len(once) > MAX_FORMULA_CHARS:
            return latex
        expanded = once
    return latex


def _expand_once(latex: str, macros: Macros) -> str:
    out: list[str] = []
    done = position = 0
    while match := _COMMAND.search(latex, position):
        position = match.end()
        macro = macros.get(match[1])
        if macro is None:
            continue
        args, end = _arguments(latex, match.end(), macro)
        if args is None:
            continue
        body = _filled(macro.body, args)
        # A space keeps a command at the end from swallowing the letter that follows.
        gap = " " if latex[end : end + 1].isalpha() and re.search(r"\\[A-Za-z]+$", body) else ""
        out += (latex[done : match.start()], body, gap)
        done = position = end
    return "".join((*out, latex[done:]))


def _filled(body: str, args: list[str]) -> str:
    return _PARAMETER.sub(lambda found: args[int(found[1]) - 1] if 0 < int(found[1]) <= len(args) else "", body)


def _arguments(latex: str, position: int, macro: Macro) -> tuple[list[str] | None, int]:
    """The arguments of a command and where they end; None where the formula ends before them."""
    args: list[str] = []
    if macro.default is not None:
        optional = re.compile(r"\s*\[([^\[\]]*)\]").match(latex, position)
        args.append(optional[1] if optional else macro.default)
        position = optional.end() if optional else position
    while len(args) < macro.num_args:
        while position < len(latex) and latex[position].isspace():
            position += 1
        if position >= len(latex) or latex[position] == "}":
            return None, position
        if latex[position] == "{":
            braced = _braced(latex, position, MAX_FORMULA_CHARS)
            if braced is None:
                return None, position
            args.append(braced[1:-1])
            position += len(braced)
        else:
            token = _COMMAND.match(latex, position)
            args.append(token[0] + " " if token else latex[position])
            position = token.end() if token else position + 1
    return args, position


def _braced(text: str, start: int, max_chars: int) -> str | None:
    """The group in braces that opens at `start`, None where it does not close in time."""
    depth = 0
    position = start
    limit = min(len(text), start + max_chars + 2)
    while position < limit:
        char = text[position]
        if char == "\\":
            position += 2
            continue
        depth += (char == "{") - (char == "}")
        position += 1
        if depth == 0:
            return text[start:position]
    return None
