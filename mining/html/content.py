"""Content MathML -> LaTeX: operators applied to operands, as MathML 2 and 3 name them, and the strict `csymbol` form.

Each reader gets the element, its depth and `read`, which gives the LaTeX of any child.
"""

from collections.abc import Callable

from resiliparse.parse.html import ElementNode

from mining.html.symbols import FUNCTIONS, SYMBOLS, join

Read = Callable[[ElementNode, int], str]

_INFIX = {
    "eq": "=", "neq": "\\ne", "lt": "<", "gt": ">", "leq": "\\le", "geq": "\\ge", "in": "\\in", "notin": "\\notin",
    "subset": "\\subseteq", "prsubset": "\\subset", "notsubset": "\\nsubseteq", "union": "\\cup", "plus": "+",
    "intersect": "\\cap", "and": "\\wedge", "or": "\\vee", "xor": "\\oplus", "implies": "\\implies", "minus": "-",
    "times": " ", "equivalent": "\\equiv", "approx": "\\approx", "setdiff": "\\setminus", "tendsto": "\\to",
    "cartesianproduct": "\\times", "compose": "\\circ", "rem": "\\bmod", "factorof": "\\mid",
    "outerproduct": "\\otimes", "vectorproduct": "\\times", "scalarproduct": "\\cdot",
}  # fmt: skip
_AROUND = {
    "abs": ("|", "|"), "floor": ("\\lfloor ", "\\rfloor"), "ceiling": ("\\lceil ", "\\rceil"), "factorial": ("", "!"),
    "conjugate": ("\\overline{", "}"), "transpose": ("", "^{T}"), "inverse": ("", "^{-1}"), "not": ("\\neg ", ""),
    "card": ("|", "|"), "real": ("\\Re(", ")"), "imaginary": ("\\Im(", ")"), "divergence": ("\\nabla\\cdot ", ""),
    "grad": ("\\nabla ", ""), "curl": ("\\nabla\\times ", ""), "laplacian": ("\\nabla^{2}", ""),
    "determinant": ("\\det ", ""),
}  # fmt: skip
_POSTFIX = ("factorial", "transpose", "inverse")
_NAMED = {"arcsinh": "\\operatorname{arcsinh}", "arccosh": "\\operatorname{arccosh}", "log": "\\log", "ln": "\\ln"}
_CONSTANTS = {
    "pi": "\\pi", "infinity": "\\infty", "exponentiale": "e", "imaginaryi": "i", "emptyset": "\\emptyset",
    "reals": "\\mathbb{R}", "integers": "\\mathbb{Z}", "rationals": "\\mathbb{Q}", "naturalnumbers": "\\mathbb{N}",
    "complexes": "\\mathbb{C}", "primes": "\\mathbb{P}", "eulergamma": "\\gamma", "true": "\\text{true}",
    "false": "\\text{false}", "notanumber": "\\text{NaN}",
}  # fmt: skip
_QUALIFIERS = (
    "bvar", "lowlimit", "uplimit", "interval", "condition", "domainofapplication", "degree", "logbase", "momentabout",
)  # fmt: skip
_ROW_END = " \\\\ "
_INTERVALS = {"open": "()", "open-closed": "(]", "closed-open": "[)"}
# Operators whose operands need brackets when they are sums themselves.
_TIGHT = frozenset(("times", "power", "minus", "factorial", "transpose", "inverse", "not", "determinant"))
_LOOSE = frozenset(("plus", "minus"))


def _children(element: ElementNode) -> list[ElementNode]:
    return [child for child in element.children.values() if child.tag not in ("annotation", "annotation-xml")]


def _operator_name(element: ElementNode) -> str:
    """The operator's name: of `<csymbol cd="arith1">plus</csymbol>` its text."""
    if element.tag == "csymbol" and (element.getattr("cd") or element.getattr("definitionURL")):
        return (element.text_content or "").strip()
    return element.tag or ""


def _qualifiers(children: list[ElementNode], depth: int, read: Read) -> dict[str, str]:
    """LaTeX of what binds and bounds, by element; several bound variables with commas."""
    found: dict[str, str] = {}
    for child in children:
        tag = child.tag or ""
        inner = _children(child)
        if tag == "bvar" and inner:
            latex = read(inner[0], depth + 1)
            found["bvar"] = f"{found['bvar']},{latex}" if "bvar" in found else latex
            degree = [node for node in inner[1:] if node.tag == "degree"]
            if degree:
                found["degree"] = _inner(degree[0], depth, read)
        elif tag == "interval" and len(inner) == 2:
            found["lowlimit"], found["uplimit"] = (read(node, depth + 1) for node in inner)
        else:
            found[tag] = _inner(child, depth, read)
    return found


