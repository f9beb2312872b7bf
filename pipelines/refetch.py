"""Recall past the local crawl: fetch every capture under the labelled prefixes from Common Crawl, and mine on with it.

    python pipelines/refetch.py --config configs/mine/real.yaml --run_dir runs/real --crawls '[CC-MAIN-2024-22]' \\
        --commoncrawl.user_agent 'motherlode (you@example.org)' --dry_run true      what it would fetch, and how long
    spark-submit pipelines/refetch.py ... the same without --dry_run                fetch it, and one more round
    python pipelines/refetch.py --help                                              every setting

On a finished run: its labels say which prefixes hold the subject; the crawls' indexes say what was captured under
them; what the run holds already is left out; the rest is fetched by byte ranges, ingested and deduplicated against
the run as `additions/01`, and the next round learns from it and scores it with all other pages. Then mine.py's last
stages follow. Every wanted record ends as fetched, absent or failed (additions/01/fetched/outcomes). The same line
again takes up what is left; after the end, it looks for captures that the run does not hold yet.

Exit codes: those of mine.py; 1 also where records failed and --accept_failed is not given.
"""

import logging
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mining.config import MineConfig, load_config, mine_part
from mining.crawl.fetch import Outcome, fetch_captures, plan_fetch
from mining.crawl.held import write_missing
from mining.crawl.lookup import find_captures
from mining.crawl.settings import CrawlConfig
from mining.crawl.wanted import Wanted
from mining.errors import ConfigError, ShardError, exit_code
from mining.lineage import Inputs, Lineage, check_changes
from mining.store import Addition, Store

logger = logging.getLogger("mine")


@dataclass(frozen=True)
class RefetchConfig(MineConfig):
    """Fetch what Common Crawl has under a run's labelled prefixes, and mine on with it."""

    stages: str = "rounds,decontaminate,export"
    """Stages of mine.py that follow."""
    crawls: list[str] = field(default_factory=list)
    """Crawls whose indexes are searched, for example [CC-MAIN-2024-22]; `motherlode crawls` lists them."""
    captures: Literal["newest", "all"] = "newest"
    """newest: of each page the newest capture, where the run holds none of its URL; all: every capture but those held,
    so that deduplication may choose."""
    accept_failed: bool = False
    """Go on without the records that could not be fetched in all attempts."""
    dry_run: bool = False
    """Look the captures up and say what fetching them would take; the look-up is kept for the real run."""
    commoncrawl: CrawlConfig = field(default_factory=CrawlConfig)
    """Where from, and how gently."""


def run(cfg: RefetchConfig) -> None:
    """Look up, fetch, ingest and deduplicate, and run the stages that follow."""
    from mining.spark.run import look_up_inputs

    check(cfg)
    mining = mine_part(cfg)
    inputs = look_up_inputs(mining)
    store = Store(cfg.run_dir)
    store.open()
    with store.locked():
        lineage = Lineage(store, mining, inputs)
        check_changes(lineage)
        number = len(store.additions()) + 1
        addition = Addition(number, store.addition_dir(number), last_done_round(store))
        missing = look_up(cfg, lineage, addition)
        if cfg.dry_run:
            show_plan(cfg, addition, missing)
            return
        outcome = fetch(cfg, addition, missing) if missing else None
        mine_on(cfg, store, inputs, addition, outcome)
    print(f"done: {store.path}  (motherlode rounds {cfg.run_dir}; motherlode report {cfg.run_dir})")


def check(cfg: RefetchConfig) -> None:
    """ConfigError for settings that cannot work; before anything is asked or written."""
    if not cfg.crawls:
        raise ConfigError("crawls is empty: name the crawls to search, --crawls '[CC-MAIN-2024-22]'; motherlode crawls")
    if cfg.dedup.scope != "all":
        raise ConfigError(
            f"dedup.scope={cfg.dedup.scope}: what is fetched is compared with the run; mine with scope all"
        )


def last_done_round(store: Store) -> int:
    """The number of the last finished round. ConfigError where there is none."""
    stages = store.manifest["stages"]
    done = [int(name[6:]) for name, one in stages.items() if name.startswith("round-") and one["state"] == "done"]
    if not done:
        raise ConfigError(f"{store.path}: no round is finished; run pipelines/mine.py first")
    return max(done)


