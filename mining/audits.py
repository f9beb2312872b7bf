"""Pages labelled one by one: their table, the sample that is worth labelling, and what it says of a round.

The sample is stratified by score within collected and uncollected pages, and in each stratum the pages come in one
fixed random order (permanent random numbers, Ohlsson 1995): the pages audited so far are a simple random sample of
the stratum at any time, and a page audited in an earlier round counts again when its turn comes in a later one.
"""

import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mining.errors import ConfigError
from mining.prefixes import LABELS, SYNONYMS
from mining.store import write_text
from mining.url import canonical_url, host_of

COLUMNS = ("url", "label", "annotator", "labelled_at", "round", "score", "held_out", "note")
HELD_OUT_SHARE = 0.5
"""Share of the hosts whose audited pages serve the estimates alone and calibrate nothing."""
COLLECTED_CUTS = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Upper ends of the strata of collected pages, as shares of them counted from the best score."""
LEFT_CUTS = (0.05, 0.2, 0.5, 1.0)
"""The same of the uncollected ones: what a round missed is mostly near the cut, so the strata are narrow there."""
_DRAWS = 4000


@dataclass(frozen=True, slots=True)
class Audit:
    """What a person says of one page."""

    url: str
    label: str
    """math | not_math."""
    annotator: str = ""
    labelled_at: str = ""
    """ISO 8601."""
    round: int = 0
    """The round whose sample showed the page."""
    score: float | None = None
    """The logit that it had there."""
    held_out: bool = False
    """Serves the estimates and calibrates nothing."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class StratumCount:
    """One stratum of a round and its audited pages; all counts are of held-out hosts."""

    collected: bool
    pages: int
    audited: int
    math: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share with its 95% interval; both None where a stratum that it needs has no audited page."""

    value: float | None
    interval: tuple[float, float] | None


def is_held_out(host: str, share: float = HELD_OUT_SHARE) -> bool:
    """Whether the pages of `host` stay out of training: by a hash of the host, so whole hosts and in every run alike.

    `www.` is no other host. `share` is that of hosts, so about that of pages.
    """
    if not 0.0 <= share <= 1.0:
        raise ConfigError(f"held-out share {share}: a share lies in [0, 1]")
    digest = hashlib.sha256(f"held out|{host.lower().removeprefix('www.')}".encode()).digest()
    return int.from_bytes(digest[:6]) < share * 2**48


def parse_audits(text: str) -> list[Audit]:
    """The rows of an audits.csv, in its order; ConfigError, with the line, where one cannot be meant."""
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")))
    header = [name.strip() for name in next(reader, [])]
    missing = [name for name in COLUMNS[:2] if header and name not in header]
    if missing:
        raise ConfigError(f"audits line 1: no column {missing[0]!r} in {header}; the header is {','.join(COLUMNS)}")
    audits: dict[str, Audit] = {}
    for row in reader:
        if not any(cell.strip() for cell in row):
            continue
        place = f"audits line {reader.line_num}"
        if len(row) > len(header):
            raise ConfigError(f"{place}: {len(row)} cells for {len(header)} columns; quote commas")
        audit = _audit(dict(zip(header, (cell.strip() for cell in row), strict=False)), place)
        before = audits.setdefault(audit.url, audit)
        if before.label != audit.label:
            raise ConfigError(f"{place}: {audit.url} is {audit.label}, a line above says {before.label}; keep one")
    return list(audits.values())


def _audit(cells: dict[str, str], place: str) -> Audit:
    url, label = cells.get("url", ""), SYNONYMS.get(cells.get("label", ""), cells.get("label", ""))
    if not host_of(url):
        raise ConfigError(f"{place}: url {url!r} has no host; write the page's address as captured")
    if label not in LABELS:
        raise ConfigError(f"{place}: label {label!r} is unknown; write {' or '.join(LABELS)}")
    held_out = cells.get("held_out", "")
    if held_out not in ("", "0", "1"):
        raise ConfigError(f"{place}: held_out {held_out!r}; write 1 (estimates) or 0 (training)")
    try:
        number = int(cells.get("round") or 0)
        score = float(cells["score"]) if cells.get("score") else None
    except ValueError as error:
        raise ConfigError(f"{place}: round and score are numbers ({error})") from None
    return Audit(
        url=url,
        label=label,
        annotator=cells.get("annotator", ""),
        labelled_at=cells.get("labelled_at", ""),
        round=number,
        score=score,
        held_out=held_out == "1" if held_out else is_held_out(host_of(url)),
        note=cells.get("note", ""),
    )


def format_audits(audits: Iterable[Audit]) -> str:
    """The text of an audits.csv with these rows, in the given order."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in audits:
        score = "" if one.score is None else f"{one.score:.4f}"
        writer.writerow(
            [one.url, one.label, one.annotator, one.labelled_at, one.round, score, int(one.held_out), one.note]
        )
    return out.getvalue()


