"""A benchmark problem as another page might have it: what the tests and the bench of decontamination plant."""

import random
import re


def rewritten(text: str, seed: int) -> str:
    """The text with layout, case, LaTeX spelling, digits' width and punctuation changed; words and order are kept."""
    rng = random.Random(seed)
    swaps = [
        (r"(?<!\\)\\d?frac", lambda m: rng.choice([r"\frac", r"\dfrac", r"\tfrac"])),
        (r"\}\s*\{", lambda m: rng.choice(["}{", "} {", "}  {"])),
        (r"\\leq?(?![a-zA-Z])", lambda m: rng.choice([r"\le ", r"\leq ", "≤"])),
        (
            r"(?<![\\$])\$(?!\$)([^$\n]{1,300})(?<![\\$])\$(?!\$)",
            lambda m: rng.choice([r"\(%s\)", "$ %s $", "$$%s$$"]) % m[1],
        ),
        (r"(?<=[a-z\u4e00-\u9fff])[,，]", lambda m: rng.choice([",", "，", " , ", "、"])),
        (r"[.。](?=\s|$)", lambda m: rng.choice([".", "。", "...", " ."])),
        (r"[?？]", lambda m: rng.choice(["?", "？", " ?"])),
        (r"[0-9]", lambda m: m[0] if seed % 2 else chr(ord(m[0]) + 0xFEE0)),
        (r"(?<=\S) (?=\S)", lambda m: rng.choice([" ", "  ", "\n", "\u00a0", "\u3000"])),
        (r"'", lambda m: rng.choice(["'", "’"])),
        (r"(?<=[\u4e00-\u9fff])(?=[\u4e00-\u9fff])", lambda m: rng.choice(["", "", "", " "])),
    ]
    for pattern, replacement in swaps:
        text = re.sub(pattern, replacement, text)
    return rng.choice([str, str.upper, str.capitalize])(text) if "\\" not in text else text