def look_up(cfg: RefetchConfig, lineage: Lineage, addition: Addition) -> Path | None:
    """The captures under prefixes labelled math that the run does not hold, as a file; None where there are none."""
    labels = lineage.labels(addition.after_round + 1)
    if not any(label.label == "math" for label in labels):
        raise ConfigError(
            f"{lineage.store.path}: no prefix is labelled math, so there is nothing to look for; "
            f"motherlode annotate {cfg.run_dir}, or motherlode label {cfg.run_dir} PREFIX math"
        )
    place = addition.path
    if not (place / "manifest.json").exists():  # a run directory of its own, from its first file on
        own = Store(place)
        own.open()
        own.start(asdict(lineage.cfg))
    logger.info("refetch: looking for captures under %d labelled prefixes in %s", len(labels), ", ".join(cfg.crawls))
    found = find_captures(cfg.commoncrawl, Wanted(labels=tuple(labels)), cfg.crawls, place / "fetched", progress=say)
    earlier = [lineage.store.path, *(one.path for one in lineage.store.additions())]
    counts = write_missing(found, place / "missing.parquet", held=earlier, newest_only=cfg.captures == "newest")
    logger.info(
        "refetch: %s captures found; %s are held, %s were tried before, %s are older than another; %s to fetch",
        *(f"{value:,}" for value in (counts.found, counts.held, counts.tried, counts.older, counts.missing)),
    )  # fmt: skip
    return place / "missing.parquet" if counts.missing else None


def show_plan(cfg: RefetchConfig, addition: Addition, missing: Path | None) -> None:
    """Print what fetching would take."""
    if missing is None:
        print("nothing to fetch: the run holds every capture under its labelled prefixes")
        return
    plan = plan_fetch(cfg.commoncrawl, missing, addition.path / "fetched")
    print(
        f"{plan.records:,} records, {plan.bytes_needed:,} bytes ({plan.bytes_asked:,} with the gaps between), "
        f"{plan.requests:,} requests, {plan.hours:.1f} hours at {cfg.commoncrawl.data_rate:g} requests/s"
    )


def fetch(cfg: RefetchConfig, addition: Addition, missing: Path) -> Outcome:
    """Fetch the missing captures. ShardError where some failed, unless that is accepted, or none is there."""
    outcome = fetch_captures(cfg.commoncrawl, missing, addition.path / "fetched", progress=say)
    counts = (outcome.fetched, outcome.wanted, outcome.absent, outcome.failed)
    logger.info("refetch: %s of %s records fetched, %s absent, %s failed", *(f"{value:,}" for value in counts))
    if outcome.gave_up:
        raise ShardError(f"refetch: {outcome.gave_up}; what was fetched is kept: run the same line again")
    if outcome.failed and not cfg.accept_failed:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(outcome.reasons.items()))
        raise ShardError(
            f"refetch: {outcome.failed:,} of {outcome.wanted:,} records failed ({reasons}; which: "
            f"{addition.path}/fetched/outcomes); run the same line again to take them up, or add --accept_failed true"
        )
    if not outcome.fetched:
        raise ShardError(f"refetch: none of {outcome.wanted:,} records is on {cfg.commoncrawl.source} any more")
    return outcome


def mine_on(cfg: RefetchConfig, store: Store, inputs: Inputs, addition: Addition, outcome: Outcome | None) -> None:
    """Ingest and deduplicate what was fetched, enter it in the run's manifest, and run the stages that follow."""
    from mining.spark.failures import explained
    from mining.spark.run import Run
    from mining.spark.session import start_session

    mining, clock = mine_part(cfg), time.monotonic()
    store.start(asdict(mining))
    session = start_session(cfg.spark, scale=cfg.scale)
    try:
        with explained("refetch", store.path):
            main = Run(store, session, mining, inputs)
            if outcome is not None:
                part = main.added(addition)
                part.all()
                store.add(addition, **facts(part.store, outcome), crawls=cfg.crawls, seconds=time.monotonic() - clock)
            else:
                logger.info("refetch: nothing new to fetch")
            main.all()
    finally:
        session.stop()


def facts(part: Store, outcome: Outcome) -> dict[str, Any]:
    """What the run's manifest says of an addition, in the words of a stage."""
    ingest, dedup = part.manifest["stages"]["ingest"], part.manifest["stages"]["dedup"]
    return {
        "state": "done",
        "in": ingest["in"],
        "kept": dedup["kept"],
        "dropped": {**ingest["dropped"], **dedup["dropped"]},
        "records": {"wanted": outcome.wanted, "fetched": outcome.fetched, "absent": outcome.absent,
                    "failed": outcome.failed},
    }  # fmt: skip


def say(text: str) -> None:
    logger.info("refetch: %s", text)


def main() -> int:
    """Run and turn errors into one clear message and an exit code."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    logger.setLevel(logging.INFO)
    return exit_code(lambda: run(load_config(config_class=RefetchConfig)), kept="what was fetched and finished")


if __name__ == "__main__":
    sys.exit(main())
