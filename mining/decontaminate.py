"""Benchmark text found in pages, with evidence, and the page without it (DeepSeekMath 2.1, after Guo et al. 2024).

The paper: a text segment with a 10-gram that matches any substring of a benchmark is removed; a benchmark text of 3
to 9 grams filters the page that has it. It leaves open what a gram is; `mining.grams` counts units (words, numbers,
LaTeX commands, single ideographs) and wants the signs between them to agree, and here a gram needs a word. Measured
with the 32,965 problems of 34 benchmark files on 14,642 pages of the real web, 133 of them labelled mathematics; by the
default no run is longer than 21 units, so these are phrases and matrices, not leaked problems:

    units                                    617 pages,  11 of the 133     0. 0. 0. 0. 0. 0. 0. 0. 0. 0.
    units, one word or more (the default)    163 pages,   9 of the 133     the surface area of a sphere with radius r is
    ... without questions of 3 to 9 units    163 pages,   9 of the 133     (no page holds a short question)
    ... with short answers as whole lines    358 pages,  10 of the 133     x = 2
    ... with short answers anywhere        2,174 pages,  57 of the 133
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from mining.errors import ConfigError
from mining.grams import Units, fold, gram_hashes, raw_tokens, spell, token_spans, units_of, wordy


@dataclass(frozen=True)
class DecontaminateConfig:
    """What counts as contamination and what is done about it."""

    ngram: int = 10
    """Units that must match in a row."""
    min_short: int = 3
    """Questions of this many units and fewer than `ngram` match as a whole; shorter ones are ignored."""
    min_words: int = 1
    """Words (two letters or more, LaTeX commands, ideographs) that a gram must have; 0 counts bare number rows too."""
    short_rule: Literal["contains", "whole_line", "off"] = "contains"
    """contains: anywhere in the page (the paper); whole_line: from the start of a line to the end of a line; off."""
    short_answers: bool = False
    """Whether short answers and solutions (`1/2`, `x = 2`) match like short questions; nearly all hits are innocent."""
    remove: Literal["segment", "page"] = "segment"
    """What a 10-gram removes: the segment (the lines it touches) or the page. A short match removes the page."""
    max_items_per_gram: int = 0
    """Grams of more benchmark items than this are phrases, not leaks, and do not match; 0 is the paper: no limit."""
    max_hosts_per_short: int = 10
    """Short texts found on more hosts than this are common phrases: reported, nothing goes for them; 0: no limit."""

    def __post_init__(self) -> None:
        if not 1 <= self.min_short <= self.ngram <= 64:
            raise ConfigError(
                f"min_short={self.min_short}, ngram={self.ngram}: need 1 <= min_short <= ngram <= 64 units"
            )
        if self.short_rule not in ("contains", "whole_line", "off"):
            raise ConfigError(f"short_rule={self.short_rule!r}: choose contains, whole_line or off")
        if self.remove not in ("segment", "page"):
            raise ConfigError(f"remove={self.remove!r}: choose segment or page")
        for name in ("max_items_per_gram", "max_hosts_per_short", "min_words"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name}={getattr(self, name)}: must not be negative")


@dataclass(frozen=True, slots=True)
class BenchmarkItem:
    """One text of a benchmark problem."""

    benchmark: str
    item: str
    text: str
    part: Literal["question", "solution", "answer"] = "question"


@dataclass(frozen=True, slots=True)
class Match:
    """Where a page and a benchmark item agree."""

    benchmark: str
    item: str
    gram: str
    """The first matching gram, its tokens separated by spaces."""
    place: int
    """Character offset of its start in the page's text."""
    end: int
    """Offset after the last character of the agreeing run, which may be many overlapping grams long."""
    units: int
    """Units in the agreeing run: ten are a phrase as often as a leak, thirty are a leak."""
    rule: Literal["ten_gram", "short_exact"]


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A page after its matches were dealt with."""

    text: str | None
    """None: the page goes."""
    action: Literal["none", "segment", "page"]


class NotSought(NamedTuple):
    """A benchmark text that is not looked for."""

    benchmark: str
    item: str
    part: str
    text: str
    reason: Literal["too_short", "no_word"]


@dataclass(frozen=True, slots=True)
class BenchmarkIndex:
    """The grams of all benchmark texts, as sorted hashes with the items that have them; plain values that pickle.

    62 bits a gram: over 10^12 page grams and 3 million benchmark grams, one false match is expected.
    """

    cfg: DecontaminateConfig
    items: tuple[tuple[str, str], ...]
    """(benchmark, item) by number."""
    grams: np.ndarray
    """(G,) uint64, ascending, distinct."""
    starts: np.ndarray
    """(G + 1,) int32: gram g is in items `owners[starts[g] : starts[g + 1]]`."""
    owners: np.ndarray
    """int32 item numbers."""
    filter_bits: np.ndarray
    """(2^b / 8,) uint8: bit i is set when a gram's top b bits are i; spares 98% of the binary searches."""
    short_heads: np.ndarray
    """(H,) uint64, ascending: hashes of the first `min_short` units of each short text."""
    shorts: Mapping[int, tuple[tuple[int, int], ...]]
    """Head hash -> (number of units, hash of all of them) of the short texts that begin so."""
    short_owners: Mapping[tuple[int, int], tuple[int, ...]]
    """(number of units, hash) -> item numbers."""
    ignored: tuple[NotSought, ...]
    """Texts of too few units, or without a word, that are not looked for."""
    short_answers: Mapping[str, int]
    """Benchmark -> how many short answers and solutions are not looked for (see `DecontaminateConfig`)."""
    common: tuple[tuple[str, int], ...]
    """The 100 grams of most items (10 or more), with the number of items: phrases that innocents also use."""

    def report(self) -> dict[str, Any]:
        """What is looked for and what is not, by benchmark, as plain values for JSON.

        `common`: the grams that most items share, with how many: phrases, which take innocents' segments too.
        """
        benchmarks = {name: {"items": 0, "short_answers_not_sought": 0} for name, _ in self.items}
        for name, _ in self.items:
            benchmarks[name]["items"] += 1
        for name, number in self.short_answers.items():
            benchmarks[name]["short_answers_not_sought"] = number
        return {
            "benchmarks": benchmarks,
            "grams": len(self.grams),
            "short_texts": len(self.short_owners),
            "not_sought": [{**text._asdict(), "text": text.text[:200]} for text in self.ignored],
            "common": [{"gram": gram, "items": number} for gram, number in self.common],
        }

    def num_bytes(self) -> int:
        """Memory of the arrays."""
        return sum(array.nbytes for array in (self.grams, self.starts, self.owners, self.filter_bits))


