"""Everything that people said while labelling, as a log, and the table that follows from it.

The table (labels.csv, audits.csv) has one row a target and is what mine.py reads; two people's labels of one target,
skips and undone labels have no place there. So every act is a line of a log beside it (labels.log.csv), and the table
follows: of each target the newest standing label. The table is written first (beside its name, then renamed), the
log after it: where a process dies in between, or a person edits the table, the table differs from the log, and the
difference is taken up as an act. Both happen under a lock on the log, so any number of tabs and servers may label.
"""

import csv
import fcntl
import io
import os
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from mining.audits import Audit, format_audits, is_held_out, parse_audits
from mining.errors import ConfigError
from mining.prefixes import LABELS, Label, read_labels, write_labels
from mining.store import write_text
from mining.url import host_of, prefix_parts

_COLUMNS = ("at", "annotator", "action", "target", "label", "round", "score", "note")
ACTIONS = ("label", "skip", "undo", "file")


@dataclass(frozen=True, slots=True)
class Act:
    """One line of a log."""

    at: str
    """ISO 8601."""
    annotator: str
    action: str
    """label | skip | undo (this annotator's newest act) | file (found in the table, or gone from it)."""
    target: str
    """A URL prefix or a page's URL; empty for undo."""
    label: str = ""
    """math | not_math; empty for skip and undo, and for a row that was taken out of the table."""
    round: int = 0
    score: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Table:
    """How one kind of table is read, written and keyed."""

    name: str
    """What the file is called."""
    key: Callable[[str], Hashable]
    """Equal for two spellings of one target."""
    read: Callable[[str], list[Act]]
    write: Callable[[Sequence[Act]], str]


def _labels_in(text: str) -> list[Act]:
    return [
        Act(one.labelled_at, one.annotator, "file", one.prefix, one.label, note=one.note) for one in read_labels(text)
    ]


def _labels_out(acts: Sequence[Act]) -> str:
    return write_labels(Label(act.target, act.label, act.annotator, act.at, act.note) for act in acts)


def _audits_in(text: str) -> list[Act]:
    return [
        Act(one.labelled_at, one.annotator, "file", one.url, one.label, one.round, one.score, one.note)
        for one in parse_audits(text)
    ]


def _audits_out(acts: Sequence[Act]) -> str:
    return format_audits(
        Audit(a.target, a.label, a.annotator, a.at, a.round, a.score, is_held_out(host_of(a.target)), a.note)
        for a in acts
    )


PREFIXES = Table("labels.csv", key=prefix_parts, read=_labels_in, write=_labels_out)
PAGES = Table("audits.csv", key=lambda url: url, read=_audits_in, write=_audits_out)


@dataclass
class Standing:
    """What holds after a log: by annotator and target, the acts that were not undone, oldest first."""

    acts: dict[str, dict[Hashable, list[Act]]] = field(default_factory=dict)
    newest: dict[Hashable, list[tuple[int, Act]]] = field(default_factory=dict)
    """Of each target every annotator's standing label with its place in the log."""
    trail: dict[str, list[Act]] = field(default_factory=dict)
    """Of each annotator what undo would take back, newest last."""

    def current(self, annotator: str, key: Hashable) -> Act | None:
        """The annotator's standing act on a target."""
        acts = self.acts.get(annotator, {}).get(key)
        return acts[-1] if acts else None

    def first_label(self, annotator: str, key: Hashable) -> str:
        """What the annotator said at first, before anyone talked it over; '' where nothing."""
        return next((act.label for act in self.acts.get(annotator, {}).get(key, ()) if act.label), "")

    def labels(self, key: Hashable) -> dict[str, str]:
        """The standing label of every annotator who has one on a target."""
        return {act.annotator: act.label for _, act in self.newest.get(key, ())}

    def table(self) -> dict[Hashable, Act]:
        """One act a target: the newest standing label, whoever gave it."""
        return {key: max(found, key=lambda pair: pair[0])[1] for key, found in self.newest.items() if found}

    @property
    def annotators(self) -> list[str]:
        return sorted(self.acts)


