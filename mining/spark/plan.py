"""What a run would do, said before any of it is done: `mine.py --dry_run true`."""

import dataclasses
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mining.config import MineConfig, stage_names
from mining.errors import ConfigError
from mining.lineage import Inputs, Lineage, check_changes
from mining.rounds import should_stop
from mining.shards import Ingest, shards_of
from mining.spark.session import session_properties
from mining.store import Store

_TABLES = {"ingest": ("pages", "dropped"), "dedup": ("duplicates", "band_index"), "decontaminate": ("contaminated",),
           "export": ("corpus",)}  # fmt: skip
_PAGES_OF_WARC = 0.2
"""Size of pages/ on disk by that of the packed WARC files (the real web: 31 MB of 150)."""
_EXECUTOR_CORES = 4
_HEAPLESS_MB = 400
"""What Java takes beside its heap."""
_WORKER_MB = 900
"""The Python workers of a core without a model; measured, see "On a Spark cluster" in mining/README.md."""


class _Preview(Store):
    """A run directory whose manifest changes in memory only."""

    def _save(self) -> None:
        pass


def page_bytes(run_dir: Path, inputs: Inputs) -> int:
    """Size of pages/ on disk, by the WARC files where it is not there yet."""
    found = sum(file.stat().st_size for file in (run_dir / "pages").glob("*.parquet"))
    return found or int(_PAGES_OF_WARC * sum(file.size for file in inputs.warcs))


def plan(cfg: MineConfig, inputs: Inputs, arguments: Sequence[str]) -> str:
    """The stages with their state and why, inputs, partitions, memory, and the line that starts the run on its master.

    Nothing is written and no Spark is started. arguments: the command line's, without the one that asks for the plan.
    """
    store = _Preview(cfg.run_dir)
    if store.path.exists():
        store.open()
    size = page_bytes(store.path, inputs)
    properties = session_properties(cfg.spark, scale=cfg.scale, page_bytes=size)
    parts = [
        f"run directory: {store.path}{'' if store.path.exists() else ' (not there yet)'}",
        "\nstages", *_stages(store, cfg, inputs),
        "\ninputs", *_inputs(inputs),
        "\nSpark", *_engine(properties, cfg, inputs),
        f"\nstart it with\n{submit_line(properties, cfg, arguments)}",
    ]  # fmt: skip
    return "\n".join(parts)


def _stages(store: Store, cfg: MineConfig, inputs: Inputs) -> Iterator[str]:
    lineage = Lineage(store, cfg, inputs)
    refusal = ""
    try:
        check_changes(lineage)
    except ConfigError as error:
        refusal = str(error)
        check_changes(Lineage(store, dataclasses.replace(cfg, rerun=True), inputs))
    for stage in stage_names(cfg):
        if stage == "rounds":
            yield from _rounds(lineage)
        else:
            yield f"  {stage:14}{_state(lineage, stage, _TABLES[stage])}"
    if refusal:
        yield f"as it stands the run is refused: {refusal}"


def _rounds(lineage: Lineage) -> Iterator[str]:
    """The rounds up to the first that is not done; how many follow it the run itself finds out."""
    rule = lineage.cfg.rounds
    for number in range(1, rule.max_rounds + 1):
        name = f"round-{number:02d}"
        state = _state(lineage, name, [f"rounds/{number:02d}/{table}" for table in ("scores", "collected")])
        yield f"  {name:14}{state}"
        if state != "done":
            more = rule.max_rounds - number
            if more:
                yield f"  {'':14}then up to {more} more, until rounds.stop_overlap={rule.stop_overlap}"
            return
        entry = lineage.store.stage(name) or {}
        if not entry.get("landed", True) or should_stop(number, entry["overlap_last"], rule):
            return


def _state(lineage: Lineage, name: str, tables: Sequence[str]) -> str:
    entry = lineage.store.stage(name)
    expected = lineage.expected(name)
    if entry is None:
        left = _files_left(lineage) if name == "ingest" else ""
        return left or "to run: has not run"
    if expected is None:
        return "to run, unless what it reads comes out the same"
    if not lineage.is_done(name, expected):
        return "to run: made by another config or from other inputs"
    missing = [table for table in tables if not (lineage.store.path / table).exists()]
    return f"to run: {', '.join(missing)} is gone" if missing else "done"


def _files_left(lineage: Lineage) -> str:
    """How far a killed ingest came, empty where none was."""
    stage = Ingest(lineage.store.path, lineage.cfg.ingest, lineage.ingest())
    shards = shards_of(lineage.inputs.warcs, lineage.cfg.ingest)
    left = len(stage.pending(shards))
    return f"to run: goes on, {len(shards) - left} of {len(shards)} files are read" if left < len(shards) else ""


