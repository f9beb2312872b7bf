"""The stages of a run in their order: what each reads, when it is skipped, what it leaves behind."""

import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from mining import store as files
from mining.annotate import read_hosts_table
from mining.band_index import open_indexes, publish_index
from mining.chat import api_key
from mining.config import MineConfig, stage_names
from mining.dedup import dedup, fits_memory
from mining.errors import ConfigError
from mining.inputs import InputFile, find_files
from mining.lineage import Inputs, Lineage, check_changes, labels_file, under
from mining.page import PAGES_SCHEMA
from mining.rounds import check as check_rounds
from mining.shards import Ingest, shards_of
from mining.spark.corpus import decontaminate, export
from mining.spark.failures import explained
from mining.spark.ingest import ingest_files
from mining.spark.near_dups import find_duplicates
from mining.spark.rounds import run_round
from mining.spark.tables import check_parquet, first_row_problem, read_table, write_table
from mining.store import Addition, Store

logger = logging.getLogger("mine")


def look_up_inputs(cfg: MineConfig) -> Inputs:
    """All input files that the wanted stages read. ConfigError for what is missing or has the wrong shape."""
    check_rounds(cfg.rounds)
    stages = stage_names(cfg)

    def find(patterns: Sequence[str], field: str, needed: Sequence[str]) -> list[InputFile]:
        found = find_files(patterns, data_dir=cfg.data_dir, field=field)
        for file in found:
            problem = first_row_problem(file.uri, needed) if needed else ""
            if problem:
                raise ConfigError(f"{field}: {file.uri}: {problem}; JSON lines with {', '.join(needed)} are needed")
        return found

    if "ingest" in stages and not cfg.ingest.warcs:
        raise ConfigError("ingest.warcs is empty: name WARC files, for example --ingest.warcs '[web/*.warc.gz]'")
    annotations: list[InputFile] = []
    if "rounds" in stages and cfg.labels.annotator == "hosts":
        read_hosts_table(under(cfg, cfg.labels.hosts_file))
        annotations += find([cfg.labels.hosts_file], "labels.hosts_file", [])
    if "rounds" in stages and cfg.labels.annotator == "llm":
        api_key(cfg.labels.llm.endpoint)  # missing, it is said now and not when the first round has been trained
    if "rounds" in stages and cfg.rounds.cut == "precision":
        annotations += find([cfg.rounds.precision_labels], "rounds.precision_labels", ["url", "label"])
    return Inputs(
        warcs=find(cfg.ingest.warcs, "ingest.warcs", []) if "ingest" in stages else [],
        positive=find(cfg.seed.positive, "seed.positive", ["text"]) if "rounds" in stages else [],
        negative=find(cfg.seed.negative, "seed.negative", ["text"]) if "rounds" in stages else [],
        benchmarks=(
            find(cfg.decontaminate.benchmarks, "decontaminate.benchmarks", ["question"])
            if "decontaminate" in stages
            else []
        ),
        annotations=annotations,
        earlier=open_indexes(cfg.dedup, cfg.run_dir) if "dedup" in stages else [],
    )


