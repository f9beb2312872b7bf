"""A standalone Spark cluster on loopback for tests: one master and workers of one core, from pyspark's own jars."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from run_tables import CONFIG, REPOSITORY, SMALL, environment

EXECUTOR_MEMORY_MB = 700
_START_S = 90.0


@dataclass
class Cluster:
    """A running cluster; its logs lie in `folder`."""

    folder: Path
    master: str = ""
    """spark://127.0.0.1:port."""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    """The master, then the workers; each leads a session of its own."""

    def start(self, num_workers: int) -> None:
        """Start all and wait until every worker is registered."""
        log = self._launch("master", "master.Master", "--port", "0", "--webui-port", "0")
        self.master = self._wait_for(log, r"Starting Spark master at (spark://\S+)", 1)[0]
        for number in range(num_workers):
            self._launch(
                f"worker-{number}", "worker.Worker", "--cores", "1", "--memory", "1g", "--webui-port", "0",
                "--work-dir", str(self.folder / f"work-{number}"), self.master,
            )  # fmt: skip
        self._wait_for(log, r"Registering worker", num_workers)

    def session_of(self, worker: int) -> list[int]:
        """The processes of a worker: itself, its executor, that one's Python daemon and Python workers."""
        leader = self.processes[1 + worker].pid
        found = []
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            with suppress(OSError):  # it may be gone by now
                if os.getsid(pid) == leader:
                    found.append(pid)
        return found

    def kill_worker(self, worker: int) -> int:
        """SIGKILL a worker with all that it started; how many processes that were."""
        pids = self.session_of(worker)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.processes[1 + worker].wait()
        return len(pids)

    def stop(self) -> None:
        """Kill whatever is left."""
        for number in range(len(self.processes)):
            self.kill_worker(number - 1)

    def command(self, *args: str, options: Sequence[str] = (), entry: str = "pipelines/mine.py") -> list[str]:
        """A spark-submit line to this cluster, with the settings of the tests' other runs."""
        settings = {
            "spark.executor.memory": f"{EXECUTOR_MEMORY_MB}m", "spark.executor.cores": "1",
            "spark.driver.memory": "700m", "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1",
        }  # fmt: skip
        conf = [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]
        entry = str(REPOSITORY / entry)
        demo = [str(REPOSITORY / word) if word.endswith(".yaml") else word for word in CONFIG]
        return ["spark-submit", "--master", self.master, *conf, *options, entry, *demo, *SMALL, *args]

    def _launch(self, name: str, daemon: str, *args: str) -> Path:
        log = self.folder / f"{name}.log"
        command = ["spark-class", f"org.apache.spark.deploy.{daemon}", "--host", "127.0.0.1", *args]
        settings = {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_DAEMON_MEMORY": "256m",
                    "SPARK_LOCAL_DIRS": str(self.folder / f"local-{name}")}  # fmt: skip
        with open(log, "wb") as file:
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment(**settings), stdout=file, stderr=file, start_new_session=True
            )
        self.processes.append(process)
        return log

    def _wait_for(self, log: Path, pattern: str, count: int) -> list[str]:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            found = re.findall(pattern, log.read_text(errors="replace"))
            if len(found) >= count:
                return found
            time.sleep(0.1)
        raise TimeoutError(f"{log}: no {count} lines with {pattern!r} in {_START_S:.0f} s:\n{log.read_text()[-2000:]}")


@contextmanager
def standalone_cluster(folder: Path, num_workers: int = 2) -> Iterator[Cluster]:
    """A cluster that is killed, with every process that it started, when the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    cluster = Cluster(folder)
    try:
        cluster.start(num_workers)
        yield cluster
    finally:
        cluster.stop()
