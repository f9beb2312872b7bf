"""What each stage was made from: the hashes that say when it must be made again, and the config that made it.

A stage's hash covers its own settings, its input files and the hashes of what it reads. A round has one hash a step,
so that another way to label costs no training, and a round whose labels come out the same costs nothing at all.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mining.annotate import with_people
from mining.audits import Audit, calibrating, read_audits
from mining.band_index import BandIndex
from mining.config import STAGES, MineConfig, stage_names
from mining.errors import ConfigError
from mining.inputs import InputFile
from mining.prefixes import Label, read_labels
from mining.shards import ingest_hash
from mining.store import Addition, Store, digest, read_manifest

SECTIONS = {
    "ingest": ("ingest",),
    "dedup": ("dedup",),
    "rounds": ("seed", "classifier", "rounds", "domains", "prefixes", "labels"),
    "decontaminate": ("decontaminate",),
    "export": ("export",),
}
STEPS = ("seed", "train", "score", "collect", "domains", "prefixes", "label")
# How far to go and on what, not how: a longer run keeps its rounds.
_FREE = ("rounds.max_rounds", "rounds.stop_overlap", "rounds.scorer")
# Patterns: what counts is the files that they find.
_PATTERNS = ("ingest.warcs", "seed.positive", "seed.negative", "decontaminate.benchmarks", "dedup.against")
_MOST_INPUTS_NAMED = 1000
LABELS_USED = "labels_used.csv"
"""In a round's folder: the labels that its training set follows."""


@dataclass(frozen=True)
class Inputs:
    """The input files of the wanted stages, looked up before any work starts."""

    warcs: list[InputFile]
    positive: list[InputFile]
    negative: list[InputFile]
    benchmarks: list[InputFile]
    annotations: list[InputFile]
    """The hosts table and the labels that the cut reads, where the config names them."""
    earlier: list[BandIndex]
    """The indexes of the runs that `dedup.against` names."""

    def of(self, stage: str) -> list[InputFile]:
        """The files that a stage reads."""
        if stage.startswith("round"):
            return [*self.positive, *self.negative, *self.annotations]
        return {"ingest": self.warcs, "decontaminate": self.benchmarks}.get(stage, [])


