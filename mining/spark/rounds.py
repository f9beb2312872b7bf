"""A recall round as a resumable sequence of tables under rounds/NN."""

import dataclasses
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from mining import llm
from mining import store as files
from mining.annotate import annotate, merge, read_hosts_table, with_people
from mining.audits import Audit, calibrating, write_audits
from mining.calibration import MIN_OF_EACH, fit_words
from mining.classifier import train
from mining.config import MineConfig
from mining.errors import NeedsLabels, NeedsScores
from mining.inputs import InputFile
from mining.journal import Journal
from mining.lineage import LABELS_USED, Lineage, people_labels
from mining.prefixes import Label, PrefixProposal, label_for, label_index, read_labels, write_labels
from mining.rounds import AuditedPage, audit_figures, drifted, overlap, should_stop
from mining.spark import recall
from mining.spark.calibrate import audited_lines, calibrated_scores, logits_and_shapes
from mining.spark.excerpts import page_excerpts
from mining.spark.tables import check_parquet, read_arrow, read_seed, read_table, write_file, write_table
from mining.store import Store

logger = logging.getLogger("mine")

_NUM_NAMED = 10

# What each step leaves, in the order of the steps (mining.lineage.STEPS); the last file of a step is written last.
_OUTPUTS = {
    "seed": ("seed.parquet",),
    "train": ("classifier.bin", "classifier.json"),
    "score": ("calibration.json", "scores"),
    "collect": ("cut.json", "collected"),
    "domains": ("domains.parquet",),
    "prefixes": ("prefixes.parquet",),
    "label": ("labels.csv", "metrics.json"),
}
_ALL_OUTPUTS = [output for outputs in _OUTPUTS.values() for output in outputs]


