"""Writes the embedded mini web: WARC.gz files with exact ground truth, a seed, benchmarks, problems to train on.

    python pipelines/toy_web.py --out data/toy [--pages 3000] [--hosts 120] [--seed 0] [--workers 2]

Small enough to mine in minutes and hard where the real web is hard: the seed shows two kinds of mathematics (theorem
notes, encyclopedia entries), ten other kinds are reached only through the domains and prefixes they share with these;
general pages count, prove, solve and sum; formulas stand in fourteen encodings; pages come in wrong or undeclared
charsets, twice, nearly twice, mirrored, printed, with tracking parameters, and with benchmark questions in them.
Up to 1,000,000 pages, streamed; the same seed and sizes give the same bytes, whatever the number of workers.

    OUT/web/part-00000.warc.gz ...   OUT/web/hosts.tsv         host, path_prefix, language, label, kind ...
    OUT/web/truth.jsonl              one row a page, in the order of the files
    OUT/seed/{positive,negative}.jsonl.gz    OUT/benchmarks/toy-arith{,-zh}.test.jsonl.gz
    OUT/problems/{sft,rl,eval}.jsonl         eval: the benchmark problems again, with their solutions

A row of truth: url, label (math | nonmath), language, kind, duplicate_of, duplicate_kind (exact | near | url | mirror |
print), edit_share (near copies), contaminated_with (benchmark item), stratum, oddity (what is wrong with a record that
still gives its page, null for most). Further records carry no page and stand in no truth: errors, redirects, PDF,
images, JSON, XML, revisits, requests, metadata, garbage without HTTP, a length that takes in the next
record, a file's last member cut short. `--pages` counts the pages of truth; about 6% more records come on top.
"""

import argparse
import gzip
import json
import os
import random
import re
import sys
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from rich.progress import Progress
from toy_pages import TRADITIONAL, render
from toy_problems import Problem, word_problem
from toy_records import Stamp, cut_member, length_trap, odd_record, page_records, warcinfo_record
from toy_sites import Place, Site, World, default_hosts
from toy_stories import CHINESE_STORIES, ENGLISH_STORIES
from toy_text import (
    MATH_KINDS,
    SEED_KINDS,
    Draft,
    draw_body,
    draw_page,
    draw_title,
    edit_words,
    language_of,
    page_kinds,
    problem_grams,
)

from mining.errors import ConfigError, MotherlodeError

BENCHMARKS = {"en": "toy-arith", "zh": "toy-arith-zh"}
HOST_COLUMNS = (
    "host", "path_prefix", "language", "label", "kind", "source_repo", "snapshot_commit", "licence", "n_pages",
    "math_like_share",
)  # fmt: skip
NUM_BENCHMARK_ITEMS = 400
NUM_SFT, NUM_RL = 2000, 4000
NUM_SEED_POSITIVE, NUM_SEED_NEGATIVE = 450, 300
MAX_PAGES = 1_000_000
_LEAK_SHARE = {"school": 0.08, "zh_school": 0.08, "qa": 0.08}
_BLANKS = (" ", "  ", "\u00a0", " \n")


