"""Labels for proposed URL prefixes, from a file that people edit, from rules, or from a table of known hosts.

The paper's labelers decided by hand which URL paths of a math-related domain are mathematics (DeepSeekMath 2.1). What
a label does is the same whoever gave it: uncollected pages under a prefix labelled math become positives. A language
model's labels are asked for in mining/llm.py; its settings are here.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mining.chat import EndpointConfig
from mining.errors import ConfigError
from mining.prefixes import Label, PrefixProposal
from mining.url import prefix_matches

MATH = "math"
NOT_MATH = "not_math"
UNATTENDED = ("rules", "hosts", "llm")
"""Annotators that are no people; what a language model says is signed `llm:` and the model's name."""


@dataclass(frozen=True)
class RulesConfig:
    """The unattended annotator: patterns first, then how much of the prefix was collected."""

    min_bound: float = 0.25
    """Lower Wilson bound of the collected share from which a proposed prefix is labelled math."""
    min_pages: int = 8
    """Prefixes with fewer pages stay unlabelled."""
    deny: list[str] = field(
        default_factory=lambda: [r"/(tags|category|categories|archives?|authors?|search|login|users?|page)/?$"]
    )
    """Regular expressions over the prefix; a match is labelled not_math. (`/tag/` is not among them: the Stacks
    project keeps its mathematics there.)"""


@dataclass(frozen=True)
class LlmConfig:
    """The annotator that shows a language model each prefix with some of its pages (mining/llm.py)."""

    subject: str = ""
    """What is mined, as one would name it to a stranger: mathematics, Chinese cooking."""
    description: str = ""
    """What belongs to the subject and what does not, in a few sentences."""
    pages_per_prefix: int = 6
    """Pages shown of a prefix: half of them collected ones, half others, as far as there are any."""
    excerpt_chars: int = 500
    """Characters shown of a page's text, from its beginning."""
    max_prefixes: int = 1000
    """Prefixes asked about in a round at most, those with most uncollected tokens first."""
    price_in: float = 0.0
    """Price of a million tokens of questions, in any currency; 0 where it does not matter."""
    price_out: float = 0.0
    """Price of a million tokens of answers."""
    max_price: float = 0.0
    """Stop before a round's first question where its answers could cost more than this; 0: no limit."""
    endpoint: EndpointConfig = field(default_factory=EndpointConfig)
    """Where the model is served."""

    def __post_init__(self) -> None:
        if min(self.pages_per_prefix, self.excerpt_chars, self.max_prefixes) < 1:
            raise ConfigError(
                f"labels.llm: pages_per_prefix={self.pages_per_prefix}, excerpt_chars={self.excerpt_chars}, "
                f"max_prefixes={self.max_prefixes}: each must be at least 1"
            )
        if min(self.price_in, self.price_out, self.max_price) < 0:
            raise ConfigError("labels.llm: price_in, price_out and max_price cannot be below 0")
        if self.max_price and not (self.price_in or self.price_out):
            raise ConfigError(f"labels.llm.max_price={self.max_price}: give price_in and price_out to compare it with")


@dataclass(frozen=True)
class LabelsConfig:
    """Who labels the prefixes that a round proposes."""

    annotator: Literal["file", "rules", "hosts", "llm"] = "file"
    """file: people, through labels.csv; rules: unattended; hosts: a table of known hosts, rules for its mixed ones;
    llm: a language model behind an OpenAI-compatible endpoint."""
    file: str = ""
    """labels.csv that people edit; empty: labels.csv in the run directory."""
    hosts_file: str = "web/hosts.tsv"
    """Tab-separated host, path_prefix, label (math, mixed, nonmath), under data_dir; only with annotator=hosts."""
    pages: str = ""
    """Audited pages (url, label, held_out), under data_dir; empty: audits.csv in the run directory, where there is one.
    Those that are not held out calibrate the scores; the held-out ones measure every round."""
    rules: RulesConfig = field(default_factory=RulesConfig)
    """Settings of the rules annotator."""
    llm: LlmConfig = field(default_factory=LlmConfig)
    """Settings of the llm annotator."""

    def __post_init__(self) -> None:
        wanted = {"subject": self.llm.subject, "endpoint.model": self.llm.endpoint.model}
        missing = [name for name, value in wanted.items() if not value.strip()]
        if self.annotator == "llm" and missing:
            raise ConfigError(f"labels.llm.{missing[0]} is empty: annotator=llm needs it")