@dataclass
class Run:
    """One run of the pipeline on one run directory."""

    store: Store
    session: SparkSession
    cfg: MineConfig
    inputs: Inputs

    def __post_init__(self) -> None:
        self.lineage = Lineage(self.store, self.cfg, self.inputs)

    def all(self) -> None:
        """Run the wanted stages, each only where it is not done."""
        wanted = stage_names(self.cfg)
        if "ingest" in wanted:
            self.stage("ingest", self.lineage.ingest, self.ingest, ["pages", "dropped"])
            self.ingest_stage().close()
        if "dedup" in wanted:
            self.stage("dedup", self.lineage.dedup, self.dedup, ["duplicates", "band_index"])
            for addition in self.store.additions():
                self.added(addition).all()
        if "rounds" in wanted:
            with explained("rounds", self.store.path):
                self.rounds()
        if "decontaminate" in wanted:
            self.stage("decontaminate", self.lineage.decontaminate, self.decontaminate, ["contaminated"])
        if "export" in wanted:
            self.stage("export", self.lineage.export, self.export, ["corpus"])

    def stage(
        self, name: str, hash_of: Callable[[], str], work: Callable[[], dict[str, Any]], tables: Sequence[str]
    ) -> None:
        """Run one stage unless it is done on these inputs, and enter its facts in the manifest.

        A stage whose table was deleted, because it was damaged, is made again; what was made from it stands.
        """
        inputs_hash = hash_of()
        if self.lineage.is_done(name, inputs_hash) and all((self.store.path / table).exists() for table in tables):
            logger.info("%s: done before, skipped", name)
            return
        started, clock = files.now(), time.monotonic()
        logger.info("%s: started", name)
        self.store.forget([name])
        with explained(name, self.store.path):
            facts = work()
        seconds = time.monotonic() - clock
        about = self.lineage.facts(name)
        self.store.finish(name, inputs_hash=inputs_hash, started=started, seconds=seconds, **facts, **about)
        shown = ", ".join(f"{key.rstrip('_')} {value:,}" for key, value in facts.items() if isinstance(value, int))
        logger.info("%s: done in %.1f s (%s)", name, seconds, shown)

    # -- the stages

    def ingest_stage(self) -> Ingest:
        return Ingest(self.store.path, self.cfg.ingest, self.lineage.ingest())

    def ingest(self) -> dict[str, Any]:
        stage, shards = self.ingest_stage(), shards_of(self.inputs.warcs, self.cfg.ingest)
        stage.prepare(shards)
        pages = dropped = 0
        for number, count in enumerate(ingest_files(self.session, stage, shards), 1):
            if "error" in count:
                continue
            pages, dropped = pages + count["pages"], dropped + sum(count["dropped"].values())
            logger.info(
                "ingest: %d of %d files, %s pages, %s dropped (%s)",
                number, len(shards), f"{pages:,}", f"{dropped:,}", count["warc_file"],
            )  # fmt: skip
        return stage.publish(shards)

    def dedup(self) -> dict[str, Any]:
        work_dir = self.store.path / "work"
        pages = self.all_pages()
        table = self.store.path / "duplicates"
        cfg, earlier = self.cfg.dedup, self.inputs.earlier
        if fits_memory(self.store.path / "pages", earlier):
            cores = self.session.sparkContext.defaultParallelism
            paths = {"keys": work_dir / "keys", "table": table}
            dedup(self.store.path / "pages", **paths, cfg=cfg, earlier=earlier, num_workers=cores)
        else:
            write_table(find_duplicates(self.session, pages, work_dir=work_dir, cfg=cfg, earlier=earlier), table)
        index = self.store.path / "band_index"
        publish_index(work_dir / "keys", index, cfg=cfg.minhash, earlier=earlier)
        files.remove(work_dir)
        rows = read_table(self.session, table).groupBy("kind").count().collect()
        dropped = {row["kind"]: row["count"] for row in rows}
        total = pages.count()
        return {"in_": total, "kept": total - sum(dropped.values()), "dropped": _by_count(dropped)}

    def rounds(self) -> None:
        number = 1
        while True:
            stop = run_round(
                self.session,
                self.store,
                self.cfg,
                number,
                pages=functools.partial(self.unique_pages, number),
                lineage=self.lineage,
                hosts_file=under(self.cfg, self.cfg.labels.hosts_file),
                labels_file=labels_file(self.cfg, self.store),
                precision_labels=under(self.cfg, self.cfg.rounds.precision_labels),
            )
            if stop:
                logger.info("rounds: %s", stop)
                if all(addition.after_round < number for addition in self.store.additions()):
                    break
                logger.info("rounds: one more, on the pages that were added")
                self.store.move_additions(number)
            number += 1
        later = [name for name in self.store.manifest["stages"] if name.startswith("round-") and int(name[6:]) > number]
        self.store.forget(later)

    def decontaminate(self) -> dict[str, Any]:
        return decontaminate(
            self.session,
            self.unique_pages(self.lineage.last_round()),
            benchmarks=self.inputs.benchmarks,
            collected=self.store.round_dir(self.lineage.last_round()) / "collected",
            table=self.store.path / "contaminated",
            cfg=self.cfg.decontaminate.rule,
        )

    def export(self) -> dict[str, Any]:
        return export(
            self.session,
            self.unique_pages(self.lineage.last_round()),
            store=self.store,
            last_round=self.lineage.last_round(),
            rule=self.cfg.decontaminate.rule,
            cfg=self.cfg.export,
        )

    def all_pages(self, folder: Path | None = None) -> DataFrame:
        """pages/ of the run, or of an addition's folder."""
        table = (folder or self.store.path) / "pages"
        if table.exists():
            check_parquet(table)
        return read_table(self.session, table, PAGES_SCHEMA)

    def unique_pages(self, number: int) -> DataFrame:
        """What a round sees: pages/ without the duplicates, and the same of what was added before the round."""
        unique = []
        for folder in [self.store.path, *(addition.path for addition in self.lineage.additions(number))]:
            removed = read_table(self.session, folder / "duplicates").select(F.col("page_id"))
            unique.append(self.all_pages(folder).join(removed, "page_id", "left_anti"))
        return functools.reduce(DataFrame.unionByName, unique)

    def added(self, addition: Addition) -> "Run":
        """The run on an addition's own directory, whose ingest and dedup have this run's settings."""
        cfg = addition_config(self.cfg, self.store, addition.number)
        store = Store(addition.path)
        store.open()
        inputs = look_up_inputs(cfg)
        check_changes(Lineage(store, cfg, inputs))
        return Run(store, self.session, cfg, inputs)


def addition_config(cfg: MineConfig, store: Store, number: int) -> MineConfig:
    """The config of an addition to a run: its WARC files, against the run and the additions before it."""
    here = store.addition_dir(number)
    before = [store.path, *(one.path for one in store.additions() if one.number < number)]
    return dataclasses.replace(
        cfg,
        run_dir=str(here),
        stages="ingest,dedup",
        ingest=dataclasses.replace(cfg.ingest, warcs=[str(here / "fetched" / "web" / "*.warc.gz")]),
        dedup=dataclasses.replace(cfg.dedup, against=[*cfg.dedup.against, *map(str, before)]),
    )


def _by_count(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
