"""Algebra on answers by math-verify, and the loop of a grading worker. Imported by workers alone.

math-verify 0.9 is right on most expressions and wrong on some, so both sides are first evaluated at a few
points, where 10^{-20} is not 0 and R is not r; equations are compared by the ratio of their sides' differences.
"""

import json
import logging
import os
import re
import resource
import signal
import sys
from collections.abc import Sequence
from itertools import count

import math_verify.grader
import math_verify.parser
from latex2sympy2_extended.latex2sympy2 import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify
from sympy import Expr, Float, I, Rational, Symbol, fraction, together

from rl.comparison import compare

_PRECISION = 30  # digits of an evaluation
_POINTS = (  # values of the variables in turn; negative ones tell |x| from x
    (Rational(7, 5), Rational(31, 13), Rational(-17, 11), Rational(23, 7)),
    (Rational(-29, 19), Rational(5, 3), Rational(37, 17), Rational(-3, 7)),
    (Rational(41, 23), Rational(-13, 9), Rational(11, 29), Rational(53, 31)),
)
_EXTRACTION = LatexExtractionConfig(
    normalization_config=NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none", equations=False
    )
)
_BARE_LOG = re.compile(r"\\log(?!\s*_)(?![a-z])")
_SPARE_LETTERS = ("kappa", "iota", "upsilon", "chi", "eta", "zeta", "tau", "nu", "rho", "xi")


class MathVerify:
    """The `Symbolic` engine of `rl.comparison`, by math-verify and sympy."""

    def same_value(self, answer: str, gold: str) -> bool:
        answer, gold = _readable([answer, gold])
        if _are_equal(_parse(answer), _parse(gold)):
            return True
        natural = [_BARE_LOG.sub(r"\\ln ", text) for text in (answer, gold)]  # base 10 at school, e after it
        return natural != [answer, gold] and _are_equal(*map(_parse, natural))

    def same_relation(self, answer: Sequence[str], gold: Sequence[str], *, is_equation: bool) -> bool:
        sides = [_parse(side) for side in _readable([*answer, *gold])]
        if not all(map(_is_expression, sides)):
            return False
        said, due = sides[0][0] - sides[1][0], sides[2][0] - sides[3][0]
        if is_equation:  # 1/x = y and 1 = xy: denominators do not matter
            said, due = (fraction(together(difference))[0] for difference in (said, due))
        ratio = _constant_ratio(said, due)
        return ratio is not None and (is_equation or ratio > 0)


def _are_equal(said: list, due: list) -> bool:
    if _is_expression(said) and _is_expression(due) and _differ(said[0], due[0]):
        return False  # and sooner than by simplifying
    return bool(verify(due, said, timeout_seconds=None, raise_on_error=True))


def _parse(latex: str) -> list:
    """What math-verify reads in the LaTeX; without its removal of units, which takes 6m for 6."""
    try:
        parsed = list(parse(f"${latex}$", [_EXTRACTION], parsing_timeout=None, raise_on_error=True))
    except Exception as error:
        if type(error) is Exception:  # latex2sympy's word for LaTeX that it cannot read
            return []
        raise
    if _is_expression(parsed):
        imaginary = [symbol for symbol in parsed[0].free_symbols if str(symbol) == "i"]
        parsed[0] = parsed[0].subs([(symbol, I) for symbol in imaginary])
    return parsed


def _is_expression(parsed: list) -> bool:
    return bool(parsed) and isinstance(parsed[0], Expr)


def _readable(texts: Sequence[str]) -> list[str]:
    """What math-verify misreads, rewritten: C_5^2, 1\\frac{4}{5}x, E_1, and R beside r, one letter to it."""
    texts = [re.sub(r"[C]_\{?(\d+)\}?\^\{?(\d+)\}?", r"\\binom{\1}{\2}", text) for text in texts]
    texts = [re.sub(r"(?<![\d.}])(\d+)\s*(\\frac\{\d+\}\{\d+\})", r"(\1+\2)", text) for text in texts]
    together_text = " ".join(texts)
    letters = set(re.findall(r"[A-Za-z]", re.sub(r"\\mathbb\{[A-Z]\}|\\[a-zA-Z]+", " ", together_text)))
    spare = (name for name in _SPARE_LETTERS if name not in together_text)
    doubtful = {letter for letter in letters if letter.isupper() and letter.lower() in letters}
    for capital in sorted(doubtful | ({"E"} if "E_" in together_text else set())):
        name = next(spare, None)
        if name is None:
            break
        texts = [re.sub(rf"(?<![a-zA-Z\\])(?<!\\mathbb\{{){capital}(?![a-z])", rf"\\{name} ", text) for text in texts]
    return texts