def calibrating(audits: Iterable[Audit]) -> dict[str, bool]:
    """Canonical URL -> whether math, of the audited pages that calibrate the scores of a round."""
    return {canonical_url(one.url): one.label == "math" for one in audits if not one.held_out}


def read_audits(file: Path) -> list[Audit]:
    """The audited pages of a run, none where nobody has audited yet; ConfigError where the file cannot be read."""
    try:
        return parse_audits(file.read_text(encoding="utf-8")) if file.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read ({error}); mend or remove it") from None
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def write_audits(file: Path, audits: Iterable[Audit]) -> None:
    """Replace `file` atomically by these rows."""
    write_text(file, format_audits(audits))


def estimate(strata: Sequence[StratumCount], *, seed: int = 0) -> dict[str, Estimate]:
    """Precision and recall of a round: `{"precision": Estimate, "recall": Estimate}`.

    Precision is the stratified mean over the collected strata, sum(N k / n) / sum(N); recall is that sum of estimated
    math pages over the same sum for all strata (Cochran 1977, ch. 5 and 6, the combined ratio). Intervals: each
    stratum's unaudited pages get a share drawn from Jeffreys' posterior Beta(k + 1/2, n - k + 1/2) (Brown, Cai and
    DasGupta 2001), audited ones stand as they are, and the middle 95% of 4,000 draws of the whole is given, widened to
    the estimate where it lies outside; so a stratum where every audited page agrees still adds doubt. Pages are taken
    as independent: pages of one host are alike, so with few hosts the truth is less certain than the interval says.
    """
    filled = [one for one in strata if one.pages]
    taken = [one for one in filled if one.collected]
    answer = {"precision": Estimate(None, None), "recall": Estimate(None, None)}
    if not taken or any(one.audited == 0 for one in taken):
        return answer
    generator = np.random.default_rng(seed)
    drawn = {place: _draw(one, generator) for place, one in enumerate(filled)}
    taken_draws = np.sum([drawn[place] for place, one in enumerate(filled) if one.collected], axis=0)
    taken_pages = sum(one.pages for one in taken)
    taken_math = sum(one.pages * one.math / one.audited for one in taken)
    answer["precision"] = _with_interval(taken_math / taken_pages, taken_draws / taken_pages)
    if all(one.audited for one in filled):
        all_math = sum(one.pages * one.math / one.audited for one in filled)
        if all_math:
            all_draws = np.sum(list(drawn.values()), axis=0)
            answer["recall"] = _with_interval(taken_math / all_math, taken_draws / all_draws)
    return answer


def _draw(one: StratumCount, generator: np.random.Generator) -> np.ndarray:
    """Math pages of a stratum, (draws,)."""
    shares = generator.beta(one.math + 0.5, one.audited - one.math + 0.5, size=_DRAWS)
    return one.math + (one.pages - one.audited) * shares


def _with_interval(value: float, draws: np.ndarray) -> Estimate:
    low, high = np.percentile(draws, [2.5, 97.5])
    return Estimate(value, (min(float(low), value), max(float(high), value)))
