"""The stages of a run in their order: what each reads, when it is skipped, what it leaves behind."""

import dataclasses
import json
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
from mining.config import STAGES, MineConfig, stage_names
from mining.errors import ConfigError, ShardError
from mining.inputs import InputFile, crawl_of, find_files, provenance_names
from mining.page import PAGES_SCHEMA
from mining.rounds import check as check_rounds
from mining.spark.corpus import decontaminate, export
from mining.spark.ingest import ingest_files
from mining.spark.near_dups import find_duplicates
from mining.spark.rounds import run_round
from mining.spark.tables import check_parquet, first_row_problem, read_table, write_table
from mining.store import Store

logger = logging.getLogger("mine")


@dataclass(frozen=True)
class Inputs:
    """The input files of the wanted stages, looked up before any work starts."""

    warcs: list[InputFile]
    positive: list[InputFile]
    negative: list[InputFile]
    benchmarks: list[InputFile]


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
    if "rounds" in stages and cfg.labels.annotator == "hosts":
        read_hosts_table(_under(cfg, cfg.labels.hosts_file))
    if "rounds" in stages and cfg.rounds.cut == "precision":
        find([cfg.rounds.precision_labels], "rounds.precision_labels", ["url", "label"])
    return Inputs(
        warcs=find(cfg.ingest.warcs, "ingest.warcs", []) if "ingest" in stages else [],
        positive=find(cfg.seed.positive, "seed.positive", ["text"]) if "rounds" in stages else [],
        negative=find(cfg.seed.negative, "seed.negative", ["text"]) if "rounds" in stages else [],
        benchmarks=(
            find(cfg.decontaminate.benchmarks, "decontaminate.benchmarks", ["question"])
            if "decontaminate" in stages
            else []
        ),
    )


def _under(cfg: MineConfig, name: str) -> Path:
    return Path(name) if Path(name).is_absolute() else Path(cfg.data_dir).absolute() / name


def check_changes(store: Store, cfg: MineConfig, inputs: Inputs) -> None:
    """ConfigError when a finished stage would run again because the config or its inputs changed, unless cfg.rerun.

    With cfg.rerun the stages that changed, and those after them, are forgotten and made again.
    """
    done = store.manifest["stages"]
    if not done:
        return
    before = store.manifest.get("config", {})
    wanted = stage_names(cfg)
    after = json.loads(json.dumps(dataclasses.asdict(cfg)))  # tuples as the lists that the manifest has
    changed = [line for line in _differences(before, after) if line.split(".")[0] in _STAGE_OF]
    stages = {_STAGE_OF[line.split(".")[0]] for line in changed}
    expected = Run(store, None, cfg, inputs)  # type: ignore[arg-type]
    if "ingest" in wanted and "ingest" in done and done["ingest"]["inputs_hash"] != expected.ingest_hash():
        stages.add("ingest")
        changed = changed or ["the WARC files are others than before"]
    order = list(STAGES)
    first = min((order.index(stage) for stage in stages), default=len(order))
    stale = [name for name in done if order.index("rounds" if name.startswith("round-") else name) >= first]
    if not stale:
        return
    if not cfg.rerun:
        raise ConfigError(
            f"{store.path} was made with another config or other inputs:\n  "
            + "\n  ".join(changed)
            + f"\ngive another --run_dir, or --rerun true to make these stages again: {', '.join(stale)}"
        )
    logger.info("making again, because the config changed: %s", ", ".join(stale))
    store.forget(stale)


_STAGE_OF = {
    "ingest": "ingest",
    "dedup": "dedup",
    "seed": "rounds",
    "classifier": "rounds",
    "rounds": "rounds",
    "domains": "rounds",
    "prefixes": "rounds",
    "labels": "rounds",
    "decontaminate": "decontaminate",
    "export": "export",
}
_FREE = ("rounds.max_rounds", "rounds.stop_overlap")


