"""`motherlode classifier`: train and test the page classifier from files alone, without a crawl.

What it measures is the model that round 1 starts from: the seed's documents, or anyone's two files, in the same lines
and with the same training as in pipelines/mine.py. Every figure stands twice: with whole hosts held out, which is what
a crawl asks for, and with single pages held out, which flatters.
"""

import argparse
import dataclasses
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mining.classifier import MATH, OTHER, Classifier, ClassifierConfig, Training, train
from mining.errors import ConfigError
from mining.inspect import console, formats, held_out
from mining.inspect.console import Column
from mining.inspect.documents import Document, TestSet, read_corpus, read_test_set, sha256_of
from mining.store import write_text

OPTIONS = {
    "dim": "size of the word vectors",
    "epoch": "passes over the documents",
    "lr": "learning rate at the first step",
    "word_ngrams": "longest word n-gram that has a vector",
    "min_count": "a word seen less often has no vector",
    "min_updates": "more passes for few documents, up to this many document updates; 0: never",
    "max_model_mb": "bound on the model in memory",
    "max_chars": "characters of a document that are read, from its start",
    "threads": "training threads; with more than one, two trainings differ in the last digits",
}
"""Settings of ClassifierConfig that the command takes, by the names they have under `classifier` in a mining config."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    seed_format = 'JSON lines of {"text", "url" and "language" where known}, .gz too'
    parser.add_argument("--positive", nargs="+", required=True, metavar="FILE", help=seed_format)
    parser.add_argument("--negative", nargs="+", required=True, metavar="FILE", help="the same, of what is not wanted")
    parser.add_argument(
        "--test", metavar="FILE", help='also judge on these: JSON lines of {"text", "label": "math" | "nonmath", "url"}'
    )
    parser.add_argument("--out", metavar="MODEL", help="train on everything, write the model and MODEL.json beside it")
    parser.add_argument("--folds", type=int, default=5, metavar="K", help="parts held out in turn (5); 0: no such test")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="shuffles of folds, order and start (5)")
    for item in dataclasses.fields(ClassifierConfig):
        if item.name in OPTIONS:
            kind = float if isinstance(item.default, float) else int
            parser.add_argument(
                f"--{item.name}",
                type=kind,
                default=item.default,
                metavar="N",
                help=f"{OPTIONS[item.name]} (%(default)s)",
            )


def command(options: argparse.Namespace) -> int:
    """Train, test, print and write; the exit code."""
    cfg = _settings(options)
    out = Path(options.out) if options.out else None
    if out and not out.parent.is_dir():
        raise ConfigError(f"--out {out}: no directory {out.parent}; make it first")
    corpus = read_corpus(options.positive, options.negative, max_chars=cfg.max_chars)
    test = read_test_set(options.test, corpus.documents, max_chars=cfg.max_chars) if options.test else None
    for note in corpus.notes():
        print(f"note: {note}", file=sys.stderr)
    trainings = 2 * options.folds * options.seeds + (options.seeds if test else bool(out))
    with tempfile.TemporaryDirectory(prefix="motherlode-") as scratch:
        bench = _Bench(cfg, Path(scratch), trainings)
        report: dict[str, Any] = {
            "settings": {**dataclasses.asdict(cfg), "folds": options.folds, "seeds": options.seeds},
            "documents": corpus.facts(),
            "held_out": _cross_validation(corpus.documents, options.folds, options.seeds, bench),
            "test": None,
            "model": None,
        }
        report["settings"].pop("seed")  # the number of the shuffle takes its place
        if test or out:
            scores = _final_scores(corpus.documents, test, options.seeds if test else 1, out, bench)
            report["test"] = _test_figures(test, corpus.documents, scores) if test else None
    if out:
        report["model"] = {"file": out.name, "sha256": sha256_of(out), **dataclasses.asdict(bench.written)}
        write_text(out.with_name(f"{out.name}.json"), json.dumps(report, indent=1) + "\n")
    if options.json:
        console.print_json(report)
    else:
        _print(report, out)
    return 0


def _settings(options: argparse.Namespace) -> ClassifierConfig:
    """ConfigError for numbers that no training can have, and where nothing is asked for."""
    least = {"dim": 1, "epoch": 1, "word_ngrams": 1, "min_count": 1, "max_model_mb": 1, "max_chars": 1, "threads": 1}
    for name, bound in (*least.items(), ("min_updates", 0), ("seeds", 1)):
        if getattr(options, name) < bound:
            raise ConfigError(f"--{name} {getattr(options, name)}: give {bound} or more")
    if not options.lr > 0:
        raise ConfigError(f"--lr {options.lr}: give a number above 0")
    if options.folds < 0 or options.folds == 1:
        raise ConfigError(f"--folds {options.folds}: give 2 or more, or 0 for no test on held-out parts")
    if not (options.folds or options.test or options.out):
        raise ConfigError("--folds 0 without --test and --out: nothing is left to do; give one of them")
    return ClassifierConfig(**{name: getattr(options, name) for name in OPTIONS})


class _Bench:
    """Trains model after model in a scratch folder and says on stderr how far it is."""

    written: Training
    """Of the model that went to --out."""

    def __init__(self, cfg: ClassifierConfig, scratch: Path, trainings: int) -> None:
        self._cfg, self._scratch, self._trainings = cfg, scratch, trainings
        self._done, self._start = 0, time.monotonic()

    def say(self, *what: str) -> None:
        """One line on stderr: the training that begins, and the time left by the mean of those before it."""
        passed = time.monotonic() - self._start
        left = formats.seconds(passed / self._done * (self._trainings - self._done)) if self._done else "not known yet"
        self._done += 1
        print(
            f"training {self._done} of {self._trainings}: {', '.join(what)}; left: {left}", file=sys.stderr, flush=True
        )

    def fit(self, documents: Sequence[Document], seed: int) -> Callable[[str], float]:
        """A model of documents in an order drawn by `seed`; what comes back gives a line's logit."""
        self._train(documents, seed, self._scratch / "model.bin")
        return Classifier(self._scratch / "model.bin").score

    def fit_all(self, documents: Sequence[Document], seed: int, out: Path | None) -> Callable[[str], float]:
        """The same of all documents; the first one's model is written to `out`."""
        self.say("all documents", f"seed {seed}")
        if out is None or seed:
            return self.fit(documents, seed)
        self.written = self._train(documents, seed, out)
        return Classifier(out).score

    def _train(self, documents: Sequence[Document], seed: int, path: Path) -> Training:
        order = list(range(len(documents)))
        random.Random(seed).shuffle(order)
        lines = ((MATH if documents[i].is_math else OTHER, documents[i].line) for i in order)
        try:
            return train(lines, path, cfg=dataclasses.replace(self._cfg, seed=seed), work_dir=self._scratch)
        except RuntimeError as error:
            raise ConfigError(f"fastText stopped ({error}) at --lr {self._cfg.lr}; give a lower one") from error


