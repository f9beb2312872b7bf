"""How datatrove hands out a stage's files: on this machine, by Slurm or by Ray.

    Dealt -> the stage's step       as many tasks as wanted, each over its share of the files
    the stage's publishing step     one task when they are done

What is done, the stage itself knows by its files. datatrove's own completion markers say only that a rank of so many
was done once; they are taken away where files are wanting, so that neither another number of tasks nor a deleted
table leaves files out.
"""

import importlib.util
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import datatrove.executor.slurm
import multiprocess
from datatrove.data import Document
from datatrove.executor.base import PipelineExecutor
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.executor.ray import RayPipelineExecutor
from datatrove.executor.slurm import SlurmPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.utils.logging import logger as datatrove_logger

from mining.errors import ConfigError, MotherlodeError, ShardError


@dataclass(frozen=True)
class SlurmConfig:
    """What sbatch is told; only with executor=slurm."""

    partition: str = ""
    """Partition that the tasks run in; must be given."""
    time: str = "10:00:00"
    """Limit of one task, as sbatch writes it. A task that hits it goes on with its remaining files when the same line
    is given again."""
    cpus_per_task: int = 1
    """Cores of a task; one file uses one."""
    mem_per_cpu_gb: int = 2
    """Memory of a task for each core."""
    qos: str = ""
    """Quality of service; empty: the cluster's default."""
    venv: str = ""
    """Folder of the virtual environment on the nodes; empty: the one that this command runs in."""
    env_command: str = ""
    """Shell command that sets up the environment instead of the virtual environment's activate."""
    max_array_size: int = 1001
    """The cluster's MaxArraySize; more tasks become several job arrays, one after another."""
    sbatch_args: dict[str, str] = field(default_factory=dict)
    """Further sbatch options by their long names, for example {account: maths}."""


@dataclass(frozen=True)
class RayConfig:
    """Where the Ray cluster is and what a task asks of it; only with executor=ray."""

    address: str = "auto"
    """Address of the cluster as ray.init takes it; auto: the one that this machine belongs to."""
    cpus_per_task: int = 1
    """Cores of a task."""
    mem_per_cpu_gb: float = 2.0
    """Memory of a task for each core."""


@dataclass(frozen=True)
class SpreadConfig:
    """How a stage's files are spread over tasks and machines."""

    executor: Literal["local", "slurm", "ray"] = "local"
    """What runs the tasks."""
    tasks: int = 0
    """Tasks that the files are dealt out to; 0: one a file."""
    workers: int = 0
    """Tasks that run at a time; 0: one a core (local), no limit (slurm, ray)."""
    dry_run: bool = False
    """Print what would be done (for Slurm the sbatch scripts) and change nothing."""
    slurm: SlurmConfig = field(default_factory=SlurmConfig)
    """What sbatch is told."""
    ray: RayConfig = field(default_factory=RayConfig)
    """The Ray cluster."""


@dataclass(frozen=True)
class Work:
    """A stage's files and what is done with them."""

    name: str
    """Of the stage, in messages and in the names of Slurm's jobs."""
    files: Mapping[str, Any]
    """Name to file, in the order in which they are dealt out."""
    pending: frozenset[str]
    """The names of those that are not done."""
    step: PipelineStep
    """Does what is to be done with each Document of `Dealt`."""
    publish: PipelineStep
    """A pipeline by itself, for when all tasks are done."""
    tasks: int
    folder: Path
    """Where datatrove keeps logs, statistics and completion markers of one way to deal out one set of files."""


class Dealt(PipelineStep):
    """Yields this rank's files, every world_size-th: a Document a file, the file itself in the metadata."""

    type = "READER"
    name = "files"

    def __init__(self, files: Mapping[str, Any]) -> None:
        super().__init__()
        self.files = dict(files)

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        if data:
            yield from data
        for name in list(self.files)[rank::world_size]:
            self.stat_update("files")
            yield Document(text="", id=name, metadata={"file": self.files[name]})


def num_tasks(cfg: SpreadConfig, num_files: int) -> int:
    """Tasks that have a file each at least."""
    if cfg.tasks < 0 or cfg.workers < 0:
        raise ConfigError(f"tasks={cfg.tasks}, workers={cfg.workers}: give numbers from 0")
    return min(cfg.tasks or num_files, num_files)


