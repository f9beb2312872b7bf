"""A run of mine.py by spark-submit, with its log lines and their times, and samples of its processes, beside it.

Everything lies in the run's folder and is written as it happens, so that a run that was stopped still shows what its
finished stages took: `log.jsonl`, `samples.jsonl`, `events/` (Spark's event log), `run/` (the run directory), and at
the end `done.json`.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[3]
DRIVER_MEMORY = "4g"
MAX_ROUNDS = 2
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_INTERVAL_S = 0.5
_SAMPLES_A_DISK_LOOK = 10


def web_of(work_dir: Path, pages: int) -> Path:
    """The mini web of that size, written unless it is there. RuntimeError where it cannot be written."""
    web = work_dir / f"web-{pages}"
    if not web.exists():
        partial = work_dir / f"web-{pages}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        script = ROOT / "pipelines" / "toy_web.py"
        options = ["--out", str(partial), "--pages", str(pages), "--workers", "1"]
        _checked(subprocess.run([sys.executable, script, *options], env=_environment(), capture_output=True, text=True))
        partial.rename(web)
    return web


def folder_of(work_dir: Path, pages: int, master: str) -> Path:
    """Where the run of that size on that master is kept."""
    return work_dir / f"{pages}-{master.replace('[', '').replace(']', '')}"


def mine(web: Path, folder: Path, *, master: str) -> None:
    """Mine the web from the beginning and note what it costs; RuntimeError with its last words where it fails."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("events", "shuffles"):
        (folder / name).mkdir(parents=True)
    started = time.time()
    process = subprocess.Popen(
        _command(web, folder, master), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True, env=_environment(), cwd=folder,
    )  # fmt: skip
    assert process.stdout is not None  # spark-submit passes on there what its Python says on either
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(process.pid, folder, done))
    watcher.start()
    last = _note_lines(process.stdout, folder / "log.jsonl")
    process.wait()
    done.set()
    watcher.join()
    if process.returncode:
        raise RuntimeError(f"{folder}: mine.py failed with {process.returncode}: {last}")
    shutil.rmtree(folder / "shuffles", ignore_errors=True)
    sizes = {name: disk_bytes(path) for name, path in tables(folder / "run", web).items()}
    facts = {"started": started, "seconds": time.time() - started, "bytes_on_disk": sizes}
    (folder / "done.json").write_text(json.dumps(facts), encoding="utf-8")


def tables(run_dir: Path, web: Path) -> dict[str, Path]:
    """What lies on disk after a run, by name."""
    rounds = sorted((run_dir / "rounds").glob("[0-9]*"))
    names = ("pages", "dropped", "band_index", "duplicates", "contaminated", "corpus")
    return {
        "WARC files": web / "web",
        **{name: run_dir / name for name in names},
        **{f"{one.name}/{name}": one / name for one in rounds for name in ("seed.parquet", "scores", "collected")},
    }


def disk_bytes(path: Path) -> int:
    """Bytes of a file or of all files in a folder; what vanishes meanwhile counts as nothing."""
    total = 0
    for folder, _, names in os.walk(path) if path.is_dir() else [(str(path.parent), [], [path.name])]:
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                continue
    return total


def _command(web: Path, folder: Path, master: str) -> list[str]:
    properties = {
        "spark.ui.enabled": "false",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": (folder / "events").as_uri(),
        "spark.eventLog.rolling.enabled": "false",
        "spark.eventLog.compress": "false",
        "spark.local.dir": str(folder / "shuffles"),
    }
    return [
        str(Path(sys.executable).parent / "spark-submit"), "--master", master, "--driver-memory", DRIVER_MEMORY,
        *(part for name, value in properties.items() for part in ("--conf", f"{name}={value}")),
        str(ROOT / "pipelines" / "mine.py"), "--config", str(ROOT / "configs" / "mine" / "demo.yaml"),
        "--data_dir", str(web), "--run_dir", str(folder / "run"), "--scale", "node",
        "--rounds.max_rounds", str(MAX_ROUNDS),
    ]  # fmt: skip


def _environment() -> dict[str, str]:
    """This checkout's packages before any that are installed, and this Python for Spark's workers."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "OMP_NUM_THREADS": "1",
    }


def _note_lines(lines: IO[str], path: Path) -> str:
    last = "no message"
    with path.open("w", encoding="utf-8") as out:
        for line in lines:
            last = line.strip() or last
            out.write(json.dumps([round(time.time(), 3), line.rstrip("\n")]) + "\n")
            out.flush()
    return last


def _watch(session: int, folder: Path, done: threading.Event) -> None:
    """Write a line [time, CPU seconds so far, resident MB of Java, of Python, scratch MB or null] twice a second.

    Ended processes count with what they had at their last look: Spark's Python daemon does not wait for its workers,
    so that their parents' sums are no substitute. Memory that processes share counts in each of them.
    """
    number = 0
    cpu: dict[tuple[str, str], float] = {}
    with (folder / "samples.jsonl").open("w", encoding="utf-8") as out:
        while not done.wait(_INTERVAL_S):
            java_mb, python_mb = _look(session, cpu)
            scratch = None
            if number % _SAMPLES_A_DISK_LOOK == 0:
                scratch = round((disk_bytes(folder / "shuffles") + disk_bytes(folder / "run")) / 1e6, 1)
            out.write(
                json.dumps([round(time.time(), 3), round(sum(cpu.values()), 2), java_mb, python_mb, scratch]) + "\n"
            )
            out.flush()
            number += 1


def _look(session: int, cpu: dict[tuple[str, str], float]) -> tuple[float, float]:
    """Resident MB of Java and of all other processes of a session; CPU seconds go into `cpu`, by pid and start."""
    resident = {True: 0, False: 0}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            head, _, rest = Path(f"/proc/{entry}/stat").read_text().rpartition(")")
        except OSError:  # it has ended
            continue
        fields = rest.split()
        if int(fields[3]) == session:
            cpu[entry, fields[19]] = (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
            resident[head.endswith("(java")] += int(fields[21]) * _PAGE_BYTES
    return round(resident[True] / 1e6, 1), round(resident[False] / 1e6, 1)


def _checked(ended: "subprocess.CompletedProcess[str]") -> None:
    if ended.returncode:
        raise RuntimeError(f"{ended.args[1]} failed: {(ended.stderr.strip() or 'no message').splitlines()[-1]}")
