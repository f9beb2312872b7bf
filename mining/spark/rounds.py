"""A recall round as a resumable sequence of tables under rounds/NN."""

import dataclasses
import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from mining import store as files
from mining.annotate import annotate, merge, read_hosts_table
from mining.classifier import train
from mining.config import MineConfig
from mining.errors import ConfigError, NeedsLabels
from mining.inputs import InputFile
from mining.prefixes import Label, PrefixProposal, label_for, label_index, read_labels, write_labels
from mining.rounds import overlap, should_stop
from mining.spark import recall
from mining.spark.tables import check_parquet, read_seed, read_table, write_file, write_table
from mining.store import Store

logger = logging.getLogger("mine")


def run_round(
    session: SparkSession,
    store: Store,
    cfg: MineConfig,
    number: int,
    *,
    pages: Callable[[], DataFrame],
    base_hash: str,
    positive: Sequence[InputFile],
    negative: Sequence[InputFile],
    hosts_file: Path,
    labels_file: Path,
    precision_labels: Path,
) -> str:
    """Run round `number` unless it is done; returns why the loop stops, or "" when another round follows.

    Every step writes its table last of all, so a killed round goes on with the step it was in. Raises NeedsLabels
    when the next round would need labels from a person and there are none.
    """
    name = f"round-{number:02d}"
    here = store.round_dir(number)
    before = store.round_dir(number - 1) if number > 1 else None
    labels = read_labels((before / "labels.csv").read_text(encoding="utf-8")) if before else []
    inputs_hash = files.digest(
        [
            [dataclasses.asdict(part) for part in (cfg.seed, cfg.classifier, cfg.domains, cfg.prefixes, cfg.labels)],
            {**dataclasses.asdict(cfg.rounds), "max_rounds": 0, "stop_overlap": 0},
            [file.facts() for file in (*positive, *negative)],
            base_hash,
            store.stage(f"round-{number - 1:02d}")["inputs_hash"] if before else "",  # type: ignore[index]
            [(label.prefix, label.label) for label in labels],
        ]
    )
    if store.is_done(name, inputs_hash):
        logger.info("%s: done before, skipped", name)
        return should_stop(number, store.stage(name)["overlap_last"], cfg.rounds)  # type: ignore[index]
    one = _Round(session, store, cfg, number, here, before, labels)
    started, clock = files.now(), time.monotonic()
    logger.info("%s: started", name)
    one.prepare(inputs_hash)
    unique = pages()
    one.seed(unique, positive, negative)
    training = one.train()
    one.score(unique)
    share_before = one.collect(precision_labels)
    one.aggregate()
    stop = should_stop(number, share_before, cfg.rounds)
    one.label(hosts_file, labels_file, last=bool(stop))
    metrics = one.metrics(training, share_before)
    files.write_json(here / "metrics.json", metrics)
    facts = {key: metrics[key] for key in ("collected", "collected_tokens", "new_pages", "candidates", "prefixes_math")}
    seconds = time.monotonic() - clock
    store.finish(
        name, inputs_hash=inputs_hash, started=started, seconds=seconds, in_=metrics["pages"],
        kept=metrics["collected"], dropped={}, overlap_last=share_before, **facts,
    )  # fmt: skip
    logger.info(
        "%s: done in %.1f s: %s of %s pages collected, %s new, overlap with the last round %s, %d candidate hosts, "
        "%d math prefixes",
        name, seconds, f"{metrics['collected']:,}", f"{metrics['pages']:,}", f"{metrics['new_pages']:,}",
        "-" if share_before is None else f"{share_before:.1%}", metrics["candidates"], metrics["prefixes_math"],
    )  # fmt: skip
    return stop


