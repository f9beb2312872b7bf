"""Labels for proposed URL prefixes, from a file that people edit, from rules, or from a table of known hosts.

The paper's labelers decided by hand which URL paths of a math-related domain are mathematics (DeepSeekMath 2.1). What
a label does is the same whoever gave it: uncollected pages under a prefix labelled math become positives.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mining.errors import ConfigError
from mining.prefixes import Label, PrefixProposal
from mining.url import prefix_matches

MATH = "math"
NOT_MATH = "not_math"


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
class LabelsConfig:
    """Who labels the prefixes that a round proposes."""

    annotator: Literal["file", "rules", "hosts"] = "file"
    """file: people, through labels.csv; rules: unattended; hosts: a table of known hosts, rules for its mixed ones."""
    file: str = ""
    """labels.csv that people edit; empty: labels.csv in the run directory."""
    hosts_file: str = "web/hosts.tsv"
    """Tab-separated host, path_prefix, label (math, mixed, nonmath), under data_dir; only with annotator=hosts."""
    rules: RulesConfig = field(default_factory=RulesConfig)
    """Settings of the rules annotator."""


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


def merge(earlier: Sequence[Label], later: Sequence[Label]) -> list[Label]:
    """All labels, one a prefix: a person's is never overruled by an unattended annotator, else the later one wins."""
    merged = {label.prefix: label for label in earlier}
    for label in later:
        standing = merged.get(label.prefix)
        if standing is None or label.annotator not in ("rules", "hosts") or standing.annotator in ("rules", "hosts"):
            merged[label.prefix] = label
    return sorted(merged.values(), key=lambda label: label.prefix)