def _differences(before: Any, after: Any, path: str = "") -> list[str]:
    """`a.b: old -> new` for every setting that differs, but those that only say how far to go."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = sorted(set(before) | set(after))
        return [
            line
            for key in keys
            for line in _differences(before.get(key), after.get(key), f"{path}.{key}" if path else key)
        ]
    return [] if before == after or path in _FREE else [f"{path}: {before} -> {after}"]


@dataclass
class Run:
    """One run of the pipeline on one run directory."""

    store: Store
    session: SparkSession
    cfg: MineConfig
    inputs: Inputs

    def all(self) -> None:
        """Run the wanted stages, each only where it is not done."""
        wanted = stage_names(self.cfg)
        if "ingest" in wanted:
            self.stage("ingest", self.ingest_hash(), self.ingest)
        if "dedup" in wanted:
            self.stage("dedup", self.dedup_hash(), self.dedup)
        if "rounds" in wanted:
            self.rounds()
        if "decontaminate" in wanted:
            self.stage("decontaminate", self.decontaminate_hash(), self.decontaminate)
        if "export" in wanted:
            self.stage("export", self.export_hash(), self.export)

    def stage(self, name: str, inputs_hash: str, work: Callable[[], dict[str, Any]]) -> None:
        """Run one stage unless it is done on these inputs, and enter its facts in the manifest."""
        if self.store.is_done(name, inputs_hash):
            logger.info("%s: done before, skipped", name)
            return
        started, clock = files.now(), time.monotonic()
        logger.info("%s: started", name)
        facts = work()
        seconds = time.monotonic() - clock
        self.store.finish(name, inputs_hash=inputs_hash, started=started, seconds=seconds, **facts)
        shown = ", ".join(f"{key.rstrip('_')} {value:,}" for key, value in facts.items() if isinstance(value, int))
        logger.info("%s: done in %.1f s (%s)", name, seconds, shown)

    # -- what each stage depends on

    def ingest_hash(self) -> str:
        return files.digest([dataclasses.asdict(self.cfg.ingest), [file.facts() for file in self.inputs.warcs]])

    def dedup_hash(self) -> str:
        return files.digest([dataclasses.asdict(self.cfg.dedup), self.done_hash("ingest")])

    def decontaminate_hash(self) -> str:
        benchmarks = [file.facts() for file in self.inputs.benchmarks]
        return files.digest([dataclasses.asdict(self.cfg.decontaminate), benchmarks, self.last_round_hash()])

    def export_hash(self) -> str:
        return files.digest([dataclasses.asdict(self.cfg.export), self.done_hash("decontaminate")])

    def done_hash(self, name: str) -> str:
        entry = self.store.stage(name)
        if entry is None or entry["state"] != "done":
            raise ConfigError(f"stage {name} has not run in {self.store.path}; add it to --stages")
        return str(entry["inputs_hash"])

    def last_round(self) -> int:
        """The number of the last finished round."""
        numbers = [int(name[6:]) for name in self.store.manifest["stages"] if name.startswith("round-")]
        done = [n for n in numbers if self.store.manifest["stages"][f"round-{n:02d}"]["state"] == "done"]
        if not done:
            raise ConfigError(f"no round has run in {self.store.path}; add rounds to --stages")
        return max(done)

    def last_round_hash(self) -> str:
        return self.done_hash(f"round-{self.last_round():02d}")

    # -- the stages

    def ingest(self) -> dict[str, Any]:
        pages_dir, dropped_dir = (self.store.path / name for name in ("pages.partial", "dropped.partial"))
        stamp = self.store.path / "ingest.inputs"
        if not stamp.exists() or stamp.read_text() != self.ingest_hash():
            files.remove(pages_dir)
            files.remove(dropped_dir)
            files.write_text(stamp, self.ingest_hash())
        pages_dir.mkdir(exist_ok=True)
        dropped_dir.mkdir(exist_ok=True)
        names = provenance_names(self.inputs.warcs)
        todo = [
            (file.uri, name, crawl_of(file.uri, self.cfg.ingest.crawl))
            for file, name in zip(self.inputs.warcs, names, strict=True)
        ]
        pages = tokens = 0
        dropped: dict[str, int] = {}
        counts = ingest_files(self.session, todo, pages_dir=pages_dir, dropped_dir=dropped_dir, cfg=self.cfg.ingest)
        unreadable = []
        for number, count in enumerate(counts, 1):
            if "error" in count:
                unreadable.append(count["error"])
                continue
            pages += count["pages"]
            tokens += count["tokens"]
            for reason, n in count["dropped"].items():
                dropped[reason] = dropped.get(reason, 0) + n
            logger.info(
                "ingest: %d of %d files, %s pages, %s dropped (%s)",
                number, len(todo), f"{pages:,}", f"{sum(dropped.values()):,}", count["warc_file"],
            )  # fmt: skip
        if unreadable:
            raise ConfigError(
                f"ingest: {len(unreadable)} of {len(todo)} files cannot be read:\n  "
                + "\n  ".join(unreadable[:20])
                + "\nmend them or leave them out of ingest.warcs, then run the same line again: the others are kept"
            )
        if not pages:
            raise ShardError(
                f"ingest: no page in {len(todo)} WARC files ({sum(dropped.values())} responses dropped: "
                f"{_by_count(dropped) or 'there were none'}); look at ingest.language and ingest.min_chars"
            )
        for count_file in dropped_dir.glob("*.json"):
            count_file.unlink()
        files.publish(pages_dir, self.store.path / "pages")
        files.publish(dropped_dir, self.store.path / "dropped")
        files.remove(stamp)
        return {
            "in_": pages + sum(dropped.values()),
            "kept": pages,
            "tokens": tokens,
            "files": len(todo),
            "dropped": _by_count(dropped),
        }

    def dedup(self) -> dict[str, Any]:
        work_dir = self.store.path / "work"
        pages = self.all_pages()
        table = self.store.path / "duplicates"
        write_table(find_duplicates(self.session, pages, work_dir=work_dir, cfg=self.cfg.dedup), table)
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
                pages=self.unique_pages,
                base_hash=self.done_hash("dedup"),
                positive=self.inputs.positive,
                negative=self.inputs.negative,
                hosts_file=_under(self.cfg, self.cfg.labels.hosts_file),
                labels_file=(
                    _under(self.cfg, self.cfg.labels.file) if self.cfg.labels.file else self.store.path / "labels.csv"
                ),
                precision_labels=_under(self.cfg, self.cfg.rounds.precision_labels),
            )
            if stop:
                logger.info("rounds: %s", stop)
                break
            number += 1
        later = [name for name in self.store.manifest["stages"] if name.startswith("round-") and int(name[6:]) > number]
        self.store.forget(later)

    def decontaminate(self) -> dict[str, Any]:
        return decontaminate(
            self.session,
            self.unique_pages(),
            benchmarks=self.inputs.benchmarks,
            collected=self.store.round_dir(self.last_round()) / "collected",
            table=self.store.path / "contaminated",
            cfg=self.cfg.decontaminate.rule,
        )

    def export(self) -> dict[str, Any]:
        return export(
            self.session,
            self.unique_pages(),
            store=self.store,
            last_round=self.last_round(),
            rule=self.cfg.decontaminate.rule,
            cfg=self.cfg.export,
        )

    def all_pages(self) -> DataFrame:
        table = self.store.path / "pages"
        if table.exists():
            check_parquet(table)
        return read_table(self.session, table, PAGES_SCHEMA)

    def unique_pages(self) -> DataFrame:
        """pages/ without the duplicates."""
        removed = read_table(self.session, self.store.path / "duplicates").select(F.col("page_id"))
        return self.all_pages().join(removed, "page_id", "left_anti")


def _by_count(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