@dataclass(frozen=True)
class Lineage:
    """The hashes that the stages of a run directory have under a config and its inputs."""

    store: Store
    cfg: MineConfig
    inputs: Inputs

    def ingest(self) -> str:
        return ingest_hash(self.inputs.warcs, self.cfg.ingest)

    def dedup(self) -> str:
        earlier = [index.inputs_hash for index in self.inputs.earlier]
        return digest([self.sections("dedup"), earlier, self.done("ingest")])

    def round_steps(self, number: int, known: tuple[list[Label], list[Audit]] | None = None) -> dict[str, str]:
        """The hash of each step of a round; the round before must be done.

        known: its labels and audits, where they are read already: people may change the files at any time.
        """
        cfg = self.cfg
        base = self.pages(number)
        last = self.store.stage(f"round-{number - 1:02d}") or {}
        before: dict[str, str] = last.get("steps", {}) if number > 1 else {}
        known_labels, audits = known or (self.labels(number), self.audits(number))
        labels = [(label.prefix, label.label) for label in known_labels]
        rule = cfg.rounds
        positives = [rule.max_positives_per_host, rule.min_positive_chars, rule.positive_quantile]
        cut = {"token_budget": rule.token_budget, "threshold": rule.threshold, "precision": rule.target_precision}
        seed = digest([
            {**dataclasses.asdict(cfg.seed), "positive": [], "negative": []},
            [facts(self.inputs.positive), facts(self.inputs.negative)],
            [cfg.classifier.max_chars, base],
            *([sorted(audit.url for audit in audits)] if audits else []),
            [positives, [before.get(step) for step in ("seed", "score", "collect")], labels] if number > 1 else [],
        ])  # fmt: skip
        train = digest([seed, cfg.classifier])
        score = digest([train, base, *([sorted(calibrating(audits).items())] if audits else [])])
        wanted = facts(self.inputs.annotations)
        collect = digest([score, rule.cut, cut[rule.cut], wanted if rule.cut == "precision" else []])
        domains = digest([collect, cfg.domains, before.get("collect")])
        prefixes = digest([domains, cfg.prefixes])
        label = digest([prefixes, cfg.labels, wanted if cfg.labels.annotator == "hosts" else [], labels])
        return dict(zip(STEPS, (seed, train, score, collect, domains, prefixes, label), strict=True))

    def pages(self, number: int) -> str:
        """The hash of the pages that a round sees: the run's, and those added before the round."""
        added = [read_manifest(one.path)["stages"]["dedup"]["inputs_hash"] for one in self.additions(number)]
        return digest([self.done("dedup"), added]) if added else self.done("dedup")

    def additions(self, number: int) -> list[Addition]:
        """What was added to the run before a round."""
        return [one for one in self.store.additions() if one.after_round < number]

    def labels(self, number: int) -> list[Label]:
        """The labels that a round learns from: those known when it began, for one that is not done those known now.

        None for round 1, which has the seed alone. People's labels are those of their file, so that one which they
        took back since the round before counts no longer; what unattended annotators said stays.
        """
        if number == 1:
            return []
        before = _labels_in(self.store.round_dir(number - 1) / "labels.csv")
        if self.cfg.labels.annotator != "file":
            return before
        if self._is_round_done(number):
            kept = self.store.round_dir(number) / LABELS_USED
            return _labels_in(kept) if kept.exists() else before  # a run of an earlier version kept none
        return with_people(before, people_labels(labels_file(self.cfg, self.store)))

    def _is_round_done(self, number: int) -> bool:
        return (self.store.stage(f"round-{number:02d}") or {}).get("state") == "done"

    def audits(self, number: int) -> list[Audit]:
        """The audited pages of a round: those known when it began, for one that is not done those known now."""
        kept = self.store.round_dir(number) / "audits.csv"
        if self._is_round_done(number):
            return read_audits(kept)
        pages = self.cfg.labels.pages
        return read_audits(under(self.cfg, pages) if pages else self.store.path / "audits.csv")

    def decontaminate(self) -> str:
        return digest([self.sections("decontaminate"), facts(self.inputs.benchmarks), self.collected()])

    def export(self) -> str:
        return digest([self.sections("export"), self.done("decontaminate"), self.collected()])

    def collected(self) -> str:
        """The hash of the last round's collected pages, and with them of everything that led to them."""
        name = f"round-{self.last_round():02d}"
        self.done(name)
        return digest([name, (self.store.stage(name) or {}).get("steps", {}).get("collect")])

    def last_round(self) -> int:
        """The number of the last finished round that landed."""
        stages = self.store.manifest["stages"]
        done = [
            int(name[6:])
            for name, one in stages.items()
            if name.startswith("round-") and one["state"] == "done" and one.get("landed", True)
        ]
        if not done:
            raise ConfigError(f"no round has run in {self.store.path}; add rounds to --stages")
        return max(done)

    def done(self, name: str) -> str:
        """The hash that a finished stage was made with."""
        entry = self.store.stage(name)
        if entry is None or entry["state"] != "done":
            why = "was made by another config" if entry else "has not run"
            stage = "rounds" if name.startswith("round-") else name
            raise ConfigError(f"stage {name} {why} in {self.store.path}; add {stage} to --stages")
        return str(entry["inputs_hash"])

    def sections(self, stage: str) -> dict[str, Any]:
        """The settings that a stage depends on, patterns of input files left out."""
        return {name: _without_patterns(name, getattr(self.cfg, name)) for name in SECTIONS[stage]}

    def facts(self, stage: str) -> dict[str, Any]:
        """What the manifest keeps of a stage's making: its config and, unless they are very many, its input files."""
        files = facts(self.inputs.of(stage))
        named = {"inputs": files} if 0 < len(files) <= _MOST_INPUTS_NAMED else {}
        return {"config": self.config_of(stage), **named}

    def config_of(self, stage: str) -> dict[str, Any]:
        """All settings of a stage, as the manifest has them."""
        return {name: _plain(getattr(self.cfg, name)) for name in SECTIONS[_section_key(stage)]}

    def is_done(self, name: str, inputs_hash: str) -> bool:
        """Whether a stage finished on these inputs; where another config made the same of them, that is noted."""
        if not self.store.is_done(name, inputs_hash):
            return False
        self.store.note(name, self.config_of(name))
        return True

    def expected(self, name: str) -> str | None:
        """The hash that a stage would have now; None where that is not known, because what it reads is not done."""
        try:
            if name.startswith("round-"):
                return digest(self.round_steps(int(name[6:])))
            hash_of: dict[str, Callable[[], str]] = {
                "ingest": self.ingest, "dedup": self.dedup, "decontaminate": self.decontaminate, "export": self.export,
            }  # fmt: skip
            return hash_of[name]()
        except ConfigError:
            return None


