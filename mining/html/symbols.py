"""What a mathematical character is called in LaTeX, the names that LaTeX sets upright, and pieces put in one row."""

import re

SYMBOLS = {
    "α": "\\alpha", "β": "\\beta", "γ": "\\gamma", "δ": "\\delta", "ε": "\\varepsilon", "ɛ": "\\varepsilon",
    "ϵ": "\\epsilon", "ζ": "\\zeta", "η": "\\eta", "θ": "\\theta", "ϑ": "\\vartheta", "ι": "\\iota", "κ": "\\kappa",
    "λ": "\\lambda", "μ": "\\mu", "µ": "\\mu", "ν": "\\nu", "ξ": "\\xi", "π": "\\pi", "ϖ": "\\varpi", "ρ": "\\rho",
    "ϱ": "\\varrho", "σ": "\\sigma", "ς": "\\varsigma", "τ": "\\tau", "υ": "\\upsilon", "φ": "\\varphi", "ϕ": "\\phi",
    "χ": "\\chi", "ψ": "\\psi", "ω": "\\omega", "Γ": "\\Gamma", "Δ": "\\Delta", "Θ": "\\Theta", "Λ": "\\Lambda",
    "Ξ": "\\Xi", "Π": "\\Pi", "Σ": "\\Sigma", "Υ": "\\Upsilon", "Φ": "\\Phi", "Ψ": "\\Psi", "Ω": "\\Omega",
    "∂": "\\partial", "∇": "\\nabla", "∞": "\\infty", "ℓ": "\\ell", "ℏ": "\\hbar", "ℜ": "\\Re", "ℑ": "\\Im",
    "ℵ": "\\aleph", "∅": "\\emptyset", "∀": "\\forall", "∃": "\\exists", "∄": "\\nexists", "¬": "\\neg", "∑": "\\sum",
    "∏": "\\prod", "∐": "\\coprod", "∫": "\\int", "∬": "\\iint", "∭": "\\iiint", "∮": "\\oint", "⋃": "\\bigcup",
    "⋂": "\\bigcap", "⨁": "\\bigoplus", "⨂": "\\bigotimes", "⋁": "\\bigvee", "⋀": "\\bigwedge", "±": "\\pm",
    "∓": "\\mp", "×": "\\times", "÷": "\\div", "·": "\\cdot", "⋅": "\\cdot", "∗": "*", "−": "-", "∘": "\\circ",
    "∙": "\\bullet", "•": "\\bullet", "⊕": "\\oplus", "⊖": "\\ominus", "⊗": "\\otimes", "⊙": "\\odot", "∪": "\\cup",
    "∩": "\\cap", "⊔": "\\sqcup", "⊓": "\\sqcap", "∨": "\\vee", "∧": "\\wedge", "∖": "\\setminus", "≤": "\\le",
    "≥": "\\ge", "≠": "\\ne", "≡": "\\equiv", "≈": "\\approx", "∼": "\\sim", "≃": "\\simeq", "≅": "\\cong",
    "≢": "\\not\\equiv", "∝": "\\propto", "≪": "\\ll", "≫": "\\gg", "≺": "\\prec", "≻": "\\succ", "⪯": "\\preceq",
    "⪰": "\\succeq", "⩽": "\\leqslant", "⩾": "\\geqslant", "∈": "\\in", "∉": "\\notin", "∋": "\\ni", "⊂": "\\subset",
    "⊃": "\\supset", "⊆": "\\subseteq", "⊇": "\\supseteq", "⊊": "\\subsetneq", "⊄": "\\not\\subset", "⊢": "\\vdash",
    "⊨": "\\models", "⊥": "\\perp", "∥": "\\parallel", "∣": "|", "∤": "\\nmid", "∠": "\\angle", "△": "\\triangle",
    "□": "\\square", "→": "\\to", "←": "\\leftarrow", "↔": "\\leftrightarrow", "⇒": "\\Rightarrow",
    "⇐": "\\Leftarrow", "⇔": "\\Leftrightarrow", "⟶": "\\longrightarrow", "⟵": "\\longleftarrow",
    "⟷": "\\longleftrightarrow", "⟹": "\\implies", "⟸": "\\impliedby", "⟺": "\\iff", "↦": "\\mapsto",
    "⟼": "\\longmapsto", "↪": "\\hookrightarrow", "↠": "\\twoheadrightarrow", "↑": "\\uparrow", "↓": "\\downarrow",
    "⇀": "\\rightharpoonup", "⇌": "\\rightleftharpoons", "…": "\\dots", "⋯": "\\cdots", "⋮": "\\vdots",
    "⋱": "\\ddots", '′': "'", '″': "''", '‴': "'''", "⟨": "\\langle", "⟩": "\\rangle", "〈": "\\langle",
    "〉": "\\rangle", "\u2329": "\\langle", "\u232a": "\\rangle", "⌊": "\\lfloor", "⌋": "\\rfloor", "⌈": "\\lceil",
    "⌉": "\\rceil", "‖": "\\|", "∴": "\\therefore", "∵": "\\because", "√": "\\surd", "†": "\\dagger",
    "‡": "\\ddagger", "⋆": "\\star", "★": "\\star", "◯": "\\bigcirc", "⊤": "\\top", "≜": "\\triangleq", "≔": ":=",
    "°": "^{\\circ}", "ı": "\\imath", "ȷ": "\\jmath", "≲": "\\lesssim", "≳": "\\gtrsim", "⋉": "\\ltimes",
    "⋊": "\\rtimes", "⊲": "\\lhd", "⊳": "\\rhd", "⊴": "\\unlhd", "◊": "\\Diamond", "℧": "\\mho", "≐": "\\doteq",
    "■": "\\blacksquare", "◼": "\\blacksquare", "◻": "\\square", "▲": "\\blacktriangle", "▽": "\\triangledown",
    "♠": "\\spadesuit", "♡": "\\heartsuit", "♢": "\\diamondsuit", "♣": "\\clubsuit", "♯": "\\sharp", "♭": "\\flat",
    "♮": "\\natural", "≍": "\\asymp", "⋈": "\\bowtie", "⊎": "\\uplus", "≀": "\\wr", "⊑": "\\sqsubseteq",
    "⊒": "\\sqsupseteq", "⊏": "\\sqsubset", "⊐": "\\sqsupset", "⊬": "\\nvdash", "⊩": "\\Vdash", "⊣": "\\dashv",
    "⊵": "\\unrhd", "⋄": "\\diamond", "≮": "\\nless", "≯": "\\ngtr", "≰": "\\nleq", "≱": "\\ngeq", "⊈": "\\nsubseteq",
    "⊉": "\\nsupseteq", "⊋": "\\supsetneq", "≁": "\\nsim", "∦": "\\nparallel", "∡": "\\measuredangle",
    "∢": "\\sphericalangle", "⇑": "\\Uparrow", "⇓": "\\Downarrow", "↕": "\\updownarrow", "⇕": "\\Updownarrow",
    "↗": "\\nearrow", "↘": "\\searrow", "↙": "\\swarrow", "↖": "\\nwarrow", "↩": "\\hookleftarrow",
    "⇝": "\\rightsquigarrow", "⇋": "\\leftrightharpoons", "↼": "\\leftharpoonup", "↽": "\\leftharpoondown",
    "⇁": "\\rightharpoondown", "⇉": "\\rightrightarrows", "⇄": "\\rightleftarrows", "↣": "\\rightarrowtail",
    "⊸": "\\multimap", "↾": "\\upharpoonright", "⨿": "\\amalg", "∔": "\\dotplus", "⋔": "\\pitchfork", "∯": "\\oiint",
    "⨆": "\\bigsqcup", "⨀": "\\bigodot", "⨄": "\\biguplus", "⊚": "\\circledcirc", "⊞": "\\boxplus", "⊠": "\\boxtimes",
    "⊡": "\\boxdot", "⊻": "\\veebar", "⊼": "\\barwedge", "⋘": "\\lll", "⋙": "\\ggg", "⪅": "\\lessapprox",
    "⪆": "\\gtrapprox", "≶": "\\lessgtr", "≽": "\\succcurlyeq", "≼": "\\preccurlyeq", "≊": "\\approxeq",
    "⌢": "\\frown", "⌣": "\\smile", "ℶ": "\\beth", "ð": "\\eth", "Ⅎ": "\\Finv", "⟦": "[\\![", "⟧": "]\\!]", "⟮": "(",
    "⟯": ")", "∶": ":", "⫽": "//", "⩵": "==", "≕": "=:", "≝": "\\overset{\\text{def}}{=}", "≟": "\\overset{?}{=}",
    "✓": "\\checkmark", "⌀": "\\varnothing", "∁": "\\complement", "%": "\\%", "#": "\\#", "&": "\\&", "$": "\\$",
    "_": "\\_", "{": "\\{", "}": "\\}", "~": "\\sim", "ℝ": "\\mathbb{R}", "ℂ": "\\mathbb{C}", "ℕ": "\\mathbb{N}",
    "ℤ": "\\mathbb{Z}", "ℚ": "\\mathbb{Q}", "ℙ": "\\mathbb{P}", "ℒ": "\\mathcal{L}", "ℋ": "\\mathcal{H}",
    "ℱ": "\\mathcal{F}", "𝔼": "\\mathbb{E}", "℘": "\\wp", "|": "|", "\\": "\\backslash",
}  # fmt: skip

FUNCTIONS = frozenset((
    "sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth", "arcsin", "arccos", "arctan", "exp",
    "log", "ln", "lg", "lim", "limsup", "liminf", "max", "min", "sup", "inf", "det", "dim", "ker", "gcd", "deg",
    "arg", "hom", "Pr",
))  # fmt: skip

_NEEDS_GAP = re.compile(r"\\[A-Za-z]+$")


def join(parts: list[str]) -> str:
    """LaTeX pieces in one row, with a space only where a command would swallow the next letter."""
    out = ""
    for part in parts:
        if out and part[:1].isalpha() and _NEEDS_GAP.search(out[-40:]):
            out += " "
        out += part
    return out