@dataclass(frozen=True)
class ToyWebConfig:
    """How much to write, and where."""

    out: Path
    """Folder to write; parts of an earlier mini web there are replaced."""
    pages: int = 3000
    """Pages with truth, 100 to 1,000,000."""
    hosts: int | None = None
    """Hosts, from 30; None: 120 for 3,000 pages, growing with the 0.7th power of pages."""
    seed: int = 0
    workers: int = 1
    """Processes; the output does not depend on it."""

    def __post_init__(self) -> None:
        if not 100 <= self.pages <= MAX_PAGES:
            raise ConfigError(f"--pages {self.pages}: choose 100 to {MAX_PAGES:,}")
        if self.hosts is not None and not 30 <= self.hosts <= self.pages // 3:
            raise ConfigError(
                f"--hosts {self.hosts}: choose 30 to {self.pages // 3}, a third of --pages, or leave it out"
            )
        if self.workers < 1:
            raise ConfigError(f"--workers {self.workers}: choose 1 or more")

    @property
    def num_hosts(self) -> int:
        """Hosts that will be made."""
        return self.hosts or default_hosts(self.pages)

    @property
    def pages_per_file(self) -> int:
        """500 pages a file for the small web, up to 2,000 for the large."""
        return min(2000, max(500, self.pages // 50))

    @property
    def num_files(self) -> int:
        """WARC files."""
        return -(-self.pages // self.pages_per_file)


@dataclass
class Problems:
    """The benchmarks, and what nothing else may repeat."""

    benchmark: dict[str, dict[str, Problem]]
    """Language to item id to problem."""
    grams: set[str] = field(default_factory=set)
    """Runs of ten words of all benchmark questions."""
    questions: set[str] = field(default_factory=set)
    """All questions drawn for a file so far."""

    def shares_words(self, problem: Problem) -> bool:
        """True where `problem` has ten words in a row with a benchmark question: no page may, unless it is planted."""
        return not self.grams.isdisjoint(problem_grams(problem.question))


@dataclass
class Written:
    """What came of one WARC file."""

    truth: list[str] = field(default_factory=list)
    """JSON lines, without line ends."""
    counts: Counter = field(default_factory=Counter)
    sections: Counter = field(default_factory=Counter)
    """(site, section, label) to pages."""

    def add(self, row: dict, place: Place) -> None:
        """Takes in a page."""
        self.truth.append(json.dumps(row, ensure_ascii=False))
        self.sections[place.site, place.section, row["label"]] += 1
        self.counts.update(["pages", row["label"], f"{row['label']}_{row['language']}"])
        if row["duplicate_kind"]:
            self.counts[f"copy_{row['duplicate_kind']}"] += 1
        self.counts["contaminated"] += row["contaminated_with"] is not None
        self.counts["odd"] += row["oddity"] is not None


def write_toy_web(cfg: ToyWebConfig) -> Counter:
    """Writes everything; returns the counts that the summary prints."""
    web = cfg.out / "web"
    for folder in (web, cfg.out / "seed", cfg.out / "benchmarks", cfg.out / "problems"):
        folder.mkdir(parents=True, exist_ok=True)
    for old in (*web.glob("part-*.warc.gz"), *web.glob("*.partial")):
        old.unlink()
    counts: Counter = Counter()
    sections: Counter = Counter()
    partial = web / "truth.jsonl.partial"
    with partial.open("w", encoding="utf-8", newline="\n") as truth, Progress() as progress:
        task = progress.add_task("writing pages", total=cfg.pages)
        for written in _all_files(cfg):
            truth.writelines(line + "\n" for line in written.truth)
            counts.update(written.counts)
            sections.update(written.sections)
            progress.advance(task, len(written.truth))
    partial.replace(web / "truth.jsonl")
    _write_hosts(web / "hosts.tsv", _world(cfg.seed, cfg.pages, cfg.num_hosts), sections)
    _write_side_files(cfg)
    return counts


def _all_files(cfg: ToyWebConfig) -> Iterator[Written]:
    """Writes all WARC files; gives what came of each, in order."""
    if cfg.workers == 1 or cfg.num_files == 1:
        problems = _problems(cfg.seed)
        yield from (write_file(cfg, number, problems=problems) for number in range(cfg.num_files))
        return
    with ProcessPoolExecutor(cfg.workers) as pool:
        waiting: deque = deque()
        for number in range(cfg.num_files):
            waiting.append(pool.submit(_write_in_worker, cfg, number))
            if len(waiting) > 2 * cfg.workers:  # bounded, so that rows do not pile up
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@lru_cache(maxsize=1)
def _worker_problems(seed: int) -> Problems:
    return _problems(seed)


def _write_in_worker(cfg: ToyWebConfig, number: int) -> Written:
    return write_file(cfg, number, problems=_worker_problems(cfg.seed))


def write_file(cfg: ToyWebConfig, number: int, *, problems: Problems) -> Written:
    """Writes WARC file `number`."""
    world = _world(cfg.seed, cfg.pages, cfg.num_hosts)
    rng = random.Random(cfg.seed * 1_000_003 + number)
    path = cfg.out / "web" / f"part-{number:05d}.warc.gz"
    partial = path.with_suffix(".partial")
    written = Written()
    first, last = number * cfg.pages_per_file, min(cfg.pages, (number + 1) * cfg.pages_per_file)
    trap = last - 1 - (last - first) // 20 if number % 3 == 1 else -1  # readers that give up lose little
    with partial.open("wb") as out:
        out.write(warcinfo_record(path.name, seed=cfg.seed))
        for position in range(first, last):
            place, row, site, body = make_page(world, problems, *world.page_at(position))
            stamp = Stamp(cfg.seed, position)
            members, row["oddity"] = page_records(rng, row["url"], body=body, charset=site.header_charset, stamp=stamp)
            out.writelines(members)
            written.add(row, place)
            if position == trap:
                out.writelines(length_trap(site.host, stamp=stamp))
                written.counts["extra"] += 2
            elif rng.random() < 0.06:
                out.write(odd_record(rng, site.host, url=row["url"], stamp=stamp))
                written.counts["extra"] += 1
        if number % 4 == 0:
            out.write(cut_member(Stamp(cfg.seed, last)))
            written.counts["extra"] += 1
    partial.replace(path)
    return written


def make_page(world: World, problems: Problems, site_number: int, page: int) -> tuple[Place, dict, Site, bytes]:
    """(place, row of truth, site whose headers it is sent with, bytes of the body) of one page."""
    place = world.place(site_number, page)
    title, body, item = _text_of(world, problems, place)
    original = None if place.role == "original" else world.place(*place.source)
    edit_share = None
    if place.role == "near":
        rng = world.rng(site_number, page, 3)
        edit_share = rng.choice((0.005, 0.01, 0.015, 0.02, 0.03, 0.05))
        body = edit_words(body, rng, share=edit_share)
    site, url, links_of = world.sites[site_number], place.url, page
    if original and place.role in ("exact", "url"):  # byte for byte the page that it copies
        site, url, links_of = world.sites[place.source[0]], original.url, place.source[1]
    look = site.look
    if original:  # copies keep the formulas' markup
        source_look = world.sites[place.source[0]].look
        marks = ("encoding", "arithmetic_as_formulas", "loads_math_script")
        look = replace(look, **{name: getattr(source_look, name) for name in marks})
    is_print = place.role == "print"
    links = [] if is_print else world.neighbours(site.number, links_of)
    page_html = render(look, url=url, title=title, body=body, links=links, print_view=is_print)
    if site.charset == "big5":
        page_html = page_html.translate(TRADITIONAL)
    row = {
        "url": place.url,
        "label": "math" if place.kind in MATH_KINDS else "nonmath",
        "language": language_of(place.kind),
        "kind": place.kind,
        "duplicate_of": original.url if original else None,
        "duplicate_kind": place.role if original else None,
        "edit_share": edit_share,
        "contaminated_with": item,
        "stratum": "uniform",
    }
    return place, row, site, page_html.encode(site.charset, "xmlcharrefreplace")


def _text_of(world: World, problems: Problems, place: Place) -> tuple[str, str, str | None]:
    """Title, body and leaked benchmark item of the text that stands at `place`."""
    site_number, page = place.source
    draft = Draft(world.rng(site_number, page), avoid=problems.shares_words)
    item = None
    share = _LEAK_SHARE.get(place.kind, 0.0)
    if share and world.sites[site_number].charset != "big5":  # in traditional characters it would be no leak
        rng = world.rng(site_number, page, 2)
        if rng.random() < share:
            item, problem = rng.choice(list(problems.benchmark[language_of(place.kind)].items()))
            if rng.random() < 0.4:
                problem = replace(problem, question=_spoil(problem.question, rng))
            draft.leaks = [problem]
    title = draw_title(place.kind, draft)
    return title, draw_body(place.kind, draft), item


def _spoil(question: str, rng: random.Random) -> str:
    """The question with other white space or other case: the same words to a reader."""
    if " " in question and rng.random() < 0.5:
        return "".join(rng.choice(_BLANKS) if char == " " else char for char in question)
    return question.upper() if rng.random() < 0.5 else f" {question.lower()} "


def _write_hosts(path: Path, world: World, sections: Counter) -> None:
    """hosts.tsv: one row a host where all its pages are under one label, else one row a section."""
    with path.open("w", encoding="utf-8", newline="\n") as out:
        out.write("\t".join(HOST_COLUMNS) + "\n")
        for site in world.sites:
            for number, section in enumerate(site.sections):
                math, other = sections[site.number, number, "math"], sections[site.number, number, "nonmath"]
                prefix = "/" if len(site.sections) == 1 else section.prefix
                share = math / (math + other) if math + other else 0.0
                fields = (site.host, prefix, site.language, section.label, site.archetype, "toy", "-", "Apache-2.0")
                out.write("\t".join((*fields, str(math + other), f"{share:.2f}")) + "\n")


def _write_side_files(cfg: ToyWebConfig) -> None:
    """The seed, the benchmarks and the problems to train on."""
    problems = _problems(cfg.seed)
    rng = random.Random(cfg.seed * 31 + 5)
    positive = [_seed_row(SEED_KINDS[i % len(SEED_KINDS)], rng, i) for i in range(NUM_SEED_POSITIVE)]
    general = [kind for kind in page_kinds() if kind not in MATH_KINDS and language_of(kind) in ("en", "zh")]
    negative = [_seed_row(general[i % len(general)], rng, i) for i in range(NUM_SEED_NEGATIVE)]
    _write_lines(cfg.out / "seed" / "positive.jsonl.gz", positive)
    _write_lines(cfg.out / "seed" / "negative.jsonl.gz", negative)
    held_out = []
    for language, name in BENCHMARKS.items():
        # Without solutions: their last steps ("33 + 7 = 40. The answer is") are everybody's.
        rows = [
            {"id": item, "question": problem.question, "answer": problem.answer, "split": "test", "language": language}
            for item, problem in problems.benchmark[language].items()
        ]
        _write_lines(cfg.out / "benchmarks" / f"{name}.test.jsonl.gz", rows)
        held_out += [{"id": item, **asdict(problem)} for item, problem in problems.benchmark[language].items()]
    _write_lines(cfg.out / "problems" / "eval.jsonl", held_out)
    for name, size in (("sft", NUM_SFT), ("rl", NUM_RL)):
        rows = _draw_problems(problems, rng, size, name=f"toy-{name}")
        _write_lines(cfg.out / "problems" / f"{name}.jsonl", rows)


def _seed_row(kind: str, rng: random.Random, number: int) -> dict:
    """A seed document as plain text, its formulas between dollars."""
    title, body = draw_page(kind, rng)
    text = re.sub(r"(?m)^(?:[#>`|+-] |\$\$ )", "", f"{title}\n\n{body}".replace("**", ""))
    text = re.sub("⟦(.*?)⟧", r"$\1$", text)
    return {"text": text, "url": f"https://seed.example/{kind}/{number}", "language": language_of(kind)}


def _draw_problems(problems: Problems, rng: random.Random, size: int, *, name: str) -> list[dict]:
    """`size` rows, half English, half Chinese, none of which was drawn before."""
    rows: list[dict] = []
    while len(rows) < size:
        problem = word_problem(rng, ("en", "zh")[len(rows) % 2])
        if problem.question not in problems.questions:
            problems.questions.add(problem.question)
            rows.append({"id": f"{name}/{len(rows)}", **asdict(problem)})
    return rows


@lru_cache(maxsize=1)
def _world(seed: int, pages: int, hosts: int) -> World:
    return World(seed=seed, num_pages=pages, num_hosts=hosts)


def _problems(seed: int) -> Problems:
    """The benchmarks of this seed, 400 problems a language.

    They are about the last noun of each story only: the templates are few, and with all nouns nearly every honest
    school page would share ten words with some benchmark question.
    """
    rng = random.Random(seed * 77 + 3)
    problems = Problems(benchmark={})
    for language, stories in (("en", ENGLISH_STORIES), ("zh", CHINESE_STORIES)):
        nouns = re.compile(
            "|".join(rf"\b{story.nouns[-1]}\b" if language == "en" else story.nouns[-1] for story in stories)
        )
        items = problems.benchmark[language] = {}
        while len(items) < NUM_BENCHMARK_ITEMS:
            problem = word_problem(rng, language)
            if nouns.search(problem.question) and problem.question not in problems.questions:
                problems.questions.add(problem.question)
                problems.grams |= problem_grams(problem.question)
                items[f"{BENCHMARKS[language]}/test/{len(items)}"] = problem
    return problems


def _write_lines(path: Path, rows: list[dict]) -> None:
    """JSON lines, gzipped (without a time stamp, so that the bytes repeat) where the name says so."""
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def _summary(counts: Counter, cfg: ToyWebConfig) -> str:
    def listed(prefix: str) -> str:
        return ", ".join(
            f"{key.removeprefix(prefix)} {n:,}" for key, n in sorted(counts.items()) if key.startswith(prefix)
        )

    share = counts["math"] / counts["pages"]
    return (
        f"{counts['pages']:,} pages of {cfg.num_hosts:,} hosts in {cfg.num_files} files under {cfg.out}/web\n"
        f"  math {counts['math']:,} ({share:.0%}; {listed('math_')}), "
        f"other {counts['nonmath']:,} ({listed('nonmath_')})\n"
        f"  copies: {listed('copy_')}\n"
        f"  {counts['contaminated']:,} pages show a benchmark problem, {counts['odd']:,} pages stand in odd records, "
        f"{counts['extra']:,} records carry no page\n"
    )


def main(arguments: list[str] | None = None) -> int:
    """Command line: exit code 0, or 2 for a wrong argument."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write, e.g. data/toy")
    parser.add_argument("--pages", type=int, default=3000, help="pages with truth, 100 to 1,000,000 (default 3000)")
    parser.add_argument("--hosts", type=int, help="hosts (default 120 for 3,000 pages, more for more)")
    parser.add_argument("--seed", type=int, default=0, help="another number gives another web (default 0)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    options = parser.parse_args(arguments)
    try:
        cfg = ToyWebConfig(**vars(options))
        counts = write_toy_web(cfg)
    except MotherlodeError as error:
        print(f"toy_web: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"toy_web: cannot write {error.filename or options.out}: {error.strerror}", file=sys.stderr)
        return 2
    print(_summary(counts, cfg), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
