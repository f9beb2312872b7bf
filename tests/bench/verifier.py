"""The grader against math-verify on the golds of public benchmarks: who is wrong, how fast, how soon a hang is killed.

Cases: every gold against itself and against other ways to write it (must be right), and against wrong answers made of
it, by another number, letter, sign, bracket or order (must be wrong). math-verify gets gold and answer as its README
asks: in dollars, unless they hold some.

    python tests/bench/verifier.py [--limit 40] [--wrong wrong.tsv] [--json]

Benchmarks are those of ../shared/data (or MOTHERLODE_DATA); one worker, wall-clock.
"""

import argparse
import json
import os
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

from reports.rows import Row, as_json, print_rows
from rich.console import Console

from rl.answers import dress, normalise
from rl.problems import read_problems
from rl.quantities import number
from rl.verifier import Grade, Verifier, grade_by_rules

REPOSITORY = Path(__file__).resolve().parents[2]


def main() -> None:
    arguments = _arguments()
    data = Path(os.environ.get("MOTHERLODE_DATA", REPOSITORY.parent / "shared" / "data")) / "benchmarks"
    golds = list(_golds(data, limit=arguments.limit))
    if not golds:
        raise SystemExit(f"no benchmarks at {data}; set MOTHERLODE_DATA")
    cases = [(kind, gold, answer, right) for gold in golds for kind, answer, right in _cases(gold)]
    rng = random.Random(0)
    rng.shuffle(cases)
    with Verifier(num_workers=1, timeout_s=2.0) as verifier:
        verifier.grade("\\boxed{x+1}", "1+x")  # a worker is ready
        started = time.perf_counter()
        ours = verifier.grade_all([f"\\boxed{{{answer}}}" for _, _, answer, _ in cases], [case[1] for case in cases])
        seconds = time.perf_counter() - started
        kills, revivals = [], []
        for digit in range(5, 10):
            hang = f"\\boxed{{9^{{9^{{9^{digit}}}}}}}"
            started = time.perf_counter()
            verifier.grade(hang, "5")
            kills.append(time.perf_counter() - started)
            verifier.grade(f"\\boxed{{x+{digit}}}", f"{digit}+x")
            revivals.append(time.perf_counter() - started - kills[-1])
    dress.cache_clear()
    normalise.cache_clear()
    started = time.perf_counter()
    by_rules = [grade_by_rules(f"\\boxed{{{answer}}}", gold) for _, gold, answer, _ in cases]
    rules_seconds = time.perf_counter() - started
    started = time.perf_counter()
    theirs = [_math_verify(answer, gold) for _, gold, answer, _ in cases]
    their_seconds = time.perf_counter() - started
    rows = list(_rows(cases, ours, theirs))
    rows += [
        _row("all cases", "grades_per_s", len(cases) / seconds, len(cases) / their_seconds),
        _row("settled by rules", "grades_per_s", len(cases) / rules_seconds, len(cases) / their_seconds),
        _row("settled by rules", "share", sum(grade is not None for grade in by_rules) / len(cases), None),
        _row("hang, limit 2 s: slowest of 5", "s_until_graded", max(kills), None),
        _row("first grade after a kill: slowest of 5", "s", max(revivals), None),
    ]
    if arguments.wrong:
        _write_wrong(arguments.wrong, cases, ours, theirs)
    if arguments.json:
        print(json.dumps({"rows": as_json(rows)}))
    else:
        print_rows(Console(width=130), f"{len(cases)} gradings of {len(golds)} golds", rows)


def _golds(folder: Path, *, limit: int) -> Iterator[str]:
    """Different golds of every benchmark that has answers, at most `limit` of each."""
    seen: set[str] = set()
    for path in sorted(folder.glob("*.test.jsonl.gz")):
        if "isabelle" in path.name:  # proofs, no answers
            continue
        answers = list(dict.fromkeys(problem.answer for problem in read_problems(str(path), skip_unanswered=True)))
        random.Random(0).shuffle(answers)
        for answer in answers[:limit]:
            if answer not in seen:
                seen.add(answer)
                yield answer


