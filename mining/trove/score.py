"""The classifier's pass over the pages on datatrove: the same rows by the same function as Spark's score step."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep

from mining.config import MineConfig
from mining.errors import ConfigError
from mining.score_shards import Scoring
from mining.store import Store
from mining.trove.executors import SpreadConfig, Work, num_tasks


@dataclass(frozen=True)
class ScoreConfig(SpreadConfig, MineConfig):
    """The score step of a round on datatrove; of mine.py's settings run_dir alone counts."""

    round: int = 0
    """The round whose classifier scores; 0: the newest that has one."""
    pages: str = ""
    """Other pages than the run's: a run directory (its unique pages), or a folder of Parquet files of pages (all)."""
    out: str = ""
    """Folder that the scores of other pages go to; the run's own go into its round."""


class ScoreFiles(PipelineStep):
    """Scores each Document's file of pages and passes it on with its counts."""

    type = "WRITER"
    name = "scores"

    def __init__(self, scoring: Scoring) -> None:
        super().__init__()
        self.scoring = scoring

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        documents = list(data)
        classifier = self.scoring.classifier()
        removed = self.scoring.removed_among([document.metadata["file"] for document in documents])
        for document in documents:
            with self.track_time("file"):
                counts = self.scoring.score(document.metadata["file"], classifier, removed)
            for name, value in counts.items():
                self.stat_update(name, value=value, unit="file")
            yield Document(text="", id=document.id, metadata=counts)


class PublishScores(PipelineStep):
    """Gives the scores their name."""

    type = "WRITER"
    name = "scores/"

    def __init__(self, run_dir: str, scoring: Scoring) -> None:
        super().__init__()
        self.run_dir, self.scoring = run_dir, scoring

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        store = Store(self.run_dir)
        store.open()
        with store.locked():
            facts = self.scoring.publish()
        self.stat_update("pages", value=facts["pages"])
        yield Document(text="", id=str(self.scoring.table), metadata=facts)


def check(cfg: ScoreConfig) -> None:
    """ConfigError for settings that do not go together."""
    if bool(cfg.pages) != bool(cfg.out):
        raise ConfigError(f"pages={cfg.pages or '(none)'}, out={cfg.out or '(none)'}: give both, or neither")
    if cfg.round < 0:
        raise ConfigError(f"round={cfg.round}: give the number of a round, or 0 for the newest with a classifier")


def work_of(cfg: ScoreConfig, store: Store, scoring: Scoring) -> Work:
    """The pass as datatrove takes it; reads what is done, writes nothing."""
    files = scoring.files()
    tasks = num_tasks(cfg, len(files))
    logs = store.path / "logs" if scoring.in_round else scoring.table.with_name(f"{scoring.table.name}.logs")
    return Work(
        name="score",
        files=files,
        pending=frozenset(scoring.pending(files)),
        step=ScoreFiles(scoring),
        publish=PublishScores(str(store.path), scoring),
        tasks=tasks,
        folder=logs / f"score-{scoring.inputs_hash[:8]}-{tasks}",
    )
