"""Ingest on datatrove, for those whose cluster is Slurm or Ray: the same files by the same functions as on Spark.

    WarcShards -> IngestShards      as many tasks as wanted, each over its share of the WARC files
    PublishPages                    one task when they are done: pages/, dropped/ and the manifest's entry

A task that is killed goes on with the files that have no counts yet (`mining.shards`). datatrove's own completion
markers say only that a rank of so many was done once; they are taken away where files are wanting, so that neither
another number of tasks nor a deleted table leaves files out.
"""

import importlib.util
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
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

from mining.config import MineConfig
from mining.errors import ConfigError, MotherlodeError, ShardError
from mining.lineage import Lineage
from mining.shards import Ingest, Shard
from mining.store import Store, now


@dataclass(frozen=True)
class SlurmConfig:
    """What sbatch is told; only with executor=slurm."""

    partition: str = ""
    """Partition that the tasks run in; must be given."""
    time: str = "10:00:00"
    """Limit of one task, as sbatch writes it. A task that hits it goes on with its remaining files when the same line
    is given again."""
    cpus_per_task: int = 1
    """Cores of a task; one WARC file uses one."""
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
class ExtractConfig(MineConfig):
    """The ingest stage of a mining run on datatrove; the settings of mine.py, and how the work is spread."""

    executor: Literal["local", "slurm", "ray"] = "local"
    """What runs the tasks."""
    tasks: int = 0
    """Tasks that the WARC files are dealt out to; 0: one a file."""
    workers: int = 0
    """Tasks that run at a time; 0: one a core (local), no limit (slurm, ray)."""
    dry_run: bool = False
    """Print what would be done (for Slurm the sbatch scripts) and change nothing."""
    slurm: SlurmConfig = field(default_factory=SlurmConfig)
    """What sbatch is told."""
    ray: RayConfig = field(default_factory=RayConfig)
    """The Ray cluster."""


def mine_config(cfg: ExtractConfig) -> MineConfig:
    """The part of the config that mine.py knows, for the manifest."""
    return MineConfig(**{item.name: getattr(cfg, item.name) for item in fields(MineConfig)})


class WarcShards(PipelineStep):
    """Yields this rank's WARC files, every world_size-th: a Document a file, its Shard in the metadata."""

    type = "READER"
    name = "WARC files"

    def __init__(self, shards: Sequence[Shard]) -> None:
        super().__init__()
        self.shards = tuple(shards)

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        if data:
            yield from data
        for shard in self.shards[rank::world_size]:
            self.stat_update("files")
            yield Document(text="", id=shard.warc_file, metadata={"shard": shard})


class IngestShards(PipelineStep):
    """Reads each Document's WARC file into its two tables and passes it on with the file's counts."""

    type = "WRITER"
    name = "pages and dropped"

    def __init__(self, ingest: Ingest) -> None:
        super().__init__()
        self.ingest = ingest

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        for document in data:
            with self.track_time("file"):
                counts = self.ingest.read(document.metadata["shard"])
            if "error" in counts:
                datatrove_logger.error(counts["error"])
                self.stat_update("unreadable_files")
            else:
                self.stat_update("pages", value=counts["pages"], unit="file")
                self.stat_update("tokens", value=counts["tokens"], unit="file")
                for reason, number in counts["dropped"].items():
                    self.stat_update(f"dropped_{reason}", value=number, unit="file")
            yield Document(text="", id=document.id, metadata=counts)


class PublishPages(PipelineStep):
    """Publishes the tables and writes the manifest's entry; a pipeline by itself, for when all tasks are done."""

    type = "WRITER"
    name = "pages/, dropped/ and the manifest"

    def __init__(self, cfg: MineConfig, lineage_inputs: Any, shards: Sequence[Shard]) -> None:
        super().__init__()
        self.cfg, self.inputs, self.shards = cfg, lineage_inputs, tuple(shards)

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        store = Store(self.cfg.run_dir)
        store.open()
        with store.locked():
            facts = finish(Lineage(store, self.cfg, self.inputs), self.shards)
        self.stat_update("pages", value=facts["kept"])
        yield Document(text="", id=str(store.path), metadata=facts)


def stage_of(lineage: Lineage) -> Ingest:
    """The ingest stage that a config means, with a path that every node understands."""
    return Ingest(lineage.store.path, lineage.cfg.ingest, lineage.ingest())