def _inner(element: ElementNode, depth: int, read: Read) -> str:
    children = _children(element)
    return join([read(child, depth + 1) for child in children]) if children else (element.text_content or "").strip()


def _apply(element: ElementNode, depth: int, read: Read) -> str:
    """`<apply>`: an operator and its operands."""
    children = _children(element)
    if not children:
        return ""
    operator, rest = children[0], children[1:]
    name = _operator_name(operator)
    takes_interval = name in ("int", "sum", "product")
    is_bound = [child.tag in _QUALIFIERS and (child.tag != "interval" or takes_interval) for child in rest]
    given = _qualifiers([child for child, bound in zip(rest, is_bound, strict=True) if bound], depth, read)
    operands = [child for child, bound in zip(rest, is_bound, strict=True) if not bound]
    args = [_operand(name, child, index, depth, read) for index, child in enumerate(operands)]
    latex = _special(name, args, given)
    if latex is not None:
        return latex
    head = _NAMED.get(name) or (f"\\{name}" if name in FUNCTIONS else "")
    if not head:
        head = read(operator, depth + 1) if operator.tag in ("ci", "csymbol", "apply", "mi", "mrow") else ""
    head = head or f"\\operatorname{{{name}}}"
    return f"{head}({','.join(args)})"


def _operand(name: str, child: ElementNode, index: int, depth: int, read: Read) -> str:
    """One operand, in brackets where the operator binds tighter than the sum inside it."""
    latex = read(child, depth + 1)
    inner = child.first_element_child if child.tag == "apply" else None
    inside = _operator_name(inner) if inner is not None else ""
    if name not in _TIGHT or not inside:
        return latex
    is_loose = inside in _LOOSE and not (name == "minus" and index == 0)
    # The base of a power needs brackets around anything that is not one symbol.
    is_base = index == 0 and (name == "power" or name in _POSTFIX) and inside in (*_LOOSE, "times", "divide", "power")
    if not (is_loose or is_base):
        return latex
    return f"\\left({latex}\\right)" if "\\frac" in latex else f"({latex})"


def _special(name: str, args: list[str], given: dict[str, str]) -> str | None:
    """LaTeX of the operators that have a notation of their own, None for a plain function."""
    if name == "minus" and len(args) == 1:
        return f"-{args[0]}"
    if name in _INFIX:
        return join([piece for index, arg in enumerate(args) for piece in ((_INFIX[name], arg) if index else (arg,))])
    if name in _AROUND and len(args) == 1:
        left, right = _AROUND[name]
        return f"{left}{args[0]}{right}"
    if name in ("divide", "power") and len(args) == 2:
        return f"\\frac{{{args[0]}}}{{{args[1]}}}" if name == "divide" else f"{args[0]}^{{{args[1]}}}"
    if name == "root" and args:
        degree = given.get("degree", "")
        index = f"[{degree}]" if degree not in ("", "2") else ""
        return f"\\sqrt{index}{{{args[-1]}}}"
    if name == "log" and "logbase" in given and args:
        return f"\\log_{{{given['logbase']}}}({args[0]})"
    if name in ("sum", "product", "int", "limit"):
        return _big_operator(name, args, given)
    if name in ("diff", "partialdiff") and args:
        return _derivative(name, args, given)
    if name in ("forall", "exists"):
        condition = f",{given['condition']}" if "condition" in given else ""
        return join([f"\\{name} ", given.get("bvar", ""), condition, ":" if args else "", *args])
    if name == "quotient" and len(args) == 2:
        return f"\\left\\lfloor\\frac{{{args[0]}}}{{{args[1]}}}\\right\\rfloor"
    if name == "selector" and len(args) > 1:
        return f"{args[0]}_{{{','.join(args[1:])}}}"
    if name == "mean" and len(args) == 1:
        return f"\\overline{{{args[0]}}}"
    return None


def _big_operator(name: str, args: list[str], given: dict[str, str]) -> str:
    command = {"sum": "\\sum", "product": "\\prod", "int": "\\int", "limit": "\\lim"}[name]
    variable, low, high = (given.get(tag, "") for tag in ("bvar", "lowlimit", "uplimit"))
    if not low:
        low = given.get("condition", "") or given.get("domainofapplication", "")
    elif name == "limit":
        low = join([variable, "\\to", low])
    elif name != "int" and variable:
        low = f"{variable}={low}"
    out = command + (f"_{{{low}}}" if low else "") + (f"^{{{high}}}" if high else "")
    return join([out, *args, f"\\,d{variable}" if name == "int" and variable else ""])