def replay(acts: Sequence[Act], table: Table) -> Standing:
    """The state that a log leads to."""
    standing = Standing()
    places: dict[int, int] = {}
    for place, act in enumerate(acts):
        places[id(act)] = place
        if act.action == "undo":
            trail = standing.trail.get(act.annotator)
            if trail:
                undone = trail.pop()
                key = table.key(undone.target)
                standing.acts[act.annotator][key].pop()
                _renew(standing, key, places)
            continue
        key = table.key(act.target)
        if act.action == "file" and not act.label:
            for found in standing.acts.values():
                gone = found.pop(key, [])
                for trail in standing.trail.values():
                    trail[:] = [one for one in trail if not any(one is other for other in gone)]
        else:
            standing.acts.setdefault(act.annotator, {}).setdefault(key, []).append(act)
            if act.action != "file":
                standing.trail.setdefault(act.annotator, []).append(act)
        _renew(standing, key, places)
    return standing


def _renew(standing: Standing, key: Hashable, places: dict[int, int]) -> None:
    found = [acts[key][-1] for acts in standing.acts.values() if acts.get(key)]
    standing.newest[key] = [(places[id(act)], act) for act in found if act.label]


class Book:
    """A table and its log on disk, open to any number of readers and writers."""

    def __init__(self, file: Path, table: Table) -> None:
        self.file, self.table = file, table
        self.log = file.with_name(f"{file.stem}.log.csv")
        self._read_at: object = None
        self._standing = Standing()
        self._acts: list[Act] = []

    def signature(self) -> tuple[object, ...]:
        """Changes whenever the table or the log does."""
        return tuple(_stat(path) for path in (self.file, self.log))

    def standing(self) -> Standing:
        """What holds now; read again only where a file has changed. ConfigError where one of them is damaged."""
        signature = self.signature()
        if signature != self._read_at:
            self._acts = self._history()
            self._standing = replay(self._acts, self.table)
            self._read_at = signature
        return self._standing

    def write(self, acts: Sequence[Act]) -> list[Act]:
        """Add acts that change something and return them; an act that repeats what stands is dropped."""
        with self._locked() as log:
            known = self._logged()
            history = [*known, *self._differences(known)]
            standing = replay(history, self.table)
            wanted = [act for act in acts if _changes(act, standing, self.table)]
            if wanted or len(history) > len(known):
                standing = replay([*history, *wanted], self.table)
                self.file.parent.mkdir(parents=True, exist_ok=True)
                write_text(self.file, self.table.write(list(standing.table().values())))
                _append(log, [*history[len(known) :], *wanted], fresh=not known)
        return wanted

    def _history(self) -> list[Act]:
        logged = self._logged()
        return [*logged, *self._differences(logged)]

    def _logged(self) -> list[Act]:
        """The log's acts; a line that a killed process left half written is no act."""
        try:
            text = self.log.read_text(encoding="utf-8") if self.log.exists() else ""
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.log}: cannot be read ({error}); move it away, {self.file.name} holds") from None
        whole = text[: text.rfind("\n") + 1]
        acts = []
        for number, row in enumerate(csv.reader(io.StringIO(whole)), 1):
            if number > 1 and row:
                acts.append(_act(row, f"{self.log}, row {number}"))
        return acts

    def _differences(self, logged: Sequence[Act]) -> list[Act]:
        """What the table holds beyond the log, or lacks; a table that is gone altogether is written again instead."""
        try:
            text = self.file.read_text(encoding="utf-8")
            rows = self.table.read(text)
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError, ConfigError) as error:
            raise ConfigError(f"{self.file}: cannot be read ({error}); mend that line first") from None
        derived = replay(logged, self.table).table()
        found = []
        for row in rows:
            known = derived.pop(self.table.key(row.target), None)
            if known is None or (known.label, known.annotator) != (row.label, row.annotator):
                found.append(row)
        return found + [Act(act.at, act.annotator, "file", act.target) for act in derived.values()]

    @contextmanager
    def _locked(self) -> Iterator[IO[str]]:
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            log = open(self.log, "a+", encoding="utf-8", newline="")  # noqa: SIM115 - closed below
        except OSError as error:
            raise ConfigError(f"{self.log}: cannot be written ({error.strerror}); mend that or its folder") from None
        with log:
            try:
                fcntl.flock(log, fcntl.LOCK_EX)
                yield log
            except OSError as error:
                raise ConfigError(f"{self.file}: cannot be written ({error}); nothing was lost, try again") from None