def finish(lineage: Lineage, shards: Sequence[Shard]) -> dict[str, Any]:
    """Publish what the tasks have read and enter it in the manifest, as mine.py does; returns the stage's facts.

    The seconds are those since the work folder was made: on a cluster the time in the queue is in them.
    """
    stage = stage_of(lineage)
    begun = (stage.work_dir / "inputs").stat().st_mtime
    facts = stage.publish(shards)
    lineage.store.finish(
        "ingest", inputs_hash=stage.inputs_hash, started=now(), seconds=time.time() - begun, **facts,
        engine="datatrove", **lineage.facts("ingest"),
    )  # fmt: skip
    stage.close()
    return facts


def num_tasks(cfg: ExtractConfig, shards: Sequence[Shard]) -> int:
    """Tasks that have a file each at least."""
    if cfg.tasks < 0 or cfg.workers < 0:
        raise ConfigError(f"tasks={cfg.tasks}, workers={cfg.workers}: give numbers from 0")
    return min(cfg.tasks or len(shards), len(shards))


def logging_dir(stage: Ingest, tasks: int) -> Path:
    """Where datatrove keeps logs, statistics and completion markers of one way to deal out one set of files."""
    return stage.run_dir / "logs" / f"ingest-{stage.inputs_hash[:8]}-{tasks}"


def executor_of(
    cfg: ExtractConfig, pipeline: list[PipelineStep], *, tasks: int, folder: Path, after: Any = None
) -> PipelineExecutor:
    """The executor that the config names; nothing is started or written.

    after: another executor, which must end first; Slurm only.
    """
    common: dict[str, Any] = {"pipeline": pipeline, "tasks": tasks, "logging_dir": str(folder)}
    if cfg.executor == "local":
        return LocalPipelineExecutor(**common, workers=min(tasks, cfg.workers or os.cpu_count() or 1))
    if cfg.executor == "ray":
        resources = {"cpus_per_task": cfg.ray.cpus_per_task, "mem_per_cpu_gb": cfg.ray.mem_per_cpu_gb}
        datatrove_logger.disable(
            "datatrove.executor.ray"
        )  # it warns that the folder must be shared: run_dir must, anyway
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
        job_name="motherlode-ingest" if after is None else "motherlode-publish",
        qos=slurm.qos,
        env_command=slurm.env_command or None,
        venv_path=None if slurm.env_command else str(venv / "bin" / "activate"),
        sbatch_args=dict(slurm.sbatch_args),
        max_array_size=slurm.max_array_size,
        slurm_logs_folder=str(folder / "slurm"),
        depends=after,
        run_on_dependency_fail=True,  # to say which files are wanting, rather than to wait in the queue for ever
    )


def forget_completions(stage: Ingest, shards: Sequence[Shard], tasks: int, folder: Path) -> None:
    """Take away the completion markers of ranks that have files to read."""
    pending = set(stage.pending(shards))
    for rank in range(tasks):
        if pending & set(shards[rank::tasks]):
            (folder / "completions" / f"{rank:05d}").unlink(missing_ok=True)


def prepare(cfg: ExtractConfig, lineage: Lineage, shards: Sequence[Shard]) -> int:
    """Make the work folder ready, or take up the one of a killed run; the number of files that are left to read."""
    stage, tasks = stage_of(lineage), num_tasks(cfg, shards)
    stage.prepare(shards)
    forget_completions(stage, shards, tasks, logging_dir(stage, tasks))
    return len(stage.pending(shards))


def read_here(cfg: ExtractConfig, lineage: Lineage, shards: Sequence[Shard]) -> None:
    """Read the files that are left on this machine or on Ray, and wait for them. ShardError where a task failed."""
    stage, tasks = stage_of(lineage), num_tasks(cfg, shards)
    folder = logging_dir(stage, tasks)
    reading = executor_of(cfg, [WarcShards(shards), IngestShards(stage)], tasks=tasks, folder=folder)
    if cfg.executor == "ray":
        _join_ray(cfg.ray)
    try:
        with _watched_workers():
            reading.run()
    except MotherlodeError:
        raise
    except Exception as error:  # whatever a task died of, in its own words
        raise ShardError(
            f"ingest: a task failed ({type(error).__name__}: {error}); logs: {folder}/logs; what was read is kept: "
            "run the same line again"
        ) from error