def facts(files: Sequence[InputFile]) -> list[list[Any]]:
    """Name, size and version of each file, in an order that does not depend on the folder they lie in."""
    return sorted(list(file.facts()) for file in files)


def labels_file(cfg: MineConfig, store: Store) -> Path:
    """The labels.csv that people edit."""
    return under(cfg, cfg.labels.file) if cfg.labels.file else store.path / "labels.csv"


def people_labels(path: Path) -> list[Label]:
    """The labels that stand in the file that people edit, none where it is not there yet."""
    try:
        return read_labels(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise ConfigError(f"{path}: {error}") from None


def _labels_in(path: Path) -> list[Label]:
    """The labels that a round left in its folder."""
    try:
        return read_labels(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise ConfigError(
            f"{path}: cannot be read ({error}); mend that line, or delete the file and run the same line again"
        ) from None


def check_changes(lineage: Lineage) -> list[str]:
    """The finished stages that another config or other inputs made; ConfigError without cfg.rerun where there are any.

    With cfg.rerun they are marked stale, so that what depends on the change is made again and nothing else.
    """
    store, cfg = lineage.store, lineage.cfg
    changes: list[str] = []
    stale: list[str] = []
    for name in _in_order(store.manifest["stages"]):
        follows = bool(stale) and _section_key(name) == _section_key(stale[-1])  # a later round than the changed one
        found = [] if follows else _change(lineage, name)
        changes += [line for line in found if line not in changes]
        if found or stale:
            stale.append(name)
    if not changes:
        return []
    if not cfg.rerun:
        raise ConfigError(
            f"{store.path} was made with another config or other inputs:\n  "
            + "\n  ".join(changes)
            + "\ngive another --run_dir, or --rerun true to make again what depends on it in these stages: "
            + ", ".join(stale)
        )
    store.mark_stale(stale)
    return stale


def differences(before: Any, after: Any, path: str = "") -> list[str]:
    """`a.b: old -> new` for every setting that differs and makes a difference."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        keys = sorted(set(before) | set(after))
        parts = [(key, f"{path}.{key}" if path else key) for key in keys]
        return [line for key, name in parts for line in differences(before.get(key), after.get(key), name)]
    return [] if before == after or path in (*_FREE, *_PATTERNS) else [f"{path}: {before} -> {after}"]


def _change(lineage: Lineage, name: str) -> list[str]:
    """What differs between a finished stage's making and the present config and inputs; empty where nothing does."""
    entry = lineage.store.stage(name) or {}
    stage = _section_key(name)
    wanted = stage in stage_names(lineage.cfg)
    if wanted and entry["inputs_hash"] == lineage.expected(name):
        return []
    config = lineage.config_of(name)
    before = entry.get("config", config)
    if config == entry.get("also_config"):
        before = config
    found = differences(before, config)
    if found or not wanted:
        return found
    old = {tuple(one) for one in entry.get("inputs", [])}
    new = {tuple(one) for one in facts(lineage.inputs.of(name))}
    if old and old != new:
        return _file_changes(stage, old, new)
    return [] if lineage.expected(name) is None else [f"{name}: its inputs, or the code that made it, have changed"]


def _file_changes(stage: str, before: set[tuple[Any, ...]], after: set[tuple[Any, ...]]) -> list[str]:
    old, new = {one[0] for one in before}, {one[0] for one in after}
    changed = {one[0] for one in after - before} & old
    kinds = (("gone", old - new), ("new", new - old), ("changed", changed))
    return [
        f"{stage}: input files {kind}: {', '.join(sorted(names)[:5])}{' ...' if len(names) > 5 else ''}"
        for kind, names in kinds
        if names
    ]


def _in_order(names: Mapping[str, Any]) -> list[str]:
    return sorted(names, key=lambda name: (STAGES.index(_section_key(name)), name))


def _section_key(stage: str) -> str:
    return "rounds" if stage.startswith("round") else stage


def _plain(section: Any) -> Any:
    """A config section as JSON has it: tuples are lists there."""
    return json.loads(json.dumps(dataclasses.asdict(section)))


def _without_patterns(name: str, section: Any) -> dict[str, Any]:
    values = dataclasses.asdict(section)
    return {key: value for key, value in values.items() if f"{name}.{key}" not in _PATTERNS}


def under(cfg: MineConfig, name: str) -> Path:
    """A path of the config: relative ones start from data_dir."""
    return Path(name) if Path(name).is_absolute() else Path(cfg.data_dir).absolute() / name
