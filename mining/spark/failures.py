"""What an engine's failure means to the user: which file, what to do, and which exit code.

Spark reports a full disk, a damaged file or a killed worker as a Java trace of a hundred lines that ends in a Python
one. Here each becomes one of our errors, with the file where the trace names one; the trace goes to logs/.
"""

import re
import shutil
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException

from mining import errors
from mining.errors import ConfigError, MotherlodeError, ShardError, StoreError

ENGINE_ERRORS = (Py4JError, PySparkException, OSError, pa.lib.ArrowException)
AGAIN = "what was finished is kept: run the same line again to go on"

_FILE = r"(?:file:)?(/[^\s,;'\"\])]+)"
_DAMAGED = (
    re.compile(rf"FAILED_READ_FILE[^\n]*? file {_FILE}"),
    re.compile(rf"Checksum error: {_FILE}"),
    re.compile(rf"UNABLE_TO_INFER_SCHEMA[^\n]*{_FILE}"),
)
_GONE = (
    re.compile(rf"(?:PATH_NOT_FOUND|FILE_NOT_EXIST|FileNotFoundException|No such file or directory)[^\n]*?{_FILE}"),
)
_FULL = ("No space left on device", "Disk quota exceeded", "File too large")
_WORKER_DIED = ("Python worker exited unexpectedly", "Python worker failed to connect back", "ExecutorLostFailure")


@contextmanager
def explained(stage: str, run_dir: Path) -> Iterator[None]:
    """Raises an engine's failure inside as the MotherlodeError that it means."""
    try:
        yield
    except MotherlodeError:
        raise
    except ENGINE_ERRORS as error:
        with suppress(OSError):  # a full disk must not hide what is said of it
            (run_dir / "logs").mkdir(exist_ok=True)
            (run_dir / "logs" / f"{stage}.trace").write_text(traceback.format_exc(), encoding="utf-8")
        raise explanation(error, stage=stage, run_dir=run_dir) from None


def explanation(error: Exception, *, stage: str, run_dir: Path) -> MotherlodeError:
    """The error that tells the user what an engine's failure means."""
    text = str(error)
    ours = re.search(r"mining\.errors\.(ConfigError|ShardError|StoreError): ([^\n]+)", text)
    if ours:
        found: MotherlodeError = getattr(errors, ours.group(1))(f"{stage}: {ours.group(2).strip()}")
        return found
    if any(words in text for words in _FULL):
        return ShardError(f"{stage}: no space left: {_room(run_dir)}; free some, then {AGAIN}")
    if any(words in text for words in _WORKER_DIED):
        return ShardError(
            f"{stage}: a Python worker died in every attempt (killed, or out of memory); give the tasks more room with "
            f"fewer at a time (--master local[1]) or more memory, then {AGAIN}"
        )
    if "OutOfMemoryError" in text or "GC overhead limit" in text:
        return ShardError(
            f"{stage}: Java ran out of memory; give --driver-memory 4g or --spark.driver_memory 4g; {AGAIN}"
        )
    gone, damaged = _named(_GONE, text), _named(_DAMAGED, text)
    if gone:
        return _about_file(gone, "is gone", "put it back or leave it out", stage=stage, run_dir=run_dir)
    if damaged:
        return _about_file(damaged, f"is damaged ({first_cause(error)})", "mend it", stage=stage, run_dir=run_dir)
    return ShardError(f"{stage}: {first_cause(error)}; {AGAIN}")


def first_cause(error: Exception) -> str:
    """The line of a Spark error that tells what happened: the Python worker's last, else Java's innermost cause."""
    lines = [
        line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith(("\t", "SQLSTATE"))
    ]
    causes = [line for line in lines if line.startswith("Caused by:")]
    python = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return (python or causes or lines or [type(error).__name__])[-1].removeprefix("Caused by:").strip()


def _about_file(file: Path, what: str, remedy: str, *, stage: str, run_dir: Path) -> MotherlodeError:
    """A table of the run is made again once it is deleted; an input is the user's to mend."""
    if not file.is_relative_to(run_dir):
        return ConfigError(f"{stage}: {file} {what}; {remedy}, then {AGAIN}")
    in_folder = file.parent != run_dir and file.parent.parent != run_dir / "rounds"  # domains.parquet is a file
    table = file.parent if in_folder else file
    return StoreError(f"{stage}: {file} {what}; delete {table} and run the same line again: it is made anew")


def _named(patterns: tuple[re.Pattern[str], ...], text: str) -> Path | None:
    for pattern in patterns:
        found = pattern.search(text)
        if found:
            return Path(found.group(1).rstrip(".:"))
    return None


def _room(run_dir: Path) -> str:
    """How much is free where a run writes."""
    places = {"run directory": run_dir, "scratch folder": Path(tempfile.gettempdir())}
    shown = [f"{shutil.disk_usage(path).free / 1e6:,.0f} MB free in the {name} {path}" for name, path in places.items()]
    return ", ".join(shown)