def _cases(gold: str) -> Iterator[tuple[str, str, bool]]:
    """(kind, answer, whether it is right)."""
    yield "itself", gold, True
    value = number(gold.strip("$"))
    if value is not None and value.denominator == 1 and re.fullmatch(r"-?\d+", gold):
        yield "unit, Chinese", f"{gold}元", True
        yield "numeral, Chinese", _in_chinese(int(value)), True
        yield "full-width", gold.translate({code: code + 0xFEE0 for code in range(0x21, 0x7F)}), True
        yield "unit, English", f"{gold}\\text{{ apples}}", True
        yield "decimal", f"{gold}.0", True
        yield "percent", f"{gold}\\%", value == 0
    elif re.search(r"[\d\\]", gold):
        yield "spaced", re.sub(r"(?<=[,+=])(?!\s)", " ", gold), True
        sized = re.sub(r"(?<!left)\(", r"\\left(", re.sub(r"(?<!right)\)", r"\\right)", gold))
        yield "display", sized.replace("\\frac", "\\dfrac"), True
    yield from ((kind, answer, False) for kind, answer in _wrong(gold) if answer != gold)


def _wrong(gold: str) -> Iterator[tuple[str, str]]:
    if re.fullmatch("[A-K]", gold):
        yield "next letter", chr((ord(gold) - 64) % 5 + 65)
    integers = list(re.finditer(r"(?<![\d.])\d+(?![\d.])", gold))
    for name, places in (("first number", integers[:1]), ("last number", integers[-1:])):
        for found in places:
            yield f"{name} + 1", gold[: found.start()] + str(int(found.group()) + 1) + gold[found.end() :]
    if " + " in gold or re.search(r"\w\+\w", gold):
        yield "sign", gold.replace("+", "-", 1)
    if match := re.fullmatch(r"\$?\(([^,()]+),([^,()]+)\)\$?", gold):
        if match[1].strip() != match[2].strip():
            yield "order", f"({match[2]},{match[1]})"
        yield "bracket", f"[{match[1]},{match[2]})"


def _in_chinese(value: int) -> str:
    """An integer in Chinese numerals: 105 -> 一百零五."""
    if value < 0:
        return "负" + _in_chinese(-value)
    for size, mark in ((10**8, "亿"), (10**4, "万")):
        if value >= size:
            high, low = divmod(value, size)
            gap = "零" if 0 < low < size // 10 else ""
            return _in_chinese(high) + mark + gap + (_in_chinese(low) if low else "")
    digits, text, pending = "零一二三四五六七八九", "", False
    for size, mark in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = value // size % 10
        if digit:
            text += ("零" if pending and text else "") + digits[digit] + mark
        pending = not digit
    return text or "零"


def _math_verify(answer: str, gold: str) -> bool:
    from math_verify import parse, verify

    def dressed(text: str) -> str:
        return text if "$" in text else f"${text}$"

    return bool(verify(parse(dressed(gold), parsing_timeout=2), parse(dressed(answer), parsing_timeout=2)))


def _rows(cases: list[tuple[str, str, str, bool]], ours: list[Grade], theirs: list[bool]) -> Iterator[Row]:
    for kind in dict.fromkeys(sorted(case[0] for case in cases)):
        chosen = [place for place, case in enumerate(cases) if case[0] == kind]
        mine = sum(ours[place].correct is cases[place][3] for place in chosen) / len(chosen)
        other = sum(theirs[place] is cases[place][3] for place in chosen) / len(chosen)
        yield _row(f"{kind} ({len(chosen)})", "right_share", mine, other)
    yield _row("no verdict", "share", sum(grade.correct is None for grade in ours) / len(ours), None)


def _row(case: str, metric: str, ours: float, theirs: float | None) -> Row:
    return Row(case, metric, round(ours, 4), "math-verify", theirs, ours / theirs if theirs else None)


def _write_wrong(path: Path, cases: list[tuple[str, str, str, bool]], ours: list[Grade], theirs: list[bool]) -> None:
    """Every case that one of the two gets wrong, to be read."""
    with path.open("w", encoding="utf-8") as file:
        file.write("kind\tgold\tanswer\tright\tours\trule\tmath_verify\n")
        for (kind, gold, answer, right), grade, other in zip(cases, ours, theirs, strict=True):
            if grade.correct is not right or other is not right:
                texts = [text.replace("\t", " ").replace("\n", " ") for text in (gold, answer)]
                file.write("\t".join([kind, *texts, str(right), str(grade.correct), grade.rule, str(other)]) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=40, help="different golds of each benchmark")
    parser.add_argument("--wrong", type=Path, help="TSV to write: the cases that either side gets wrong")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