def executor_of(
    cfg: SpreadConfig, steps: list[PipelineStep], *, name: str, tasks: int, folder: Path, after: Any = None
) -> PipelineExecutor:
    """The executor that the config names; nothing is started or written.

    name: of Slurm's job. after: another executor, which must end first; Slurm only.
    """
    common: dict[str, Any] = {"pipeline": steps, "tasks": tasks, "logging_dir": str(folder)}
    if cfg.executor == "local":
        return LocalPipelineExecutor(**common, workers=min(tasks, cfg.workers or os.cpu_count() or 1))
    if cfg.executor == "ray":
        resources = {"cpus_per_task": cfg.ray.cpus_per_task, "mem_per_cpu_gb": cfg.ray.mem_per_cpu_gb}
        datatrove_logger.disable("datatrove.executor.ray")  # it warns that the folder must be shared, as run_dir must
        executor = RayPipelineExecutor(**common, workers=cfg.workers or -1, **resources)
        datatrove_logger.enable("datatrove.executor.ray")
        return executor
    slurm = cfg.slurm
    venv = Path(slurm.venv or sys.prefix)
    return SlurmPipelineExecutor(
        **common,
        time=slurm.time,
        partition=slurm.partition,
        cpus_per_task=slurm.cpus_per_task,
        mem_per_cpu_gb=slurm.mem_per_cpu_gb,
        workers=cfg.workers or -1,
        job_name=name,
        qos=slurm.qos,
        env_command=slurm.env_command or None,
        venv_path=None if slurm.env_command else str(venv / "bin" / "activate"),
        sbatch_args=dict(slurm.sbatch_args),
        max_array_size=slurm.max_array_size,
        slurm_logs_folder=str(folder / "slurm"),
        depends=after,
        run_on_dependency_fail=True,  # to say which files are wanting, rather than to wait in the queue for ever
    )


def forget_completions(work: Work) -> None:
    """Take away the completion markers of ranks that have files to do."""
    names = list(work.files)
    for rank in range(work.tasks):
        if not work.pending.isdisjoint(names[rank :: work.tasks]):
            (work.folder / "completions" / f"{rank:05d}").unlink(missing_ok=True)


def run_here(cfg: SpreadConfig, work: Work) -> None:
    """Do the files that are left on this machine or on Ray, and wait for them. ShardError where a task failed."""
    steps = [Dealt(work.files), work.step]
    executor = executor_of(cfg, steps, name=f"motherlode-{work.name}", tasks=work.tasks, folder=work.folder)
    if cfg.executor == "ray":
        _join_ray(cfg.ray)
    try:
        with _watched_workers(work.name):
            executor.run()
    except MotherlodeError:
        raise
    except Exception as error:  # whatever a task died of, in its own words
        raise ShardError(
            f"{work.name}: a task failed ({type(error).__name__}: {error}); logs: {work.folder}/logs; what was done "
            "is kept: run the same line again"
        ) from error


@contextmanager
def _watched_workers(name: str) -> Iterator[None]:
    """Ends the program, exit code 1, when a pool's worker is killed.

    A Python pool replaces such a worker and waits for the lost task for ever; and it cannot be stopped, because the
    worker may have died with the queue's lock. So it is not asked: everything done is on disk.
    """
    done = threading.Event()

    def watch() -> None:
        workers = {}
        while not done.wait(0.1):
            workers.update({worker.pid: worker for worker in multiprocess.active_children()})
            codes = [worker.exitcode for worker in workers.values()]
            bad = [code for code in codes if code not in (None, 0, -signal.SIGTERM)]  # SIGTERM: the pool's own end
            if bad and not done.is_set():
                for worker in multiprocess.active_children():
                    worker.kill()
                sys.stderr.write(
                    f"failed: {name}: a worker process died (exit code {bad[0]}; killed, or out of memory); what was "
                    "done is kept: run the same line again, with fewer --workers if memory is short\n"
                )
                sys.stderr.flush()
                os._exit(1)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def submit(cfg: SpreadConfig, work: Work) -> None:
    """Give Slurm the jobs that do the files left and then publish.

    The run directory must not be locked by now: the last job locks it.
    """
    _slurm_jobs(cfg, work, work.folder).run()