def by_rules(proposal: PrefixProposal, cfg: RulesConfig) -> tuple[str, str] | None:
    """(label, reason) of one prefix, None where the rules cannot tell.

    A prefix of which nothing was collected says nothing: it may hold the kinds of mathematics that the classifier
    does not know yet.
    """
    for pattern in cfg.deny:
        if re.search(pattern, proposal.prefix):
            return NOT_MATH, f"pattern {pattern}"
    if proposal.proposed and proposal.pages >= cfg.min_pages and proposal.bound >= cfg.min_bound:
        return MATH, f"{proposal.collected} of {proposal.pages} pages collected"
    return None


def by_hosts(hosts: Sequence[str], table: Mapping[str, list[tuple[str, str]]]) -> list[tuple[str, str, str]]:
    """(prefix, label, reason) of the candidate hosts that the table knows as math or nonmath throughout a path.

    Mixed rows say nothing here: on those hosts, as on unknown ones, the rules speak.
    """
    verdicts = []
    for host in hosts:
        for path, label in table.get(host, []):
            if label in (MATH, "nonmath"):
                verdicts.append((host + path, MATH if label == MATH else NOT_MATH, "listed host"))
    return verdicts


def annotate(
    hosts: Sequence[str],
    proposals: Sequence[PrefixProposal],
    *,
    cfg: LabelsConfig,
    table: Mapping[str, list[tuple[str, str]]] | None,
    labelled_at: str,
) -> list[Label]:
    """Labels of this round's candidate hosts and their prefixes, for the unattended annotators."""
    labels = [
        Label(prefix=prefix, label=label, annotator="hosts", labelled_at=labelled_at, note=note)
        for prefix, label, note in (by_hosts(hosts, table) if table else [])
    ]
    listed = [label.prefix for label in labels]
    open_rows = [row for row in proposals if not _covered(row.prefix, listed)]
    verdicts = {row.prefix: by_rules(row, cfg.rules) for row in open_rows}
    accepted = [prefix for prefix, verdict in verdicts.items() if verdict and verdict[0] == MATH]
    for row in open_rows:
        verdict = verdicts[row.prefix]
        if verdict is None and not row.proposed and _covered(row.prefix, accepted):
            # Without a label of its own a poor section would be taken along with the good prefix around it.
            verdict = NOT_MATH, f"{row.collected} of {row.pages} pages collected, inside a math prefix"
        if verdict:
            labels.append(
                Label(prefix=row.prefix, label=verdict[0], annotator="rules", labelled_at=labelled_at, note=verdict[1])
            )
    return labels


def _covered(prefix: str, prefixes: Sequence[str]) -> bool:
    return any(prefix_matches(other, f"http://{prefix}") for other in prefixes)


def read_hosts_table(path: Path) -> dict[str, list[tuple[str, str]]]:
    """host -> [(path prefix, label)] of a hosts.tsv; ConfigError where a column is missing."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except FileNotFoundError:
        raise ConfigError(f"labels.hosts_file={path}: no such file; give one, or set labels.annotator") from None
    table: dict[str, list[tuple[str, str]]] = {}
    for number, row in enumerate(rows, 2):
        if not all(row.get(name) for name in ("host", "path_prefix", "label")):
            raise ConfigError(f"{path}, line {number}: host, path_prefix and label are needed")
        table.setdefault(row["host"], []).append((row["path_prefix"], row["label"]))
    return table


def is_unattended(label: Label) -> bool:
    """Whether no person gave this label."""
    return label.annotator.partition(":")[0] in UNATTENDED


def merge(earlier: Sequence[Label], later: Sequence[Label]) -> list[Label]:
    """All labels, one a prefix: a person's is never overruled by an unattended annotator, else the later one wins."""
    merged = {label.prefix: label for label in earlier}
    for label in later:
        standing = merged.get(label.prefix)
        if standing is None or not is_unattended(label) or is_unattended(standing):
            merged[label.prefix] = label
    return sorted(merged.values(), key=lambda label: label.prefix)


def with_people(earlier: Sequence[Label], people: Sequence[Label]) -> list[Label]:
    """The labels of unattended annotators among the earlier ones, and what people say now: nothing else stands."""
    return merge([label for label in earlier if is_unattended(label)], people)