def _differ(said: Expr, due: Expr) -> bool:
    """Whether the two take different values somewhere; False also where they cannot be evaluated."""
    tolerance = 1e-5 if said.has(Float) or due.has(Float) else 1e-12
    for values in _values(said, due):
        size = max(abs(value) for value in values)
        if abs(values[0] - values[1]) > tolerance * size:
            return True
    return False


def _constant_ratio(said: Expr, due: Expr) -> float | None:
    """The ratio of two expressions if it is one real number other than 0 wherever they are evaluated, else None."""
    ratios = [values[0] / values[1] for values in _values(said, due) if values[1] != 0]
    if not ratios or any(abs(ratio - ratios[0]) > 1e-12 * abs(ratios[0]) for ratio in ratios):
        return None
    ratio = complex(ratios[0])
    return ratio.real if abs(ratio.imag) < 1e-12 * abs(ratio) and ratio != 0 else None


def _values(said: Expr, due: Expr) -> list[tuple]:
    """(value of one, value of the other) at each point where both have a finite one."""
    symbols = sorted(said.free_symbols | due.free_symbols, key=str)
    if not all(isinstance(symbol, Symbol) for symbol in symbols):
        return []
    found = []
    for number, point in enumerate(_POINTS):
        shifted = {symbol: point[i % 4] + i // 4 + number * i for i, symbol in zip(count(), symbols)}
        values = tuple(side.subs(shifted).doit().evalf(_PRECISION) for side in (said, due))
        if all(value.is_number and value.is_finite for value in values):
            found.append(values)
    return found


def serve() -> None:
    """Answers {"answer", "gold"} lines on standard input with {"correct", "rule"} or {"crash"} lines, until it ends.

    Arguments of the process: seconds a comparison may take, MiB of address space. The parent kills a worker at the
    limit; the alarm here does it a second later for a worker whose parent has died.
    """
    timeout_s, max_memory_mb = float(sys.argv[1]), int(sys.argv[2])
    logging.disable(logging.CRITICAL)
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints must not break the protocol
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair; it closes our input
    _limit(resource.RLIMIT_CORE, 0)
    compare("\\sqrt{x^2+1}", "1+x", MathVerify())  # the first parse loads the grammar
    _let_memory_errors_through()
    if sys.platform != "darwin":  # where the limit is not enforced
        _limit(resource.RLIMIT_AS, max_memory_mb << 20)
    print('{"ready": true}', file=replies, flush=True)
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_REAL, timeout_s + 1)
        reply = _reply(json.loads(line))
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps(reply), file=replies, flush=True)
        if reply.get("crash") == "MemoryError":
            return  # what it holds is not worth keeping; the parent starts another


def _let_memory_errors_through() -> None:
    """math-verify calls whatever it catches "wrong"; an answer too large to evaluate must be a crash instead.

    Its two modules find the name Exception here first: every kind that exists by now but for MemoryError.
    """
    ordinary = tuple(kind for kind in Exception.__subclasses__() if kind is not MemoryError)
    for module in (math_verify.grader, math_verify.parser):
        vars(module)["Exception"] = ordinary


def _reply(job: dict[str, str]) -> dict[str, object]:
    try:
        verdict = compare(job["answer"], job["gold"], MathVerify())
    except Exception as error:  # sympy raises anything; the parent counts it by name
        return {"crash": type(error).__name__}
    return {"correct": bool(verdict.correct), "rule": verdict.rule}


def _limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    resource.setrlimit(what, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


if __name__ == "__main__":
    serve()
