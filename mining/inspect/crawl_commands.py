"""`motherlode crawls` and `motherlode fetch`: what Common Crawl has, and bringing files or records of it here."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mining.crawl.fetch import Outcome, fetch_captures, plan_fetch
from mining.crawl.listing import list_crawls
from mining.crawl.lookup import find_captures
from mining.crawl.settings import CrawlConfig
from mining.crawl.wanted import Wanted
from mining.crawl.whole import plan_sample, sample_warcs
from mining.errors import ConfigError, ShardError
from mining.inspect import console
from mining.inspect.console import Column
from mining.prefixes import Label, read_labels

FETCH_EPILOG = """examples:
  motherlode fetch --crawl CC-MAIN-2024-22 --sample 10 --out web --user_agent 'acme/1.0 (ops@acme.example)'
      ten random WARC files, under web/crawl-data/ (about 1 GB each)
  motherlode fetch --crawl CC-MAIN-2024-22,CC-MAIN-2024-18 --labels labels.csv --out more --user_agent ...
      every page under a prefix labelled math, holes left out; --prefix and --domain say it without a file
  motherlode fetch --captures runs/real/corpus --out again --user_agent ...
      the records that a corpus was made of, by its warc_file, warc_offset and warc_length
--dry_run first says how many records, bytes, requests and hours. The same line again goes on where it stopped.
Then: ingest.warcs: [more/web/*.warc.gz] (records) or [web/crawl-data/**/*.warc.gz] (files).
exit codes: 0 all there; 1 some records failed, run the same line again; 2 a wrong argument or setting"""

_CRAWL_COLUMNS = (
    Column("crawl", lambda row: row["id"], is_text=True),
    Column("name", lambda row: row["name"], is_text=True),
    Column("from", lambda row: row["first"][:10], is_text=True),
    Column("to", lambda row: row["last"][:10], is_text=True),
)


def add_crawls_options(parser: argparse.ArgumentParser) -> None:
    """The arguments of `crawls`."""
    _add_server(parser, CrawlConfig(), ("index_server", "user_agent"))


def add_fetch_options(parser: argparse.ArgumentParser) -> None:
    """The arguments of `fetch`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = FETCH_EPILOG
    parser.add_argument("--out", required=True, metavar="DIR", help="where to; a folder that fetch alone writes")
    what = parser.add_argument_group("what")
    what.add_argument("--crawl", default="", metavar="A,B", help="crawls by name, see motherlode crawls")
    what.add_argument("--sample", type=int, metavar="N", help="N random WARC files of one crawl")
    what.add_argument("--seed", type=int, default=0, metavar="S", help="another seed draws other files (0)")
    what.add_argument("--prefix", action="append", default=[], metavar="P", help="pages under host/path; repeatable")
    what.add_argument("--domain", action="append", default=[], metavar="D", help="pages of a host and its subdomains")
    what.add_argument("--labels", metavar="FILE", help="pages under the prefixes that a labels.csv calls math")
    what.add_argument(
        "--captures", action="append", default=[], metavar="P",
        help="records by a Parquet table with url, warc_file, warc_offset, warc_length: a file, corpus/, pages/",
    )  # fmt: skip
    parser.add_argument("--dry_run", action="store_true", help="say what it would cost; fetch no record or file")
    how = parser.add_argument_group("how")
    cfg = CrawlConfig()
    how.add_argument(
        "--index", choices=("columnar", "cdx"), default=cfg.index,
        help="where captures are looked up: the Parquet index (many prefixes), or the CDX API (few) (%(default)s)",
    )  # fmt: skip
    _add_server(how, cfg, ("source", "index_server", "user_agent"))
    how.add_argument(
        "--rate", type=float, default=cfg.data_rate, metavar="R",
        help="requests a second to the source, all processes of this machine together (%(default)s)",
    )  # fmt: skip
    how.add_argument(
        "--threads",
        type=int,
        default=cfg.threads,
        metavar="N",
        help="requests that are under way at once (%(default)s)",
    )


def _add_server(group: Any, cfg: CrawlConfig, names: Sequence[str]) -> None:
    helps = {
        "source": "base URL, s3://commoncrawl, or a folder that crawl-data/ is in (%(default)s)",
        "index_server": "server of collinfo.json and the CDX API (%(default)s)",
        "user_agent": "who asks, with a mail or web address; Common Crawl's servers need it",
    }
    for name in names:
        kind = "TEXT" if name == "user_agent" else "URL"
        group.add_argument(f"--{name}", default=getattr(cfg, name), metavar=kind, help=helps[name])


