"""Ingest on datatrove: the same files by the same functions as on Spark.

A task that is killed goes on with the files that have no counts yet (`mining.shards`).
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from datatrove.utils.logging import logger as datatrove_logger

from mining.config import MineConfig
from mining.lineage import Lineage
from mining.shards import Ingest, Shard
from mining.store import Store, now
from mining.trove.executors import SpreadConfig, Work, num_tasks


@dataclass(frozen=True)
class ExtractConfig(SpreadConfig, MineConfig):
    """The ingest stage of a mining run on datatrove; the settings of mine.py, and how the work is spread."""


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
                counts = self.ingest.read(document.metadata["file"])
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
    """Publishes the tables and writes the manifest's entry."""

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


def work_of(cfg: SpreadConfig, lineage: Lineage, shards: Sequence[Shard]) -> Work:
    """The stage as datatrove takes it; reads what is done, writes nothing."""
    stage, tasks = stage_of(lineage), num_tasks(cfg, len(shards))
    return Work(
        name="ingest",
        files={shard.warc_file: shard for shard in shards},
        pending=frozenset(shard.warc_file for shard in stage.pending(shards)),
        step=IngestShards(stage),
        publish=PublishPages(lineage.cfg, lineage.inputs, shards),
        tasks=tasks,
        folder=stage.run_dir / "logs" / f"ingest-{stage.inputs_hash[:8]}-{tasks}",
    )


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


def headline(lineage: Lineage, shards: Sequence[Shard]) -> str:
    """What a plan says first."""
    stage = stage_of(lineage)
    size = sum(file.size for file in lineage.inputs.warcs) / 1e6
    into = f"into {stage.run_dir}, inputs hash {stage.inputs_hash}"
    return f"ingest of {len(shards):,} WARC files ({size:,.0f} MB) {into}"