def _cross_validation(
    documents: Sequence[Document], num_folds: int, num_seeds: int, bench: _Bench
) -> dict[str, Any] | None:
    """`{"hosts": ..., "pages": ...}`, figures by language with hosts and with pages held out; None without folds."""
    if not num_folds:
        return None
    ways: dict[str, list[Any]] = {"hosts": [d.group for d in documents], "pages": [d.page for d in documents]}
    plans = {
        (way, seed): held_out.folds(documents, names, num_folds, seed=seed)
        for way, names in ways.items()
        for seed in range(num_seeds)
    }
    found = {}
    for way, names in ways.items():
        scores = [
            held_out.held_out_scores(
                documents, plans[way, seed], seed=seed, fit=bench.fit, say=partial(bench.say, f"{way}, seed {seed}")
            )
            for seed in range(num_seeds)
        ]
        found[way] = held_out.by_language(documents, np.array(scores), names)
    return found


def _final_scores(
    documents: Sequence[Document], test: TestSet | None, num_seeds: int, out: Path | None, bench: _Bench
) -> np.ndarray:
    """(S, N) logits of the test documents by models of all documents; the first of these is written to `out`."""
    rows = []
    for seed in range(num_seeds):
        score = bench.fit_all(documents, seed, out)
        rows.append([score(document.line) for document in test.documents] if test else [])
    return np.array(rows)


def _test_figures(test: TestSet, training: Sequence[Document], scores: np.ndarray) -> dict[str, Any]:
    """Figures by language of all test documents and, apart, of those whose host no training document has."""
    known = {document.group for document in training}
    unseen = np.array([document.group not in known for document in test.documents])

    def part(inside: np.ndarray) -> dict[str, Any]:
        documents = [document for document, one in zip(test.documents, inside, strict=True) if one]
        return held_out.by_language(documents, scores[:, inside], [document.group for document in documents])

    found = {
        "in_training": test.in_training,
        "n_unseen": int(unseen.sum()),
        "test": part(np.ones(len(unseen), dtype=bool)),
    }
    if unseen.any() and not unseen.all():
        found["unseen hosts"] = part(unseen)
    return found


def _figure(key: str) -> Callable[[Any], str]:
    def write(row: Any) -> str:
        value = row.get(key)
        if isinstance(value, dict):
            return formats.with_interval(value["mean"], value["interval"])
        return value or ""

    return write