def run_round(
    session: SparkSession,
    store: Store,
    cfg: MineConfig,
    number: int,
    *,
    pages: Callable[[], DataFrame],
    lineage: Lineage,
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
    labels, audits = lineage.labels(number), lineage.audits(number)
    steps = lineage.round_steps(number, (labels, audits))
    inputs_hash = files.digest(steps)
    if lineage.is_done(name, inputs_hash) and all((here / output).exists() for output in _ALL_OUTPUTS):
        logger.info("%s: done before, skipped", name)
        done = store.stage(name) or {}
        if not done.get("landed", True):
            return f"round {number} did not land"
        return should_stop(number, done["overlap_last"], cfg.rounds)
    store.forget([name])
    one = _Round(session, store, cfg, number, here, before, labels, audits)
    started, clock = files.now(), time.monotonic()
    logger.info("%s: started", name)
    one.prepare(steps)
    unique = pages()
    one.seed(unique, lineage.inputs.positive, lineage.inputs.negative)
    training = one.train()
    one.score(unique, calibrating(audits))
    share_before = one.collect(precision_labels)
    one.aggregate()
    stop = should_stop(number, share_before, cfg.rounds)
    one.label(unique, hosts_file, labels_file, last=bool(stop))
    metrics = one.metrics(training, share_before)
    metrics["audit"], landed = one.audit()
    files.write_json(here / "metrics.json", metrics)
    if not landed:
        stop = f"round {number} did not land: its precision on the audited pages fell"
    facts = {key: metrics[key] for key in ("collected", "collected_tokens", "new_pages", "candidates", "prefixes_math")}
    seconds = time.monotonic() - clock
    store.finish(
        name, inputs_hash=inputs_hash, started=started, seconds=seconds, in_=metrics["pages"],
        kept=metrics["collected"], dropped={}, overlap_last=share_before, **facts, steps=steps,
        landed=landed, training={key: training[key] for key in ("seed", "threads", "exact")}, **lineage.facts(name),
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
        labels: list[Label], audits: list[Audit],
    ) -> None:  # fmt: skip
        self.session, self.store, self.cfg, self.number = session, store, cfg, number
        self.here, self.before, self.labels, self.audits = here, before, labels, audits
        self.seconds: dict[str, float] = {}
        self.annotator_facts: dict[str, Any] = {}

    def prepare(self, steps: dict[str, str]) -> None:
        """Keep the tables of the steps that would come out the same, from the first changed or missing one none.

        Tables go before the stamp is written: a run killed in between finds the old stamp and no table.
        """
        stamp = self.here / "inputs.json"
        made = files.read_json(stamp) if stamp.exists() else {}
        keeping = True
        for step, outputs in _OUTPUTS.items():
            same = isinstance(made, dict) and made.get(step) == steps[step]
            keeping = keeping and same and (step == "label" or all((self.here / one).exists() for one in outputs))
            if not keeping:
                for output in outputs:
                    files.discard(self.here / output)
        self.here.mkdir(parents=True, exist_ok=True)
        files.discard(self.here / "audits.csv")
        if self.audits:
            write_audits(self.here / "audits.csv", self.audits)
        files.write_text(self.here / LABELS_USED, write_labels(self.labels))
        files.write_json(stamp, steps)

    def seed(self, pages: DataFrame, positive: Sequence[InputFile], negative: Sequence[InputFile]) -> None:
        table = self.here / "seed.parquet"
        if table.exists():
            return
        with self._timed("seed"):
            if self.audits:  # they judge the rounds, so no round learns its words from them
                pages = recall.without_urls(pages, [audit.url for audit in self.audits])
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

        return files.read_json(facts)

    def score(self, pages: DataFrame, audited: Mapping[str, bool]) -> None:
        """Write scores/: the classifier's logits, weighed with the pages' shape where audited pages say how."""
        table, facts = self.here / "scores", self.here / "calibration.json"
        if table.exists():
            return
        math_audits = sum(audited.values())
        if self.cfg.rounds.scorer == "datatrove" and min(math_audits, len(audited) - math_audits) < MIN_OF_EACH:
            raise NeedsScores(
                f"round {self.number} is trained; its pages are to be scored on datatrove (rounds.scorer):\n"
                f"  python pipelines/score_datatrove.py --run_dir {self.store.path} --round {self.number}\n"
                "  (on a cluster with --executor slurm --slurm.partition P), then run the same command again"
            )
        model, cfg = self.here / "classifier.bin", self.cfg.classifier
        version = files.file_digest(model)
        with self._timed("score"):
            lines = audited_lines(pages, audited, cfg=cfg) if audited else []
            positives = sum(one.is_positive for one in lines)
            is_calibrated = min(positives, len(lines) - positives) >= MIN_OF_EACH
            if audited and not is_calibrated:
                logger.warning(
                    "round-%02d: %d of %d audited pages are in the crawl, %d of them math: too few to calibrate the "
                    "scores, %d of each label are needed",
                    self.number, len(lines), len(audited), positives, MIN_OF_EACH,
                )  # fmt: skip
            if not is_calibrated:
                files.write_json(facts, {})
                write_table(recall.score_pages(pages, model, version=version, cfg=cfg), table)
                return
            work_dir = self.here / "calibrating"
            words, unseen = fit_words(
                [one.line for one in lines], [one.is_positive for one in lines], [one.host for one in lines]
            )
            rows = logits_and_shapes(pages, model, words, version=version, cfg=cfg)
            write_table(rows, work_dir / "logits")
            logits = read_table(self.session, work_dir / "logits")
            scores, calibration = calibrated_scores(self.session, logits, lines, unseen, work_dir=work_dir)
            files.write_json(facts, {**calibration.to_json(), "words": words.extremes()})
            write_table(scores, table)
            files.discard(work_dir)

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

    def label(self, pages: DataFrame, hosts_file: Path, labels_file: Path, *, last: bool) -> None:
        """Write labels.csv (all labels so far and this round's) and enter them in domains and prefixes.

        The last round asks nobody: its labels would have no round to serve.
        """
        proposals = read_arrow(self.here / "prefixes.parquet")
        if self.cfg.labels.annotator == "file":
            given = people_labels(labels_file)
            wanted = [p["prefix"] for p in proposals.to_pylist() if p["proposed"]]
            index = label_index(given)
            unlabelled = [prefix for prefix in wanted if label_for(f"http://{prefix}", index) is None]
            if unlabelled and not last and len(unlabelled) == len(wanted):
                raise NeedsLabels(
                    f"round {self.number}: {len(unlabelled)} URL prefixes wait for a label (first: {unlabelled[0]}).\n"
                    f"  in a browser:  motherlode annotate {self.store.path}\n"
                    f"  see them:   motherlode prefixes {self.store.path}\n"
                    f"  label them: motherlode label {self.store.path} {unlabelled[0]} math\n"
                    f"              (or write rows prefix,label into {labels_file})\n"
                    "  then run the same command again"
                )
            labels = with_people(self.labels, given)
        elif self.cfg.labels.annotator == "llm":
            labels = self.labels if last else merge(self.labels, self._ask_model(pages, proposals))
        else:
            table = read_hosts_table(hosts_file) if self.cfg.labels.annotator == "hosts" else None
            domains = read_arrow(self.here / "domains.parquet", columns=["host", "candidate"])
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

    def _ask_model(self, pages: DataFrame, proposals: pa.Table) -> list[Label]:
        """A language model's labels of this round's prefixes, each shown with a few of its pages."""
        cfg = self.cfg.labels.llm
        rows = [_proposal(row) for row in proposals.to_pylist()]
        host_of = dict(zip(proposals.column("prefix").to_pylist(), proposals.column("host").to_pylist(), strict=True))
        wanted = llm.prefixes_to_ask(rows, self.labels, cfg)
        with self._timed("annotate"):
            excerpts = page_excerpts(
                pages,
                self.scores(),
                self._table(self.here, "collected"),
                hosts=[host_of[row.prefix] for row in wanted],
                rows=[row.prefix for row in rows],
                wanted=[row.prefix for row in wanted],
                per_prefix=cfg.pages_per_prefix,
                max_chars=2 * cfg.excerpt_chars,  # white space is joined before the text is cut
            )
            questions = {row.prefix: llm.messages(row, excerpts.get(row.prefix, []), cfg) for row in wanted}
            journal = Journal(self.store.path / "llm_answers.jsonl")
            verdicts = llm.ask(questions, cfg, journal=journal, name=f"round-{self.number:02d}")
        self.annotator_facts = verdicts.facts(cfg)
        model, when = cfg.endpoint.model, files.now()
        return llm.labels_from(verdicts, rows, self.labels, model=model, labelled_at=when)

    def _enter(self, labels: list[Label], proposals: pa.Table) -> None:
        index = label_index(labels)
        found = [label_for(f"http://{prefix}", index) for prefix in proposals.column("prefix").to_pylist()]
        columns = {
            "label": [f.label if f else None for f in found],
            "annotator": [f.annotator if f else None for f in found],
        }
        _replace_columns(self.here / "prefixes.parquet", columns)
        hosts = read_arrow(self.here / "domains.parquet", columns=["host"]).column("host").to_pylist()
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
        domains = read_arrow(self.here / "domains.parquet").to_pandas()
        prefixes = read_arrow(self.here / "prefixes.parquet").to_pandas()
        held = domains[domains["collected"] > 0]

        cut = files.read_json(self.here / "cut.json")
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
            "annotator": self.annotator_facts,
            "classifier": training,
            "seconds": {name: round(value, 2) for name, value in self.seconds.items()},
            "histogram": recall.histogram(scores, collected.select("page_id")),
        }

    def audit(self) -> tuple[dict[str, Any], bool]:
        """The round's figures on the held-out audited pages, by language too, and whether the round lands."""
        held_out = {audit.url: audit.label == "math" for audit in self.audits if audit.held_out}
        if not held_out:
            return {}, True
        rows = recall.audited_pages(self.session, self.scores(), self._table(self.here, "collected"), held_out)
        pages = [AuditedPage(*row) for row in rows]
        figures = audit_figures(pages)
        languages = sorted({page.language for page in pages})
        figures["by_language"] = {
            name: audit_figures([page for page in pages if page.language == name]) for name in languages
        }
        last = files.read_json(self.before / "metrics.json").get("audit") if self.before else None
        if not last or not drifted(figures, last, self.cfg.rounds):
            return figures, True
        wrong = Counter(page.domain for page in pages if page.collected and not page.is_math)
        domains = read_arrow(self.here / "domains.parquet").to_pandas()
        gained = (domains["collected"] - domains["prev_collected"].fillna(0)).groupby(domains["domain"]).sum()
        newest = gained[gained > 0].sort_values(ascending=False).head(_NUM_NAMED)
        logger.warning(
            "round-%02d: precision on the held-out audited pages fell from %.3f to %.3f, more than "
            "rounds.max_precision_drop=%s: the round does not land; collected and not math: %s; "
            "domains that gained most: %s",
            self.number, last["precision"], figures["precision"], self.cfg.rounds.max_precision_drop,
            ", ".join(f"{name} ({n})" for name, n in wrong.most_common(_NUM_NAMED)) or "-",
            ", ".join(f"{name} (+{int(n)})" for name, n in newest.items()) or "-",
        )  # fmt: skip
        return figures, False

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


def _proposal(row: dict[str, Any]) -> PrefixProposal:
    return PrefixProposal(**{item.name: row[item.name] for item in dataclasses.fields(PrefixProposal)})


def _replace_columns(path: Path, columns: dict[str, list[Any]]) -> None:
    table = read_arrow(path)
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values, pa.string()))
    partial = files.fresh_partial(path)
    pq.write_table(table, partial, compression="zstd", write_page_checksum=True)
    partial.replace(path)