def crawls(options: argparse.Namespace) -> int:
    """Print all crawls, newest first."""
    found = list_crawls(CrawlConfig(index_server=options.index_server, user_agent=options.user_agent))
    rows = [dataclasses.asdict(crawl) for crawl in found]
    if options.json:
        renamed = [{"id": row["id"], "name": row["name"], "from": row["first"], "to": row["last"]} for row in rows]
        console.print_json({"crawls": renamed})
    else:
        console.print_table(rows, _CRAWL_COLUMNS)
    return 0


def fetch(options: argparse.Namespace) -> int:
    """Fetch, or say what it would cost; the exit code."""
    try:
        return _fetch(options)
    except ShardError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; what was fetched is kept: run the same line again to go on", file=sys.stderr)
        return 130


def _fetch(options: argparse.Namespace) -> int:
    cfg = CrawlConfig(
        source=options.source, index_server=options.index_server, index=options.index, user_agent=options.user_agent,
        data_rate=options.rate, threads=options.threads,
    )  # fmt: skip
    out = Path(options.out)
    names = [name for name in options.crawl.split(",") if name]
    _check(options, names)
    if options.sample:
        if options.dry_run:
            return _say_sample(options, plan_sample(cfg, names[0], options.sample, out, seed=options.seed))
        return _say(options, sample_warcs(cfg, names[0], options.sample, out, seed=options.seed, progress=_progress))
    captures: list[Path | str] = list(options.captures)
    if names:
        wanted = Wanted(_labels(options.labels), tuple(options.prefix), tuple(options.domain))
        captures.append(find_captures(cfg, wanted, names, out, progress=_progress))
    if options.dry_run:
        return _say_plan(options, dataclasses.asdict(plan_fetch(cfg, captures, out)))
    return _say(options, fetch_captures(cfg, captures, out, progress=_progress))


def _check(options: argparse.Namespace, names: Sequence[str]) -> None:
    """ConfigError where the arguments do not say one thing."""
    looked_up = bool(options.prefix or options.domain or options.labels)
    if sum((bool(options.sample), looked_up, bool(options.captures))) != 1:
        raise ConfigError("say what to fetch: one of --sample N, --prefix/--domain/--labels, or --captures TABLE")
    if options.sample is not None and options.sample < 1:
        raise ConfigError(f"--sample {options.sample}: give 1 or more")
    if options.sample and len(names) != 1:
        raise ConfigError(f"--sample draws from one crawl; --crawl names {len(names)} (motherlode crawls lists them)")
    if looked_up and not names:
        raise ConfigError("--prefix, --domain and --labels need --crawl A,B (motherlode crawls lists them)")
    if options.captures and names:
        raise ConfigError("--captures has its crawls in its paths; leave out --crawl")


def _labels(path: str | None) -> tuple[Label, ...]:
    if not path:
        return ()
    try:
        return tuple(read_labels(Path(path).read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--labels {path}: cannot be read ({error}); give a labels.csv") from None


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _say_plan(options: argparse.Namespace, plan: dict[str, Any]) -> int:
    if options.json:
        console.print_json(plan)
        return 0
    needed, asked = plan["bytes_needed"] / 1e6, plan["bytes_asked"] / 1e6
    print(
        f"{plan['records']:,} records to fetch: {plan['requests']:,} requests for {needed:,.1f} MB, {asked:,.1f} MB "
        f"with what lies between; at least {plan['hours']:.2f} hours at {options.rate:g} requests/s"
    )
    return 0


def _say_sample(options: argparse.Namespace, paths: list[str]) -> int:
    if options.json:
        console.print_json({"files": paths})
    else:
        print("\n".join([f"{len(paths):,} files to fetch, about 1 GB each on Common Crawl's server:", *paths]))
    return 0


def _say(options: argparse.Namespace, outcome: Outcome) -> int:
    """Print what came of it; 1 where something failed."""
    what = "files" if options.sample else "records"
    if options.json:
        console.print_json({**dataclasses.asdict(outcome), "warcs": [str(path) for path in outcome.warcs]})
    else:
        traffic = outcome.traffic
        print(
            f"{outcome.fetched:,} of {outcome.wanted:,} {what} are here ({outcome.new_fetched:,} new), "
            f"{outcome.absent:,} absent, {outcome.failed:,} failed; {traffic.requests:,} requests, "
            f"{traffic.bytes_received / 1e6:,.1f} MB, {outcome.seconds:,.0f} s; {len(outcome.warcs):,} WARC files "
            f"in {options.out}"
        )
    if not outcome.failed:
        return 0
    reasons = ", ".join(f"{reason} {number:,}" for reason, number in outcome.reasons.items())
    print(f"failed or absent: {reasons}", file=sys.stderr)
    if outcome.gave_up:
        print(f"stopped: {outcome.gave_up}", file=sys.stderr)
    print("run the same line again: it takes up what failed", file=sys.stderr)
    return 1
