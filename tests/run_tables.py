"""Running the main job in tests, and the tables of a run directory as hashes that two runs can be compared by."""

import csv
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import duckdb
import pyarrow.parquet as pq

REPOSITORY = Path(__file__).resolve().parent.parent
CONFIG = ["--config", "configs/mine/demo.yaml", "--rounds.max_rounds", "2"]
# The mini web needs no 256 dimensions to be told apart; the model's size is most of a short round's time.
SMALL = ["--classifier.dim", "16", "--classifier.min_updates", "3000"]
# A run of seconds spends most of them compiling: half the CPU time without the second compilers of Java and Spark.
SMALL += ["--spark.extra", '{"spark.sql.codegen.wholeStage": "false", "spark.sql.shuffle.partitions": "2"}']
JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
# A round's labels are entered in these two when the round ends; until then they are whole without them.
LABELLED_LATER = ("domains.parquet", "prefixes.parquet")


def environment(**more: str) -> dict[str, str]:
    binaries = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "JAVA_TOOL_OPTIONS": JAVA,
        **more,
    }


def mine(*args: str, submit: bool = False, entry: str = "pipelines/mine.py") -> subprocess.CompletedProcess[str]:
    """One run of the main job to its end."""
    command = ["spark-submit"] if submit else [sys.executable]
    return subprocess.run(
        [*command, entry, *CONFIG, *SMALL, *args],
        cwd=REPOSITORY, env=environment(), capture_output=True, text=True, timeout=900,
    )  # fmt: skip


def start_mine(*args: str, stderr: IO[str] | int) -> subprocess.Popen[str]:
    """The main job in a process group of its own, at work."""
    return subprocess.Popen(
        [sys.executable, "pipelines/mine.py", *CONFIG, *SMALL, *args],
        cwd=REPOSITORY, env=environment(), stderr=stderr, text=True, start_new_session=True,
    )  # fmt: skip


def killed(*args: str, after_lines: Sequence[str], after_s: float) -> tuple[bool, str]:
    """Start the main job and SIGKILL its whole process group so long after the first of these words in its log.

    Returns whether it was still at work, and the log up to then.
    """
    with start_mine(*args, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        log = ""
        for line in process.stderr:
            log += line
            if any(words in line for words in after_lines):
                break
        time.sleep(after_s)
        at_work = process.poll() is None
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        log += process.stderr.read()
    return at_work, log


def table_paths(run_dir: Path) -> list[str]:
    """Every table that stands under its final name."""
    names = ["pages", "dropped", "duplicates", "contaminated", "corpus", "band_index"]
    rounds = sorted((run_dir / "rounds").glob("[0-9][0-9]"))
    in_round = ("seed.parquet", "scores", "collected", *LABELLED_LATER)
    names += [f"rounds/{one.name}/{name}" for one in rounds for name in in_round]
    return [name for name in names if (run_dir / name).exists()]


def table_hash(table: Path) -> str:
    """A hash of a table's rows, whatever their order and files; labels that a round enters later are left out.

    Reads every page of every file with its checksums, so that half a table cannot pass.
    """
    files = [table] if table.is_file() else sorted(table.glob("*.parquet"))
    assert files, f"{table}: no Parquet file"
    for file in files:
        pq.read_table(file, page_checksum_verification=True)
    without = "exclude (label, annotator)" if table.name == "prefixes.parquet" else ""
    without = "exclude (label)" if table.name == "domains.parquet" else without
    pattern = table if table.is_file() else f"{table}/*.parquet"
    rows = duckdb.sql(f"select * {without} from read_parquet('{pattern}')").fetchall()
    return hashlib.sha256("\n".join(sorted(map(repr, rows))).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def run_hashes(run_dir: Path) -> dict[str, str]:
    """The hash of every table of a run directory, and of each round's model and labels (without their time)."""
    found = {name: table_hash(run_dir / name) for name in table_paths(run_dir)}
    for path in sorted(run_dir.glob("rounds/*/classifier.bin")):
        found[str(path.relative_to(run_dir))] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    for path in sorted(run_dir.glob("rounds/*/labels.csv")):
        with open(path, encoding="utf-8", newline="") as file:
            rows = [{**row, "labelled_at": ""} for row in csv.DictReader(file)]
        found[str(path.relative_to(run_dir))] = hashlib.sha256(repr(rows).encode()).hexdigest()[:16]
    for name in LABELLED_LATER:
        for path in sorted(run_dir.glob(f"rounds/*/{name}")):
            rows = sorted(map(repr, duckdb.sql(f"select * from read_parquet('{path}')").fetchall()))
            found[f"{path.relative_to(run_dir)} with labels"] = hashlib.sha256("\n".join(rows).encode()).hexdigest()[
                :16
            ]
    return found


def flip(file: Path, *, at: float) -> None:
    """Turn eight bits of a file over, `at` a share of its length."""
    data = bytearray(file.read_bytes())
    data[int(len(data) * at)] ^= 0xFF
    file.write_bytes(data)
    (file.parent / f".{file.name}.crc").unlink(missing_ok=True)  # what a copy made by other tools has not


def forked_workers(driver: int, words: str) -> list[int]:
    """The processes under a driver that `words` of their command line tells, and that another such process started."""
    parents, told = {}, set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):  # it may be gone by now
            parents[int(pid)] = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            if words in Path(f"/proc/{pid}/cmdline").read_text():
                told.add(int(pid))
    return sorted(pid for pid in told if parents[pid] in told and driver in _ancestors(pid, parents))


def _ancestors(pid: int, parents: dict[int, int]) -> set[int]:
    found = set()
    while pid in parents:
        pid = parents[pid]
        found.add(pid)
    return found
