"""Problems with answers, from JSON lines."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rl.errors import ConfigError


@dataclass(frozen=True)
class Problem:
    """One question; `answer` is the final answer, `solution` the worked text (may be empty)."""

    id: str
    question: str
    answer: str
    solution: str = ""
    language: str = "en"
    source: str = ""
    """Name of the file it came from, without suffixes: the benchmark's name."""


def read_problems(paths: str, *, limit: int = 0, need_solution: bool = False) -> list[Problem]:
    """The problems of one or more files (comma-separated; .jsonl or .jsonl.gz), at most `limit` of each.

    Raises ConfigError with file and line where a file is missing, empty or a line lacks question or answer.
    """
    problems = []
    for name in filter(None, (part.strip() for part in paths.split(","))):
        path = Path(name)
        found = []
        for problem in _read(path, need_solution=need_solution):
            found.append(problem)
            if len(found) == limit:
                break
        if not found:
            raise ConfigError(f"{path}: no problems in it")
        problems.extend(found)
    if not problems:
        raise ConfigError("no problem file given; expected PATH[,PATH] of .jsonl or .jsonl.gz")
    return problems


def _read(path: Path, *, need_solution: bool) -> Iterator[Problem]:
    if not path.is_file():
        raise ConfigError(f"{path}: no such file (problems are JSON lines with question and answer)")
    opener = gzip.open if path.suffix == ".gz" else open
    source = path.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".test")
    needed = ("question", "answer", "solution") if need_solution else ("question", "answer")
    with opener(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ConfigError(f"{path}:{number}: not JSON: {error}") from error
            missing = [key for key in needed if not isinstance(row, dict) or row.get(key) in (None, "")]
            if missing:
                raise ConfigError(f"{path}:{number}: no {' and no '.join(missing)}")
            yield Problem(
                id=str(row.get("id", f"{source}/{number}")),
                question=str(row["question"]),
                answer=str(row["answer"]),
                solution=str(row.get("solution") or ""),
                language=str(row.get("language", "en")),
                source=source,
            )