@contextmanager
def _watched_workers() -> Iterator[None]:
    """Ends the program, exit code 1, when a pool's worker is killed.

    A Python pool replaces such a worker and waits for the lost task for ever; and it cannot be stopped, because the
    worker may have died with the queue's lock. So it is not asked: everything read is on disk.
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
                    f"failed: ingest: a worker process died (exit code {bad[0]}; killed, or out of memory); what was "
                    "read is kept: run the same line again, with fewer --workers if memory is short\n"
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


def submit(cfg: ExtractConfig, lineage: Lineage, shards: Sequence[Shard]) -> None:
    """Give Slurm the jobs that read the files left and then publish.

    The run directory must not be locked by now: the last job locks it.
    """
    stage, tasks = stage_of(lineage), num_tasks(cfg, shards)
    _slurm_jobs(cfg, lineage, shards, tasks=tasks, folder=logging_dir(stage, tasks)).run()


def _slurm_jobs(
    cfg: ExtractConfig, lineage: Lineage, shards: Sequence[Shard], *, tasks: int, folder: Path
) -> PipelineExecutor:
    """The publishing executor, which depends on the reading one and launches it."""
    steps = [WarcShards(shards), IngestShards(stage_of(lineage))]
    reading = executor_of(cfg, steps, tasks=tasks, folder=folder)
    step = PublishPages(lineage.cfg, lineage.inputs, shards)
    publishing = executor_of(cfg, [step], tasks=1, folder=folder / "publish", after=reading)
    publishing.skip_completed = False  # it is wanted exactly when the manifest has no entry
    return publishing


def _join_ray(cfg: RayConfig) -> None:
    import ray

    try:
        ray.init(address=cfg.address, ignore_reinit_error=True, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(f"ray.address={cfg.address}: no Ray cluster there ({error}); start one (ray start)") from None


def check(cfg: ExtractConfig) -> None:
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


def plan(cfg: ExtractConfig, lineage: Lineage, shards: Sequence[Shard]) -> str:
    """What `launch` would do, in words; for Slurm the very scripts that sbatch would get. Writes nothing."""
    stage, tasks = stage_of(lineage), num_tasks(cfg, shards)
    size = sum(file.size for file in lineage.inputs.warcs) / 1e6
    folder = logging_dir(stage, tasks)
    fewest, most = len(shards) // tasks, -(-len(shards) // tasks)
    share = f"{most}" if fewest == most else f"{fewest} or {most}"
    pending = stage.pending(shards) if stage.work_dir.exists() else shards
    lines = [
        f"ingest of {len(shards):,} WARC files ({size:,.0f} MB) into {stage.run_dir}, inputs hash {stage.inputs_hash}",
        f"executor {cfg.executor}: {tasks:,} tasks of {share} files, "
        f"{f'{cfg.workers} at a time' if cfg.workers else 'as many at a time as there is room for'}",
        f"files to read: {len(pending):,}; logs and statistics: {folder}",
    ]
    if cfg.executor == "slurm":
        lines += _slurm_scripts(cfg, lineage, shards, folder)
    if cfg.executor == "ray":
        lines.append(
            f"Ray at {cfg.ray.address}: {cfg.ray.cpus_per_task} CPUs and "
            f"{cfg.ray.cpus_per_task * cfg.ray.mem_per_cpu_gb:g} GB a task"
        )
    for rank in range(min(tasks, 3)):
        names = [shard.warc_file for shard in shards[rank::tasks]]
        lines.append(f"task {rank}: {', '.join(names[:3])}{f' and {len(names) - 3:,} more' if len(names) > 3 else ''}")
    return "\n".join(lines)


def _slurm_scripts(cfg: ExtractConfig, lineage: Lineage, shards: Sequence[Shard], folder: Path) -> list[str]:
    """The submissions of a real launch, with sbatch left out, in a folder of their own."""
    submissions: list[tuple[str, tuple[str, ...]]] = []

    def note(script: str, job_id_of: Any, *options: str) -> str:
        submissions.append((script, options))
        return f"JOB{len(submissions)}"

    real_submit = datatrove.executor.slurm.launch_slurm_job
    with tempfile.TemporaryDirectory() as elsewhere:
        jobs = _slurm_jobs(cfg, lineage, shards, tasks=num_tasks(cfg, shards), folder=Path(elsewhere))
        datatrove_logger.disable("datatrove")
        datatrove.executor.slurm.launch_slurm_job = note
        try:
            jobs.run()
        finally:
            datatrove.executor.slurm.launch_slurm_job = real_submit
            datatrove_logger.enable("datatrove")
        return [
            f"\n== JOB{number}: sbatch {' '.join(options)}\n{script.replace(elsewhere, str(folder)).rstrip()}"
            for number, (script, options) in enumerate(submissions, 1)
        ]