def benchmark_items(row: Mapping[str, Any], benchmark: str) -> Iterator[BenchmarkItem]:
    """The texts of a benchmark row {id, question, options?, solution?, answer?}; solutions and answers leak too."""
    options = row.get("options") or []
    option_text = options if isinstance(options, str) else "\n".join(map(str, options))
    name = str(row.get("id") or "")
    question = "\n".join(filter(None, (str(row.get("question") or ""), option_text)))
    if question:
        yield BenchmarkItem(benchmark, name, question)
    if row.get("solution"):
        yield BenchmarkItem(benchmark, name, str(row["solution"]), "solution")
    if row.get("answer"):
        yield BenchmarkItem(benchmark, name, str(row["answer"]), "answer")


def build(items: Iterable[BenchmarkItem], cfg: DecontaminateConfig) -> BenchmarkIndex:
    """The index of the benchmark texts; the same for any order of the items."""
    texts = sorted(set(items), key=lambda item: (item.benchmark, item.item, item.part, item.text))
    names = sorted({(text.benchmark, text.item) for text in texts})
    numbers = {name: number for number, name in enumerate(names)}
    parts: list[tuple[np.ndarray, int, str]] = []
    short_owners: dict[tuple[int, int], set[int]] = {}
    heads: dict[int, set[tuple[int, int]]] = {}
    ignored: list[NotSought] = []
    short_answers: Counter[str] = Counter()
    for text in texts:
        number = numbers[text.benchmark, text.item]
        units = units_of(fold(text.text))
        size = len(units.hashes)
        if size >= cfg.ngram:
            grams = gram_hashes(units, cfg.ngram)[wordy(units, cfg.ngram, cfg.min_words)]
            parts.append((np.unique(grams), number, text.text))
            if not len(grams):
                ignored.append(NotSought(text.benchmark, text.item, text.part, text.text, "no_word"))
        elif text.part != "question" and not cfg.short_answers:
            short_answers[text.benchmark] += 1
        elif size >= cfg.min_short:
            whole = (size, int(gram_hashes(units, size)[0]))
            short_owners.setdefault(whole, set()).add(number)
            heads.setdefault(int(gram_hashes(units, cfg.min_short)[0]), set()).add(whole)
        else:
            ignored.append(NotSought(text.benchmark, text.item, text.part, text.text, "too_short"))
    grams, starts, owners = _owners_by_gram([(part, number) for part, number, _ in parts])
    common = _common_grams(grams, starts, [(part, text) for part, _, text in parts], cfg.ngram)
    if cfg.max_items_per_gram:
        counts = np.diff(starts)
        rare = counts <= cfg.max_items_per_gram
        grams, owners = grams[rare], owners[np.repeat(rare, counts)]
        starts = np.concatenate([[0], np.cumsum(counts[rare])]).astype(np.int32)
    return BenchmarkIndex(
        cfg=cfg,
        items=tuple(names),
        grams=grams,
        starts=starts,
        owners=owners,
        filter_bits=_filter_bits(grams),
        short_heads=np.array(sorted(heads), dtype=np.uint64),
        shorts={head: tuple(sorted(wholes)) for head, wholes in sorted(heads.items())},
        short_owners={whole: tuple(sorted(owned)) for whole, owned in sorted(short_owners.items())},
        ignored=tuple(ignored),
        short_answers=dict(short_answers),
        common=common,
    )


