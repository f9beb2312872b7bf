"""A command run as a process tree of its own, with the time and memory that the tree took."""

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_INTERVAL_S = 0.2


@dataclass(frozen=True)
class Cost:
    """What a process tree took."""

    seconds: float
    """Wall clock."""
    cpu_seconds: float
    """User and system time of all its processes, sampled five times a second: the ends of short ones are missed."""
    peak_rss_mb: float
    """The greatest sum of their resident memory; pages that processes share count in each."""
    stdout: str


def run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Cost:
    """Run the command and watch all processes of its session; RuntimeError with its last words where it fails."""
    started = time.monotonic()
    process = subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, **(environment or {})},
    )  # fmt: skip
    cpu: dict[int, float] = {}
    peak = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(_INTERVAL_S):
            resident = 0
            for pid, (ticks, pages) in _processes(process.pid).items():
                cpu[pid] = max(cpu.get(pid, 0.0), ticks / _TICKS)
                resident += pages * _PAGE_BYTES
            peak = max(peak, resident)

    watcher = threading.Thread(target=watch)
    watcher.start()
    stdout, stderr = process.communicate()
    done.set()
    watcher.join()
    if process.returncode:
        raise RuntimeError(f"{command[1]} failed: {(stderr.strip() or 'no message').splitlines()[-1]}")
    return Cost(time.monotonic() - started, sum(cpu.values()), peak / 2**20, stdout)


def _processes(session: int) -> dict[int, tuple[int, int]]:
    """{pid: (CPU ticks, resident pages)} of a session's processes."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            fields = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:  # it has ended
            continue
        if int(fields[3]) == session:
            found[int(entry)] = (int(fields[11]) + int(fields[12]), int(fields[21]))
    return found
