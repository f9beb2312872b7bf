"""The `motherlode` command: what a run found, and why.

Exit codes: 0 done; 1 explain found no such page, doctor found something missing, or fetch did not get everything; 2 a
wrong argument or a damaged run directory, with one line on stderr.
"""

import argparse
import dataclasses
import difflib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from mining.errors import ConfigError, MotherlodeError
from mining.inspect import classify, console, crawl_commands, formats, tables
from mining.inspect.tables import Run, open_run
from mining.prefixes import LABELS, SYNONYMS, Label
from mining.store import now


class _Parser(argparse.ArgumentParser):
    """argparse that names the nearest command or option instead of listing them all."""

    def error(self, message: str) -> NoReturn:
        wrong = _between(message, "invalid choice: '", "'") or _between(message, "unrecognized arguments: ", " ")
        names = [name for action in self._actions for name in (action.choices or action.option_strings)]
        near = difflib.get_close_matches(wrong, names, n=1, cutoff=0.5) if wrong else []
        hint = f"; did you mean {near[0]}?" if near else f"; see {self.prog} --help"
        self.exit(2, f"motherlode: {message}{hint}\n")


def _between(text: str, start: str, end: str) -> str:
    return text.partition(start)[2].partition(end)[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    parser = make_parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        code = options.command(options)
        sys.stdout.flush()
    except MotherlodeError as error:
        print(f"motherlode: {formats.printable(error)}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `| head` has read enough; what is left in the buffer must not raise again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def make_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = _Parser(prog="motherlode", description="Look at a mining run: RUN is the run_dir of pipelines/mine.py.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, what: str, example: str, command: Any, *, run: bool = True, json: bool = True) -> _Parser:
        one = commands.add_parser(
            name,
            help=what,
            description=what[0].upper() + what[1:] + ".",
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        one.set_defaults(command=command, parser=one)
        if run:
            one.add_argument("run", metavar="RUN", help="run directory")
        if json:
            one.add_argument("--json", action="store_true", help="print JSON instead of a table")
        return one

    one = add("rounds", "what each round collected", "motherlode rounds runs/demo", _rounds)
    one.add_argument("--labels", metavar="FILE", help="add precision, recall and F1 on these labelled pages (JSONL)")

    one = add(
        "domains",
        "the hosts of a round, with the share of their pages that was collected",
        "motherlode domains runs/demo --round 2 --sort uncollected --limit 20 --candidates",
        _domains,
    )
    _add_round(one)
    one.add_argument("--limit", type=_positive, default=50, metavar="N", help="at most N hosts (50)")
    one.add_argument("--candidates", action="store_true", help="only hosts that the candidate rule surfaced")
    one.add_argument("--sort", choices=tables.DOMAIN_ORDERS, default="collected", help="order (collected)")

    one = add(
        "prefixes",
        "the URL prefixes of a domain, with what labelling them math would add",
        "motherlode prefixes runs/demo --domain blog.example --round 1",
        _prefixes,
    )
    one.add_argument("--domain", metavar="D", help="a host or a registrable domain; without it, all of them")
    _add_round(one)
    one.add_argument("--limit", type=_positive, default=50, metavar="N", help="at most N prefixes (50)")
    one.add_argument("--proposed", action="store_true", help="only prefixes proposed for a label")
    one.add_argument("--sort", choices=tables.PREFIX_ORDERS, default="uncollected", help="order (uncollected)")

    one = add(
        "label",
        "say whether the pages under a URL prefix are math, for the next round",
        "motherlode label runs/demo blog.example/math math --note lectures",
        _label,
        json=False,
    )
    one.add_argument("prefix", metavar="PREFIX", help="host/path; the longest labelled prefix over a page counts")
    one.add_argument("label", choices=(*LABELS, *SYNONYMS), help="math or not_math; in or out mean the same")
    one.add_argument("--note", default="", metavar="TEXT", help="why, for whoever reads the file later")
    one.add_argument("--annotator", default="person", metavar="NAME", help="who says so (person)")

    one = add(
        "sample",
        "random pages that a round collected, or left",
        "motherlode sample runs/demo --host blog.example --not-collected --n 3",
        _sample,
    )
    _add_round(one)
    one.add_argument("--host", metavar="H", help="only pages of this host")
    one.add_argument("--not-collected", action="store_true", help="draw from the pages that the round left")
    one.add_argument("--n", type=_positive, default=5, metavar="N", help="pages to draw (5)")
    one.add_argument("--seed", type=int, default=0, metavar="S", help="another seed draws other pages (0)")

    one = add(
        "explain",
        "everything that happened to one page, and why it is in the corpus or not",
        "motherlode explain runs/demo https://blog.example/math/limits",
        _explain,
    )
    one.add_argument(
        "url", metavar="URL", help="the page's URL as captured, one with the same canonical form, or page_id"
    )

    one = add("report", "write one self-contained HTML file", "motherlode report runs/demo", _report, json=False)
    one.add_argument("--output", metavar="FILE", help="where to (RUN/report.html)")
    one.add_argument("--labels", metavar="FILE", help="add precision, recall and F1 on these labelled pages (JSONL)")
    one.add_argument("--domains", type=_positive, default=40, metavar="N", help="hosts shown of each round (40)")

    one = add(
        "evaluate",
        "precision, recall and F1 of each round and of the corpus on labelled pages",
        "motherlode evaluate runs/real --labels labels.jsonl --stratum uniform",
        _evaluate,
    )
    one.add_argument(
        "--labels", required=True, metavar="FILE", help='JSONL of {"url", "label": "math" | "nonmath", "language"}'
    )
    one.add_argument("--stratum", metavar="S", help="only labels of this stratum")
    one.add_argument("--seed", type=int, default=0, metavar="S", help="of the bootstrap (0)")

    one = add(
        "contamination",
        "the benchmark items found in collected pages, and what was not looked for",
        "motherlode contamination runs/real --benchmark math.test --limit 10",
        _contamination,
    )
    one.add_argument("--benchmark", metavar="B", help="only items of this benchmark file")
    one.add_argument("--limit", type=_positive, default=20, metavar="N", help="at most N items (20)")

    one = add(
        "extract",
        "the text that ingest would take from an HTML file",
        "motherlode extract page.html --url https://blog.example/math/limits",
        _extract,
        run=False,
    )
    one.add_argument("file", metavar="FILE", help="an HTML file, - for standard input")
    one.add_argument("--url", default="", metavar="U", help="the address it came from")
    one.add_argument("--charset", metavar="C", help="its encoding, as an HTTP header would state it")

    one = add(
        "annotate",
        "label URL prefixes and audit pages on a web page of this machine",
        "motherlode annotate runs/demo --annotator ada",
        _annotate,
        json=False,
    )
    one.add_argument("--annotator", metavar="NAME", help="who labels (your login name); can be changed on the page")
    one.add_argument("--labels", metavar="FILE", help="the labels.csv to write (the one that the run reads)")
    one.add_argument("--port", type=int, default=8765, metavar="P", help="port on 127.0.0.1, 0 for any free one (8765)")
    one.add_argument("--no-browser", action="store_true", help="print the address and open no browser")

    one = add(
        "classifier",
        "train the page classifier from files, and test it on hosts and on pages held out",
        "motherlode classifier --positive math.jsonl.gz --negative other.jsonl.gz --out math.bin",
        classify.command,
        run=False,
    )
    classify.add_options(one)

    one = add(
        "crawls",
        "the crawls of Common Crawl, newest first",
        "motherlode crawls --user_agent 'acme/1.0 (ops@acme.example)'",
        crawl_commands.crawls,
        run=False,
    )
    crawl_commands.add_crawls_options(one)

    one = add(
        "fetch",
        "bring WARC files or single records of Common Crawl here, by sample, prefix, domain or pointer",
        "",
        crawl_commands.fetch,
        run=False,
    )
    crawl_commands.add_fetch_options(one)

    one = add("doctor", "what this machine has and lacks, with remedies", "motherlode doctor", _doctor, run=False)
    one.add_argument("--run_dir", default=".", metavar="DIR", help="where runs would be written (.)")
    return parser


def _add_round(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--round", type=_positive, metavar="K", help="the round (the last one)")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: give 1 or more")
    return number


def _say_what_is_left(run: Run) -> None:
    """A line on stderr where the run is not finished, so that nobody takes its tables for the end."""
    left = ", ".join(run.stages_left())
    number = run.open_round()
    if number:
        remedy = f"motherlode prefixes {run.path} shows its prefixes; label them, or run pipelines/mine.py on"
        print(f"note: round {number} is not finished, it may wait for labels: {remedy}", file=sys.stderr)
    if left:
        print(f"note: this run is not finished; not done yet: {left}", file=sys.stderr)


def _rounds(options: argparse.Namespace) -> int:
    run = open_run(options.run)
    rows: list[dict[str, Any]] = [{"round": number, **run.metrics[number]} for number in run.rounds]
    if options.labels:
        from mining.inspect.evaluate import evaluate, read_labels

        found = evaluate(run, read_labels(options.labels))
        for row, figures in zip(rows, found["rounds"], strict=True):
            row |= {key: figures[key] for key in ("precision", "recall", "f1")}
    if options.json:
        found = {"rounds": rows, "stages": run.stages, "made_by": tables.made_by(run)}
        console.print_json({**found, "stages_left": run.stages_left()})
        return 0
    if rows:
        more = console.QUALITY_COLUMNS if options.labels else (console.NEW_HOSTS_COLUMN,)
        console.print_table(rows, console.ROUND_COLUMNS + more)
        console.print_text("cut: logit of P(math), 0 is even odds; overlap: share that the round before had collected")
    else:
        console.print_text("No round is finished yet.")
    if run.stages:
        console.print_table(tables.made_by(run), console.STAGE_COLUMNS, title="What made each stage")
    _say_what_is_left(run)
    return 0


def _domains(options: argparse.Namespace) -> int:
    run = open_run(options.run)
    number = run.round_number(options.round)
    rows = tables.domains(run, number, sort=options.sort, limit=options.limit, candidates=options.candidates)
    if options.json:
        console.print_json({"round": number, "domains": rows})
        return 0
    console.print_table(rows, console.DOMAIN_COLUMNS, title=f"Hosts of round {number}, by {options.sort}")
    if len(rows) == options.limit:
        console.print_text(f"the first {len(rows)}; --limit shows more")
    return 0


def _prefixes(options: argparse.Namespace) -> int:
    run = open_run(options.run)
    number = run.round_number(options.round)
    rows = tables.prefixes(
        run, number, domain=options.domain, sort=options.sort, limit=options.limit, proposed=options.proposed
    )
    if options.json:
        console.print_json({"round": number, "domain": options.domain, "prefixes": rows})
        return 0
    if not rows:
        where = f"under {options.domain} " if options.domain else ""
        console.print_text(f"No prefix {where}was looked at in round {number}: it has those of candidate hosts alone.")
        return 0
    console.print_table(rows, console.PREFIX_COLUMNS, title=f"Prefixes of round {number}, by {options.sort}")
    if len(rows) == options.limit:
        console.print_text(f"the first {len(rows)}; --limit shows more")
    return 0


def _label(options: argparse.Namespace) -> int:
    from mining.inspect.labelling import add_label, covered, labels_file

    run = open_run(options.run)
    file = labels_file(run)
    label = SYNONYMS.get(options.label, options.label)
    older = add_label(file, Label(options.prefix, label, options.annotator, now(), options.note))
    pages, left = covered(run, options.prefix)
    instead = f", it was {older.label}" if older and older.label != label else ""
    print(f"{formats.printable(options.prefix)}: {label}{instead}; {pages:,} pages, {left:,} not collected ({file})")
    if not pages:
        print("note: the run has no page under this prefix; motherlode prefixes lists those it has", file=sys.stderr)
    return 0


def _sample(options: argparse.Namespace) -> int:
    run = open_run(options.run)
    number = run.round_number(options.round)
    rows = tables.sample(
        run, number, n=options.n, seed=options.seed, host=options.host, collected=not options.not_collected
    )
    if options.json:
        console.print_json({"round": number, "collected": not options.not_collected, "pages": rows})
        return 0
    if not rows:
        where = f" of host {options.host}" if options.host else ""
        console.print_text(f"Round {number} has no such page{where}.")
    for row in rows:
        console.print_text(formats.printable(row["url"]), style="bold")
        about = f"score {row['score']:+.2f}, {row['n_tokens']:,} tokens, {row['language']}"
        console.print_text(f"{about}: {formats.printable(row['title'])}")
        beginning = [line.strip() for line in row["text"].splitlines() if line.strip()][:5]
        console.print_text("".join(f"  {line[:400]}\n" for line in beginning))
    return 0


def _explain(options: argparse.Namespace) -> int:
    from mining.inspect.explain import explain

    story = explain(open_run(options.run), options.url)
    if options.json:
        console.print_json(story)
    elif story["found"]:
        console.print_text(f"{story['verdict']}\n", style="bold")
        console.print_story(console.story_lines(story))
    else:
        console.print_text(story["verdict"])
        if story["nearest"]:
            console.print_text("Nearest URLs of this run:\n" + "\n".join(f"  {url}" for url in story["nearest"]))
    return 0 if story["found"] else 1


def _report(options: argparse.Namespace) -> int:
    from mining.inspect.evaluate import evaluate, read_labels
    from mining.inspect.report import write_report

    run = open_run(options.run)
    evaluation = evaluate(run, read_labels(options.labels)) if options.labels else None
    file = Path(options.output) if options.output else run.path / "report.html"
    write_report(run, file, num_domains=options.domains, evaluation=evaluation)
    print(file)
    _say_what_is_left(run)
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from mining.inspect.evaluate import evaluate, read_labels, table_rows

    run = open_run(options.run)
    found = evaluate(run, read_labels(options.labels, stratum=options.stratum), seed=options.seed)
    if options.json:
        console.print_json({"labels": options.labels, "stratum": options.stratum, **found})
        return 0
    if not found["rounds"]:
        console.print_text("No round is finished yet.")
        return 0
    console.print_table(table_rows(found), console.EVALUATION_COLUMNS)
    console.print_text(
        f"{found['n_labels']:,} labels, {found['n_absent']:,} of them on no page of the run (not collected). "
        "In parentheses: 95% intervals (Wilson; F1: bootstrap). Best F1 is over all cuts, chosen on these labels: an "
        "upper bound."
    )
    return 0


def _contamination(options: argparse.Namespace) -> int:
    from mining.inspect.contamination import leaked_items, not_sought, notes

    run = open_run(options.run)
    rows = leaked_items(run, benchmark=options.benchmark, limit=options.limit)
    report = not_sought(run)
    if options.json:
        console.print_json({"items": rows, **report})
        return 0
    if rows:
        console.print_table(rows, console.LEAK_COLUMNS, title="Benchmark items in collected pages, longest run first")
        console.print_text(
            "units: words, numbers and signs with a name in the longest agreeing run; 10 are often a phrase"
        )
    else:
        console.print_text("No benchmark item was found in the collected pages.")
    console.print_text("\n".join(notes(report)))
    _say_what_is_left(run)
    return 0


def _extract(options: argparse.Namespace) -> int:
    from mining.html.charset import decode
    from mining.html.extract import ExtractConfig, extract

    try:
        payload = sys.stdin.buffer.read() if options.file == "-" else Path(options.file).read_bytes()
    except OSError as error:
        raise ConfigError(f"{options.file}: cannot be read ({error.strerror}); give an HTML file or -") from error
    content_type = f"text/html; charset={options.charset}" if options.charset else None
    html, charset = decode(payload, http_content_type=content_type)
    found = extract(html, options.url, ExtractConfig())
    if options.json:
        console.print_json({"charset": charset, **dataclasses.asdict(found)})
        return 0
    console.print_text(formats.printable(found.title), style="bold")
    sys.stdout.flush()
    sys.stdout.buffer.write((formats.printable(found.text, keep_lines=True) + "\n").encode("utf-8", "replace"))
    print(f"{charset}; formulas: {found.formulas_kept} kept of {found.formulas_found}", file=sys.stderr)
    return 0


def _annotate(options: argparse.Namespace) -> int:
    from mining.inspect.web import Settings, login_name, serve

    if not 0 <= options.port <= 65535:
        raise ConfigError(f"--port {options.port}: give 0 to 65535")
    labels = Path(options.labels) if options.labels else None
    settings = Settings(Path(options.run), options.port, options.annotator or login_name(), labels)
    serve(settings, open_browser=not options.no_browser)
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from mining.inspect import doctor

    where = Path(options.run_dir)
    if not where.is_dir():
        raise ConfigError(f"--run_dir {where}: no such directory; give one that exists")
    found = doctor.checks(where.resolve())
    if options.json:
        console.print_json({"checks": [dataclasses.asdict(check) for check in found]})
    else:
        console.print_table([dataclasses.asdict(check) for check in found], console.CHECK_COLUMNS)
    return 1 if any(check.status == "missing" for check in found) else 0


if __name__ == "__main__":
    sys.exit(main())