def _slurm_jobs(cfg: SpreadConfig, work: Work, folder: Path) -> PipelineExecutor:
    """The publishing executor, which depends on the one that does the files and launches it."""
    steps = [Dealt(work.files), work.step]
    doing = executor_of(cfg, steps, name=f"motherlode-{work.name}", tasks=work.tasks, folder=folder)
    name = f"motherlode-publish-{work.name}"
    publishing = executor_of(cfg, [work.publish], name=name, tasks=1, folder=folder / "publish", after=doing)
    publishing.skip_completed = False  # it is wanted exactly when nothing is published
    return publishing


def _join_ray(cfg: RayConfig) -> None:
    import ray

    try:
        ray.init(address=cfg.address, ignore_reinit_error=True, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(f"ray.address={cfg.address}: no Ray cluster there ({error}); start one (ray start)") from None


def check(cfg: SpreadConfig) -> None:
    """ConfigError where this machine lacks what the executor needs; before anything is written."""
    if cfg.executor == "ray" and importlib.util.find_spec("ray") is None:
        raise ConfigError(
            "executor=ray: the package ray is not installed here; pip install 'ray[default]' on every node, in the "
            "cluster's version, or use --executor local or slurm"
        )
    if cfg.executor == "slurm" and shutil.which("sbatch") is None:
        raise ConfigError("executor=slurm: no sbatch on this machine's PATH; start this command on a login node")
    if cfg.executor == "slurm" and not cfg.slurm.partition:
        raise ConfigError("slurm.partition is empty: name the partition, for example --slurm.partition cpu (see sinfo)")


def plan(cfg: SpreadConfig, work: Work, headline: str) -> str:
    """What a launch would do, in words; for Slurm the very scripts that sbatch would get. Writes nothing."""
    names, tasks = list(work.files), work.tasks
    fewest, most = len(names) // tasks, -(-len(names) // tasks)
    share = f"{most}" if fewest == most else f"{fewest} or {most}"
    lines = [
        headline,
        f"executor {cfg.executor}: {tasks:,} tasks of {share} files, "
        f"{f'{cfg.workers} at a time' if cfg.workers else 'as many at a time as there is room for'}",
        f"files to read: {len(work.pending):,}; logs and statistics: {work.folder}",
    ]
    if cfg.executor == "slurm":
        lines += _slurm_scripts(cfg, work)
    if cfg.executor == "ray":
        lines.append(
            f"Ray at {cfg.ray.address}: {cfg.ray.cpus_per_task} CPUs and "
            f"{cfg.ray.cpus_per_task * cfg.ray.mem_per_cpu_gb:g} GB a task"
        )
    for rank in range(min(tasks, 3)):
        dealt = names[rank::tasks]
        more = f" and {len(dealt) - 3:,} more" if len(dealt) > 3 else ""
        lines.append(f"task {rank}: {', '.join(dealt[:3])}{more}")
    return "\n".join(lines)


def _slurm_scripts(cfg: SpreadConfig, work: Work) -> list[str]:
    """The submissions of a real launch, with sbatch left out, in a folder of their own."""
    submissions: list[tuple[str, tuple[str, ...]]] = []

    def note(script: str, job_id_of: Any, *options: str) -> str:
        submissions.append((script, options))
        return f"JOB{len(submissions)}"

    real_submit = datatrove.executor.slurm.launch_slurm_job
    with tempfile.TemporaryDirectory() as elsewhere:
        jobs = _slurm_jobs(cfg, work, Path(elsewhere))
        datatrove_logger.disable("datatrove")
        datatrove.executor.slurm.launch_slurm_job = note
        try:
            jobs.run()
        finally:
            datatrove.executor.slurm.launch_slurm_job = real_submit
            datatrove_logger.enable("datatrove")
        return [
            f"\n== JOB{number}: sbatch {' '.join(options)}\n{script.replace(elsewhere, str(work.folder)).rstrip()}"
            for number, (script, options) in enumerate(submissions, 1)
        ]