def _inputs(inputs: Inputs) -> Iterator[str]:
    for item in dataclasses.fields(inputs):
        if item.name == "earlier":
            yield from (f"  {'earlier':14}{index.path.parent}" for index in inputs.earlier)
            continue
        found = getattr(inputs, item.name)
        if found:
            sizes = [file.size for file in found]
            yield f"  {item.name:14}{len(found):,} files, {_mb(sum(sizes))}, the largest {_mb(max(sizes))}"


def _engine(properties: Mapping[str, str], cfg: MineConfig, inputs: Inputs) -> Iterator[str]:
    local = properties["spark.master"].startswith("local")
    yield f"  {'master':14}{properties['spark.master']}"
    yield f"  {'driver':14}{properties['spark.driver.memory']} of Java heap"
    if not local:
        sized = executor_properties(properties, cfg)
        cores = sized["spark.executor.cores"]
        yield (
            f"  {'executors':14}{sized['spark.executor.memory']} of Java heap and "
            f"{sized['spark.executor.memoryOverhead']} beside it for {cores} Python workers, {cores} tasks at a time"
        )
    if inputs.warcs:
        yield f"  {'ingest':14}{len(inputs.warcs):,} tasks, one a WARC file, the largest first"
    shuffle = properties["spark.sql.shuffle.partitions"]
    adaptive = properties["spark.sql.adaptive.enabled"] == "true"
    joined = "at most; small ones are joined up to 64 MB" if adaptive else "whatever their size"
    yield f"  {'shuffles':14}{shuffle} partitions, {joined}"
    yield f"  {'tables':14}read in splits of {properties['spark.sql.files.maxPartitionBytes']}"


def executor_properties(properties: Mapping[str, str], cfg: MineConfig) -> dict[str, str]:
    """Cores and memory of an executor: what was given, else what its Python workers need, one a core.

    They live outside the Java heap, where Spark's own default of a tenth of the heap would not hold one. A worker
    keeps its copy of the classifier (classifier.max_model_mb) for a minute after its stage, so there may be two.
    """
    cores = int(properties.get("spark.executor.cores", _EXECUTOR_CORES))
    beside_mb = _HEAPLESS_MB + cores * (_WORKER_MB + 2 * cfg.classifier.max_model_mb)
    return {
        "spark.executor.cores": str(cores),
        "spark.executor.memory": properties.get("spark.executor.memory", f"{max(1, cores)}g"),
        "spark.executor.memoryOverhead": properties.get("spark.executor.memoryOverhead", f"{beside_mb}m"),
    }


def submit_line(properties: Mapping[str, str], cfg: MineConfig, arguments: Sequence[str]) -> str:
    """The spark-submit line for the master's kind: local, standalone, YARN or Kubernetes.

    What stands between < and > is the cluster's own.
    """
    master = properties["spark.master"].partition(",")[0] + ("]" if "," in properties["spark.master"] else "")
    options = ["--master", master, "--driver-memory", properties["spark.driver.memory"]]
    if not master.startswith("local"):
        options += _conf(executor_properties(properties, cfg))
    if master.startswith("spark://"):
        options += _conf({"spark.pyspark.python": "<python of an environment that every node sees>"})
    elif master.startswith("yarn"):
        options += ["--deploy-mode", "client", "--archives", "environment.tar.gz#environment"]
        options += _conf({"spark.pyspark.python": "./environment/bin/python", "spark.pyspark.driver.python": "python"})
    elif master.startswith("k8s://"):
        mount = "spark.kubernetes.executor.volumes.persistentVolumeClaim.runs"
        options += ["--deploy-mode", "client"]
        options += _conf({
            "spark.kubernetes.container.image": "<image with Spark, Python and this project>",
            "spark.kubernetes.namespace": "<namespace>",
            "spark.driver.host": "<address of this machine that pods reach>",
            f"{mount}.options.claimName": "<claim that holds the run directory>",
            f"{mount}.mount.path": str(Path(cfg.run_dir).absolute().parent),
        })  # fmt: skip
    words = ["spark-submit", *options, "pipelines/mine.py", *arguments]
    return " ".join(word if word.startswith("<") else shlex.quote(word) for word in words)


def _conf(properties: Mapping[str, str]) -> list[str]:
    return [word for name, value in properties.items() for word in ("--conf", f"{name}={value}")]


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
