"""Problems with answers, from JSON lines."""

import difflib
import gzip
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rl.errors import ConfigError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Problem:
    """One question with its options; `answer` is the final answer, `solution` the worked text (may be empty)."""

    id: str
    question: str
    answer: str
    solution: str = ""
    language: str = "en"
    source: str = ""
    """Name of the file it came from, without suffixes: the benchmark's name."""


def read_problems(
    paths: str, *, limit: int = 0, need_solution: bool = False, skip_unanswered: bool = False
) -> list[Problem]:
    """The problems of one or more files (comma-separated; .jsonl or .jsonl.gz), at most `limit` of each.

    Raises ConfigError with file and line where a file is missing, empty or a line lacks question or answer; with
    `skip_unanswered`, for public benchmarks with holes in them, a line without answer is left out and logged.
    """
    problems = []
    for name in filter(None, (part.strip() for part in paths.split(","))):
        path = Path(name)
        found = []
        for problem in _read(path, need_solution=need_solution, skip_unanswered=skip_unanswered):
            found.append(problem)
            if len(found) == limit:
                break
        if not found:
            raise ConfigError(f"{path}: no problems in it")
        problems.extend(found)
    if not problems:
        raise ConfigError("no problem file given; expected PATH[,PATH] of .jsonl or .jsonl.gz")
    return problems


def benchmark_files(names: str, data_dir: str) -> str:
    """`names` with each bare benchmark name (math) replaced by its test file in `data_dir`; paths stay.

    math is DATA_DIR/math.test.jsonl.gz or .jsonl, also below a folder benchmarks/; mgsm.de is the test-de fold.
    Raises ConfigError with the names there are where one is missing.
    """
    folders = [folder for folder in (Path(data_dir), Path(data_dir) / "benchmarks") if data_dir and folder.is_dir()]
    known = {_benchmark_name(path): path for folder in reversed(folders) for path in sorted(folder.glob("*.jsonl*"))}
    found = []
    for name in filter(None, (part.strip() for part in names.split(","))):
        if Path(name).is_file() or "/" in name or ".jsonl" in name:
            found.append(name)
        elif name in known:
            found.append(str(known[name]))
        else:
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(sorted(known)) or 'none'}"
            raise ConfigError(f"{name}: no such file, and no benchmark of that name in --data_dir {data_dir!r}; {hint}")
    return ",".join(found)


def _benchmark_name(path: Path) -> str:
    """math for math.test.jsonl.gz, math.train for math.train.jsonl.gz, mgsm.de for mgsm.test-de.jsonl.gz."""
    return path.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".test").replace(".test-", ".")


def _read(path: Path, *, need_solution: bool, skip_unanswered: bool) -> Iterator[Problem]:
    if not path.is_file():
        raise ConfigError(f"{path}: no such file (problems are JSON lines with question and answer)")
    opener = gzip.open if path.suffix == ".gz" else open
    source, unanswered = _benchmark_name(path), 0
    needed = ("question", "answer", "solution") if need_solution else ("question", "answer")
    with opener(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ConfigError(f"{path}:{number}: not JSON: {error}") from error
            if skip_unanswered and isinstance(row, dict) and row.get("answer") in (None, ""):
                unanswered += 1
                continue
            missing = [key for key in needed if not isinstance(row, dict) or row.get(key) in (None, "")]
            if missing:
                raise ConfigError(f"{path}:{number}: no {' and no '.join(missing)}")
            yield Problem(
                id=str(row.get("id", f"{source}/{number}")),
                question=str(row["question"]) + _options(row.get("options")),
                answer=str(row["answer"]),
                solution=str(row.get("solution") or ""),
                language=str(row.get("language", "en")),
                source=source,
            )
    if unanswered:
        logger.warning("%s: %d problems have no answer and are left out", path, unanswered)


def _options(options: object) -> str:
    """The lines of multiple choice under a question, each with its letter; "" where there are none."""
    if not options:
        return ""
    if isinstance(options, str):
        return "\n" + options
    texts = [str(option) for option in options] if isinstance(options, list) else []
    lettered = all(re.match(rf"\(?{letter}[).:、]", text) for letter, text in zip("ABCDEFGHIJK", texts, strict=False))
    return "".join(
        "\n" + (text if lettered else f"({letter}) {text}") for letter, text in zip("ABCDEFGHIJK", texts, strict=False)
    )