def _changes(act: Act, standing: Standing, table: Table) -> bool:
    """Whether an act says more than what stands; two presses of one key are one act."""
    if act.action == "undo":
        return bool(standing.trail.get(act.annotator))
    current = standing.current(act.annotator, table.key(act.target))
    if current is None or (current.action == "skip") != (act.action == "skip"):
        return True
    newest = standing.table().get(table.key(act.target))
    return current.label != act.label or current.note != act.note or (newest is not None and newest.label != act.label)


def _append(log: IO[str], acts: Sequence[Act], *, fresh: bool) -> None:
    """Write lines to the end, on the disk before it returns; a half line that was left there goes first."""
    log.seek(0)
    whole = log.read()
    end = whole.rfind("\n") + 1
    log.seek(0)
    log.truncate(len(whole[:end].encode()))
    log.seek(0, os.SEEK_END)
    writer = csv.writer(log, lineterminator="\n")
    if fresh and not end:
        writer.writerow(_COLUMNS)
    for act in acts:
        score = "" if act.score is None else f"{act.score:.4f}"
        note = " ".join(act.note.split())
        writer.writerow([act.at, act.annotator, act.action, act.target, act.label, act.round or "", score, note])
    log.flush()
    os.fsync(log.fileno())


def _act(row: Sequence[str], place: str) -> Act:
    try:
        at, annotator, action, target, label, number, score, note = row
        if action not in ACTIONS or label not in ("", *LABELS):
            raise ValueError(f"action {action!r}, label {label!r}")
        return Act(at, annotator, action, target, label, int(number or 0), float(score) if score else None, note)
    except ValueError as error:
        raise ConfigError(f"{place}: no act of labelling ({error}); mend or delete that line") from None


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two annotators on the targets that both labelled, by their first labels."""

    first: str
    second: str
    both: int
    agreed: int
    kappa: float | None
    """Cohen's kappa; None where chance alone would agree on everything (all labels of one kind), or no target."""
    interval: tuple[float, float] | None


def agreements(standing: Standing) -> list[Agreement]:
    """Every pair of annotators who share a target."""
    names = standing.annotators
    found = []
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            keys = standing.acts[one].keys() & standing.acts[other].keys()
            pairs = [(standing.first_label(one, key), standing.first_label(other, key)) for key in keys]
            pairs = [pair for pair in pairs if all(pair)]
            if pairs:
                kappa, interval = cohen_kappa(pairs)
                found.append(Agreement(one, other, len(pairs), sum(a == b for a, b in pairs), kappa, interval))
    return found


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> tuple[float | None, tuple[float, float] | None]:
    """(kappa, 95% interval) of two people's labels of the same things (Cohen 1960, with his large-sample error)."""
    n = len(pairs)
    if not n:
        return None, None
    observed = sum(a == b for a, b in pairs) / n
    kinds = {label for pair in pairs for label in pair}
    chance = sum((sum(a == k for a, _ in pairs) / n) * (sum(b == k for _, b in pairs) / n) for k in kinds)
    if chance >= 1:
        return None, None
    kappa = (observed - chance) / (1 - chance)
    half = 1.96 * (observed * (1 - observed) / n) ** 0.5 / (1 - chance)
    return kappa, (max(-1.0, kappa - half), min(1.0, kappa + half))