_PART_COLUMNS = (
    Column("of", lambda row: row["part"], is_text=True),
    Column("held\nout", lambda row: row["way"], is_text=True),
    Column("n", lambda row: formats.count(row["n"]) if "n" in row else ""),
)
TABLES: dict[tuple[str, ...], tuple[Column, ...]] = {
    ("precision", "recall", "f1", "average_precision"): (
        *_PART_COLUMNS,
        Column("math", lambda row: formats.count(row["n_math"]) if "n" in row else ""),
        Column("precision", _figure("precision")),
        Column("recall", _figure("recall")),
        Column("F1", _figure("f1")),
        Column("average prec.", _figure("average_precision")),
    ),
    ("best_f1", "brier", "calibration_error"): (
        *_PART_COLUMNS,
        Column("best F1", _figure("best_f1")),
        Column("Brier", _figure("brier")),
        Column("ECE", _figure("calibration_error")),
    ),
}
"""Columns by the measures that they show: one table of both would be too wide for a terminal."""


def table_rows(found: dict[str, dict[str, Any]], measures: Sequence[str]) -> list[dict[str, Any]]:
    """Figures by way and language as rows: all documents first, then each language; under each its spread.

    With hosts and pages both held out, a row says by how much the pages flatter: pages less hosts.
    """
    rows = []
    for part in next(iter(found.values())):
        for way in found:
            if part not in found[way]:
                continue
            figures = found[way][part]
            rows.append({"part": part, "way": way, **figures})
            spreads = {name: figures[name]["spread"] for name in measures if figures[name]["spread"] is not None}
            if spreads:
                rows.append({"part": "", "way": "± seeds", **{name: f"±{s:.3f}" for name, s in spreads.items()}})
        if {"hosts", "pages"} <= set(found):
            gap = _gap(found["hosts"][part], found["pages"][part], measures)
            if gap:
                rows.append({"part": "", "way": "gap", **gap})
    return rows


def _gap(hosts: dict[str, Any], pages: dict[str, Any], measures: Sequence[str]) -> dict[str, str]:
    ends = {name: (hosts[name]["mean"], pages[name]["mean"]) for name in measures}
    return {name: f"{after - before:+.3f}" for name, (before, after) in ends.items() if None not in (before, after)}


def _print(report: dict[str, Any], out: Path | None) -> None:
    documents = report["documents"]
    groups = ", ".join(f"{kind} {n[MATH]} math and {n[OTHER]} other" for kind, n in documents["groups"].items())
    console.print_text(f"{documents['n']:,} documents, {documents['n_math']:,} math. Held out together, by {groups}.\n")
    tested = report["test"] or {}
    tests = {name: tested[name] for name in ("test", "unseen hosts") if name in tested}
    for title, found in (("Parts of the training files", report["held_out"] or {}), ("Test file", tests)):
        if found:
            for place, (measures, columns) in enumerate(TABLES.items()):
                console.print_table(table_rows(found, measures), columns, title="" if place else title)
            for part in _judged_parts(found):
                shown = _reliability_columns(list(found))
                console.print_table(_reliability_rows(found, part), shown, title=f"Reliability, {part}")
    if tested:
        known = tested["test"]["all"]["n"] - tested["n_unseen"]
        console.print_text(
            f"Test file: {known:,} documents are of hosts that are trained on; {tested['in_training']:,} whose very "
            "text is trained on were left out."
        )
    console.print_text(
        "Means over the seeds; in parentheses 95% intervals (bootstrap over hosts, or pages), for "
        f"{held_out.MIN_GROUPS} or more of each label. Precision, recall and F1: above even odds; best F1: over all "
        "cuts, chosen on these labels, an upper bound. ECE: expected calibration error, "
        f"{held_out.NUM_BINS} bins; n of a bin: documents a seed."
    )
    if out:
        print(f"{out}: trained on all documents ({out}.json: settings and figures)")


def _judged_parts(found: dict[str, dict[str, Any]]) -> list[str]:
    """The languages, and "all", that have documents of both labels each way."""
    first, *others = found.values()
    parts = [part for part in first if all(part in other for other in others)]
    return [part for part in parts if all(0 < one[part]["n_math"] < one[part]["n"] for one in found.values())]


def _reliability_rows(found: dict[str, dict[str, Any]], part: str) -> list[dict[str, Any]]:
    tables = {way: parts[part]["reliability"] for way, parts in found.items()}
    return [
        {"bin": f"{row[0]['low']:.1f}-{row[0]['high']:.1f}", **dict(zip(tables, row, strict=True))}
        for row in zip(*tables.values(), strict=True)
    ]


def _reliability_columns(ways: Sequence[str]) -> list[Column]:
    def cell(way: str, key: str, write: Callable[[Any], str]) -> Callable[[Any], str]:
        return lambda row: write(row[way][key])

    columns = [Column("P(math)", lambda row: row["bin"], is_text=True)]
    for way in ways:
        columns += [
            Column(f"{way}\nn", cell(way, "n", formats.count)),
            Column("mean P", cell(way, "mean_probability", formats.number)),
            Column("share math", cell(way, "math_share", formats.number)),
        ]
    return columns