def _owners_by_gram(parts: Sequence[tuple[np.ndarray, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct grams ascending, and for each the ascending distinct numbers of the items that have it."""
    if not parts:
        return np.empty(0, np.uint64), np.zeros(1, np.int32), np.empty(0, np.int32)
    hashes = np.concatenate([grams for grams, _ in parts])
    owners = np.repeat(np.array([n for _, n in parts], dtype=np.int32), [len(grams) for grams, _ in parts])
    order = np.lexsort((owners, hashes))
    hashes, owners = hashes[order], owners[order]
    # One item can have a gram twice: in its question and its solution.
    fresh = np.ones(len(hashes), dtype=bool)
    fresh[1:] = (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])
    hashes, owners = hashes[fresh], owners[fresh]
    grams, first = np.unique(hashes, return_index=True)
    return grams, np.append(first, len(hashes)).astype(np.int32), owners


def _common_grams(
    grams: np.ndarray, starts: np.ndarray, parts: Sequence[tuple[np.ndarray, str]], width: int
) -> tuple[tuple[str, int], ...]:
    """The grams of 10 items or more, most first, at most 100, spelled out from a text that has them."""
    counts = np.diff(starts)
    most = np.argsort(-counts, kind="stable")[:100]
    wanted = {int(grams[g]): int(counts[g]) for g in most if counts[g] >= 10}
    wanted_hashes = np.array(sorted(wanted), dtype=np.uint64)
    spelled: dict[int, str] = {}
    for part, text in parts:
        if len(spelled) == len(wanted):
            break
        if not len(_members(wanted_hashes, part)):
            continue
        folded = fold(text)
        units = units_of(folded)
        for first, gram in enumerate(gram_hashes(units, width).tolist()):
            if gram in wanted and gram not in spelled:
                spelled[gram] = spell(raw_tokens(folded), units, first, first + width - 1)
    return tuple(sorted(((spelled[g], n) for g, n in wanted.items()), key=lambda pair: (-pair[1], pair[0])))


def _filter_bits(grams: np.ndarray) -> np.ndarray:
    """A bit table of 32 to 64 bits a gram, as few as 2^10 and as many as 2^29 (64 MB)."""
    size = min(max(32 * len(grams), 512).bit_length(), 29)
    bits = np.zeros(1 << size, dtype=bool)
    bits[(grams >> np.uint64(64 - size)).astype(np.int64)] = True
    return np.packbits(bits, bitorder="little")


def _maybe(values: np.ndarray, filter_bits: np.ndarray) -> np.ndarray:
    """The places of `values` that the filter cannot rule out."""
    size = (len(filter_bits) * 8 - 1).bit_length()
    slots = (values >> np.uint64(64 - size)).astype(np.int64)
    return np.flatnonzero(filter_bits[slots >> 3] >> (slots & 7).astype(np.uint8) & 1)


def _members(values: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The places of `values` that are in the ascending `table`."""
    if not len(table) or not len(values):
        return np.empty(0, dtype=np.int64)
    slots = np.searchsorted(table, values)
    slots[slots == len(table)] = 0
    return np.flatnonzero(table[slots] == values)


def find(text: str, index: BenchmarkIndex) -> list[Match]:
    """Every run of `text` that agrees with a benchmark item, by place; an item's overlapping grams are one run."""
    cfg = index.cfg
    folded = fold(text)
    units = units_of(folded)
    grams = gram_hashes(units, cfg.ngram)
    # The need for a word is in the index: a wordless gram is not there.
    maybe = _maybe(grams, index.filter_bits)
    hits = maybe[_members(grams[maybe], index.grams)]
    heads = np.empty(0, dtype=np.int64)
    if cfg.short_rule != "off" and len(index.short_heads):
        head_hashes = gram_hashes(units, cfg.min_short)
        heads = _members(head_hashes, index.short_heads)
    if not len(hits) and not len(heads):
        return []
    all_spans = token_spans(folded)
    spans = [all_spans[place] for place in units.places.tolist()]
    runs = _gram_runs(hits, grams[hits], index)
    for first in heads.tolist():
        for width, whole in index.shorts[int(head_hashes[first])]:
            last = first + width - 1
            part = Units(*(array[first : last + 1] for array in units))
            if last >= len(spans) or int(gram_hashes(part, width)[0]) != whole:
                continue
            if cfg.short_rule == "contains" or _fills_lines(text, spans, first, last):
                runs += [(first, last, owner, True) for owner in index.short_owners[width, whole]]
    raw = raw_tokens(folded)
    matches = []
    for first, last, owner, short in sorted(runs):
        gram = spell(raw, units, first, min(last, first + cfg.ngram - 1))
        rule: Literal["ten_gram", "short_exact"] = "short_exact" if short else "ten_gram"
        matches.append(Match(*index.items[owner], gram, spans[first][0], spans[last][1], last - first + 1, rule))
    return matches


def _gram_runs(hits: np.ndarray, grams: np.ndarray, index: BenchmarkIndex) -> list[tuple[int, int, int, bool]]:
    """(first unit, last unit, item number, whether short) of the 10-gram runs."""
    width = index.cfg.ngram
    slots = np.searchsorted(index.grams, grams)
    open_runs: dict[int, tuple[int, int]] = {}
    runs = []
    for place, slot in zip(hits.tolist(), slots.tolist(), strict=True):
        for owner in index.owners[index.starts[slot] : index.starts[slot + 1]].tolist():
            first, last = open_runs.get(owner, (place, place - 1))
            if place > last + 1:
                runs.append((first, last, owner, False))
                first = place
            open_runs[owner] = (first, place + width - 1)
    runs += [(first, last, owner, False) for owner, (first, last) in open_runs.items()]
    return runs


def _fills_lines(text: str, spans: Sequence[tuple[int, int]], first: int, last: int) -> bool:
    """Whether no other unit shares a line with units first..last."""
    before = first == 0 or "\n" in text[spans[first - 1][1] : spans[first][0]]
    after = last == len(spans) - 1 or "\n" in text[spans[last][1] : spans[last + 1][0]]
    return before and after


def clean(text: str, matches: Sequence[Match], cfg: DecontaminateConfig) -> Cleaned:
    """The page without what its matches remove: lines that a ten_gram run touches, or all of it."""
    if not matches:
        return Cleaned(text, "none")
    if cfg.remove == "page" or any(match.rule == "short_exact" for match in matches):
        return Cleaned(None, "page")
    kept: list[str] = []
    start = 0
    for line in text.split("\n"):
        end = start + len(line)
        if not any(match.place < end and match.end > start for match in matches):
            kept.append(line)
        start = end + 1
    left = "\n".join(kept)
    return Cleaned(left, "segment") if left.strip() else Cleaned(None, "page")