def _derivative(name: str, args: list[str], given: dict[str, str]) -> str:
    mark = "d" if name == "diff" else "\\partial "
    variables = [variable for variable in given.get("bvar", "").split(",") if variable]
    if not variables:
        return f"{args[-1]}'"
    degree = given.get("degree", "") or (str(len(variables)) if len(variables) > 1 else "")
    power = f"^{{{degree}}}" if degree else ""
    own = power if len(variables) == 1 else ""
    below = "".join(f"{mark}{variable}{own}" for variable in variables)
    return f"\\frac{{{mark.strip()}{power}{'' if mark == 'd' or power else ' '}{args[-1]}}}{{{below}}}"


def _number(element: ElementNode, depth: int, read: Read) -> str:
    """`<cn>`, whose parts `<sep/>` divides."""
    parts = [(node.value or "").strip() for node in element.child_nodes.values() if node.tag == "#text"]
    kind = element.getattr("type") or ""
    if len(parts) == 2 and kind == "rational":
        return f"\\frac{{{parts[0]}}}{{{parts[1]}}}"
    if len(parts) == 2 and kind == "e-notation":
        return f"{parts[0]}\\times10^{{{parts[1]}}}"
    if len(parts) == 2 and kind.startswith("complex"):
        return f"{parts[0]}+{parts[1]}i" if kind == "complex-cartesian" else f"{parts[0]}e^{{{parts[1]}i}}"
    text = " ".join((element.text_content or "").split())
    return SYMBOLS.get(text, text).replace("−", "-")


def _matrix(element: ElementNode, depth: int, read: Read) -> str:
    rows = [[read(cell, depth + 2) for cell in _children(row)] for row in _children(element) if row.tag == "matrixrow"]
    return f"\\begin{{pmatrix}}{_ROW_END.join(' & '.join(row) for row in rows)}\\end{{pmatrix}}"


def _vector(element: ElementNode, depth: int, read: Read) -> str:
    return f"\\begin{{pmatrix}}{_ROW_END.join(read(child, depth + 1) for child in _children(element))}\\end{{pmatrix}}"


def _piecewise(element: ElementNode, depth: int, read: Read) -> str:
    rows = []
    for piece in _children(element):
        parts = [read(child, depth + 2) for child in _children(piece)]
        if piece.tag == "otherwise":
            rows.append(f"{''.join(parts)} & \\text{{otherwise}}")
        else:
            rows.append(" & \\text{if }".join(parts[:2]))
    return f"\\begin{{cases}}{_ROW_END.join(rows)}\\end{{cases}}"


def _listed(left: str, right: str) -> Callable[[ElementNode, int, Read], str]:
    def read_list(element: ElementNode, depth: int, read: Read) -> str:
        children = _children(element)
        given = _qualifiers([child for child in children if child.tag in ("bvar", "condition")], depth, read)
        items = [read(child, depth + 1) for child in children if child.tag not in ("bvar", "condition")]
        if "condition" in given:
            return f"{left}{','.join(items) or given.get('bvar', '')}\\mid {given['condition']}{right}"
        return f"{left}{','.join(items)}{right}"

    return read_list


def _interval(element: ElementNode, depth: int, read: Read) -> str:
    brackets = _INTERVALS.get(element.getattr("closure") or "", "[]")
    return f"{brackets[0]}{','.join(read(child, depth + 1) for child in _children(element))}{brackets[1]}"


def _constant(element: ElementNode, depth: int, read: Read) -> str:
    return _CONSTANTS[element.tag or ""]


def _nothing(element: ElementNode, depth: int, read: Read) -> str:
    return ""


def _lambda(element: ElementNode, depth: int, read: Read) -> str:
    children = _children(element)
    given = _qualifiers([child for child in children if child.tag == "bvar"], depth, read)
    body = [read(child, depth + 1) for child in children if child.tag != "bvar"]
    return join([given.get("bvar", ""), "\\mapsto", *body])


CONTENT: dict[str, Callable[[ElementNode, int, Read], str]] = {
    "apply": _apply, "reln": _apply, "bind": _apply, "cn": _number, "matrix": _matrix, "vector": _vector,
    "piecewise": _piecewise, "set": _listed("\\{", "\\}"), "list": _listed("[", "]"), "interval": _interval,
    "lambda": _lambda, "declare": _nothing, **dict.fromkeys(_CONSTANTS, _constant),
}  # fmt: skip