class _Round:
    """The steps of one round; each does nothing where its table stands."""

    def __init__(
        self, session: SparkSession, store: Store, cfg: MineConfig, number: int, here: Path, before: Path | None,
        labels: list[Label],
    ) -> None:  # fmt: skip
        self.session, self.store, self.cfg, self.number = session, store, cfg, number
        self.here, self.before, self.labels = here, before, labels
        self.seconds: dict[str, float] = {}

    def prepare(self, inputs_hash: str) -> None:
        """An empty folder, or the one that a killed run of the same round left."""
        stamp = self.here / "inputs.json"
        if not stamp.exists() or json.loads(stamp.read_text()) != inputs_hash:
            files.remove(self.here)
            self.here.mkdir(parents=True)
            files.write_json(stamp, inputs_hash)

    def seed(self, pages: DataFrame, positive: Sequence[InputFile], negative: Sequence[InputFile]) -> None:
        table = self.here / "seed.parquet"
        if table.exists():
            return
        with self._timed("seed"):
            last = read_table(self.session, self.before / "scores", recall.SCORES) if self.before else None
            last_seed = self._table(self.before, "seed.parquet") if self.before else None
            rows = recall.training_set(
                pages,
                read_seed(self.session, [file.uri for file in positive]),
                read_seed(self.session, [file.uri for file in negative]) if negative else None,
                last_scores=last,
                collected_last=self._table(self.before, "collected").select("page_id") if self.before else None,
                last_positives=last_seed.where("source = 'prefix'").select("page_id") if last_seed else None,
                labels=self.labels,
                seed_cfg=self.cfg.seed,
                rounds_cfg=self.cfg.rounds,
                max_chars=self.cfg.classifier.max_chars,
            )
            write_table(rows, table)

    def train(self) -> dict[str, Any]:
        facts = self.here / "classifier.json"
        if not facts.exists():
            with self._timed("train"):
                result = train(
                    recall.read_lines(self.here / "seed.parquet"),
                    self.here / "classifier.bin",
                    cfg=self.cfg.classifier,
                    work_dir=self.here,
                )
            settings = {**dataclasses.asdict(self.cfg.classifier), **dataclasses.asdict(result)}
            files.write_json(
                facts, {**settings, "exact": self.cfg.classifier.threads == 1, "seconds": self.seconds["train"]}
            )

        return json.loads(facts.read_text(encoding="utf-8"))

    def score(self, pages: DataFrame) -> None:
        table = self.here / "scores"
        if table.exists():
            return
        with self._timed("score"):
            model = self.here / "classifier.bin"
            write_table(
                recall.score_pages(pages, model, version=files.file_digest(model), cfg=self.cfg.classifier), table
            )

    def collect(self, precision_labels: Path) -> float | None:
        """Write collected/ and return the share of it that the last round had."""
        table = self.here / "collected"
        scores = self.scores()
        if not table.exists():
            with self._timed("cut"):
                labelled = None
                if self.cfg.rounds.cut == "precision":
                    labelled = recall.read_page_labels(self.session, precision_labels)
                cut = recall.choose_cut(scores, self.cfg.rounds, labelled)
                files.write_json(self.here / "cut.json", [cut[0] if math.isfinite(cut[0]) else None, cut[1]])
                write_table(recall.above_cut(scores, cut).select("page_id", "score", "n_tokens"), table)
        if self.before is None:
            return None
        collected = self._table(self.here, "collected")
        both = collected.join(self._table(self.before, "collected"), "page_id", "left_semi").count()
        return overlap(collected.count(), both)

    def aggregate(self) -> None:
        with self._timed("aggregate"):
            domains, prefixes = self.here / "domains.parquet", self.here / "prefixes.parquet"
            collected = self._table(self.here, "collected").select("page_id")
            if not domains.exists():
                last = self._table(self.before, "domains.parquet") if self.before else None
                write_file(recall.domain_table(self.scores(), collected, last, self.cfg.domains), domains)
            if not prefixes.exists():
                table = self._table(self.here, "domains.parquet")
                write_file(recall.prefix_table(self.scores(), collected, table, self.cfg.prefixes), prefixes)

    def label(self, hosts_file: Path, labels_file: Path, *, last: bool) -> None:
        """Write labels.csv (all labels so far and this round's) and enter them in domains and prefixes.

        The last round asks nobody: its labels would have no round to serve.
        """
        proposals = pq.read_table(self.here / "prefixes.parquet")
        if self.cfg.labels.annotator == "file":
            given = _read_labels_file(labels_file)
            wanted = [p["prefix"] for p in proposals.to_pylist() if p["proposed"]]
            index = label_index(given)
            unlabelled = [prefix for prefix in wanted if label_for(f"http://{prefix}", index) is None]
            if unlabelled and not last and len(unlabelled) == len(wanted):
                raise NeedsLabels(
                    f"round {self.number}: {len(unlabelled)} URL prefixes wait for a label (first: {unlabelled[0]}).\n"
                    f"  see them:   motherlode prefixes {self.store.path}\n"
                    f"  label them: motherlode label {self.store.path} {unlabelled[0]} math\n"
                    f"              (or write rows prefix,label into {labels_file})\n"
                    "  then run the same command again"
                )
            labels = merge(self.labels, given)
        else:
            table = read_hosts_table(hosts_file) if self.cfg.labels.annotator == "hosts" else None
            domains = pq.read_table(self.here / "domains.parquet", columns=["host", "candidate"])
            hosts = sorted(row["host"] for row in domains.to_pylist() if row["candidate"])
            fresh = annotate(
                hosts,
                [_proposal(row) for row in proposals.to_pylist()],
                cfg=self.cfg.labels,
                table=table,
                labelled_at=files.now(),
            )
            labels = merge(self.labels, fresh)
        files.write_text(self.here / "labels.csv", write_labels(labels))
        self._enter(labels, proposals)

    def _enter(self, labels: list[Label], proposals: pa.Table) -> None:
        index = label_index(labels)
        found = [label_for(f"http://{prefix}", index) for prefix in proposals.column("prefix").to_pylist()]
        columns = {
            "label": [f.label if f else None for f in found],
            "annotator": [f.annotator if f else None for f in found],
        }
        _replace_columns(self.here / "prefixes.parquet", columns)
        hosts = pq.read_table(self.here / "domains.parquet", columns=["host"]).column("host").to_pylist()
        by_host: dict[str, set[str]] = {}
        for label in labels:
            by_host.setdefault(label.prefix.split("/")[0], set()).add(label.label)
        marks = [_host_mark(by_host.get(host)) for host in hosts]
        _replace_columns(self.here / "domains.parquet", {"label": marks})

    def metrics(self, training: dict[str, Any], share_before: float | None) -> dict[str, Any]:
        scores, collected = self.scores(), self._table(self.here, "collected")
        totals = collected.agg(F.count("*").alias("n"), F.sum("n_tokens").alias("t")).collect()[0]
        fresh = collected
        if self.before is not None:
            fresh = collected.join(self._table(self.before, "collected"), "page_id", "left_anti")
        seed = self._table(self.here, "seed.parquet").groupBy("label", "source").count().collect()
        by_source = {row["source"]: row["count"] for row in seed if row["label"] == "math"}
        domains = pq.read_table(self.here / "domains.parquet").to_pandas()
        prefixes = pq.read_table(self.here / "prefixes.parquet").to_pandas()
        held = domains[domains["collected"] > 0]

        cut = json.loads((self.here / "cut.json").read_text(encoding="utf-8"))
        rule = self.cfg.rounds
        value = {"token_budget": rule.token_budget, "threshold": rule.threshold, "precision": rule.target_precision}
        labels = read_labels((self.here / "labels.csv").read_text(encoding="utf-8"))
        return {
            "round": self.number,
            "pages": scores.count(),
            "positives": sum(by_source.values()),
            "negatives": sum(row["count"] for row in seed if row["label"] != "math"),
            "positives_by_source": by_source,
            "collected": totals["n"],
            "collected_tokens": int(totals["t"] or 0),
            "cut": {"rule": rule.cut, "threshold": cut[0], "value": value[rule.cut]},
            "new_pages": fresh.count(),
            "overlap_last": share_before,
            "domains": len(held),
            "new_domains": int((held["prev_collected"].fillna(0) == 0).sum()) if self.before else len(held),
            "candidates": int(domains["candidate"].sum()),
            "prefixes_proposed": int(prefixes["proposed"].sum()),
            "prefixes_math": sum(label.label == "math" for label in labels),
            "prefixes_not_math": sum(label.label == "not_math" for label in labels),
            "classifier": training,
            "seconds": {name: round(value, 2) for name, value in self.seconds.items()},
            "histogram": recall.histogram(scores, collected.select("page_id")),
        }

    def scores(self) -> DataFrame:
        return self._table(self.here, "scores", recall.SCORES)

    def _table(self, folder: Path | None, name: str, schema: str | None = None) -> DataFrame:
        assert folder is not None
        path = folder / name
        if path.exists():
            check_parquet(path)
        return read_table(self.session, path, schema)

    def _timed(self, step: str) -> "_Timer":
        return _Timer(self.seconds, step, f"round-{self.number:02d}")


class _Timer:
    """Adds the seconds of a step to a table and says that it goes on."""

    def __init__(self, table: dict[str, float], step: str, name: str) -> None:
        self._table, self._step, self._name = table, step, name

    def __enter__(self) -> None:
        self._clock = time.monotonic()

    def __exit__(self, *error: object) -> None:
        self._table[self._step] = time.monotonic() - self._clock
        if error[0] is None:
            logger.info("%s: %s took %.1f s", self._name, self._step, self._table[self._step])


def _host_mark(labels: set[str] | None) -> str | None:
    if not labels:
        return None
    return next(iter(labels)) if len(labels) == 1 else "mixed"


def _read_labels_file(path: Path) -> list[Label]:
    try:
        return read_labels(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _proposal(row: dict[str, Any]) -> PrefixProposal:
    return PrefixProposal(**{item.name: row[item.name] for item in dataclasses.fields(PrefixProposal)})


def _replace_columns(path: Path, columns: dict[str, list[Any]]) -> None:
    table = pq.read_table(path)
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values, pa.string()))
    partial = path.with_name(f"{path.name}.partial")
    pq.write_table(table, partial, compression="zstd")
    partial.replace(path)
