"""Extract a corpus again from its provenance: the same pages, fetched once more and read by the extraction of today.

    python pipelines/reextract.py --config configs/mine/real.yaml --corpus runs/real --run_dir runs/real-again \\
        --commoncrawl.source https://data.commoncrawl.org --commoncrawl.user_agent 'motherlode (you@example.org)'
    python pipelines/reextract.py --help     every setting, its meaning and its default

Every row of a corpus says where its bytes are: WARC file, offset, length. They are fetched by byte ranges (or read
from a folder that holds the WARC files: --commoncrawl.source D/web), ingested with the present settings, and the
selection is carried over: score and first round of each page stand, no classifier runs. Decontamination and export are
done again, because the texts are new. The same line again takes up what is left.

Exit codes: those of mine.py; 1 also where records failed and --accept_failed is not given.
"""

import dataclasses
import logging
import sys
from dataclasses import dataclass, field
from pathlib import Path

from mining.carry import carry_selection
from mining.config import MineConfig, load_config, mine_part
from mining.crawl.fetch import fetch_captures
from mining.crawl.settings import CrawlConfig
from mining.errors import ConfigError, ShardError, exit_code
from mining.lineage import Lineage, check_changes
from mining.store import Store

logger = logging.getLogger("mine")


@dataclass(frozen=True)
class ReextractConfig(MineConfig):
    """Extract a corpus again from its provenance."""

    corpus: str = ""
    """Run directory whose corpus is extracted again; it is only read."""
    accept_failed: bool = False
    """Go on without the records that could not be fetched in all attempts."""
    commoncrawl: CrawlConfig = field(default_factory=CrawlConfig)
    """Where the records are, and how gently they are asked for."""


def run(cfg: ReextractConfig) -> None:
    """Fetch, ingest, carry the selection over, decontaminate, export."""
    corpus = Path(cfg.corpus) / "corpus"
    if not cfg.corpus or not any(corpus.glob("*.parquet")):
        raise ConfigError(f"corpus={cfg.corpus}: no corpus/*.parquet there; give a run directory whose export is done")
    if Path(cfg.corpus).absolute() == Path(cfg.run_dir).absolute():
        raise ConfigError(f"run_dir={cfg.run_dir}: the corpus to extract again lies there; give another --run_dir")
    store = Store(cfg.run_dir)
    store.open()
    with store.locked():
        store.start(dataclasses.asdict(mine_part(cfg)))
        fetch(cfg, corpus, store)
        mine_on(cfg, corpus, store)
    print(f"done: {store.path}/corpus")


def fetch(cfg: ReextractConfig, corpus: Path, store: Store) -> None:
    """Bring the corpus' records into fetched/. ShardError where some are wanting, unless that is accepted."""
    outcome = fetch_captures(cfg.commoncrawl, [corpus], store.path / "fetched", progress=say)
    if outcome.gave_up:
        raise ShardError(f"reextract: {outcome.gave_up}; what was fetched is kept: run the same line again")
    wanting = outcome.absent + outcome.failed
    logger.info("reextract: %s of %s records fetched", f"{outcome.fetched:,}", f"{outcome.wanted:,}")
    if not outcome.fetched or (wanting and not cfg.accept_failed):
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(outcome.reasons.items()))
        raise ShardError(
            f"reextract: {wanting:,} of {outcome.wanted:,} records could not be had from {cfg.commoncrawl.source} "
            f"({reasons}; which: {store.path}/fetched/outcomes); run the same line again to take them up, or add "
            "--accept_failed true"
        )


def mine_on(cfg: ReextractConfig, corpus: Path, store: Store) -> None:
    """Ingest what was fetched, carry the selection over, and run the last stages."""
    from mining.spark.failures import explained
    from mining.spark.run import Run, look_up_inputs
    from mining.spark.session import start_session

    warcs = dataclasses.replace(cfg.ingest, warcs=[str(store.path / "fetched" / "web" / "*.warc.gz")])
    mining = dataclasses.replace(mine_part(cfg), ingest=warcs, stages="ingest,decontaminate,export")
    inputs = look_up_inputs(mining)
    check_changes(Lineage(store, mining, inputs))
    session = start_session(cfg.spark, scale=cfg.scale)
    try:
        with explained("reextract", store.path):
            Run(store, session, dataclasses.replace(mining, stages="ingest"), inputs).all()
            found, total = carry_selection(corpus, store)
            logger.info("reextract: %s of %s pages of the corpus extracted again", f"{found:,}", f"{total:,}")
            Run(store, session, dataclasses.replace(mining, stages="decontaminate,export"), inputs).all()
    finally:
        session.stop()


def say(text: str) -> None:
    logger.info("reextract: %s", text)


def main() -> int:
    """Run and turn errors into one clear message and an exit code."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    logger.setLevel(logging.INFO)
    return exit_code(lambda: run(load_config(config_class=ReextractConfig)), kept="what was fetched and finished")


if __name__ == "__main__":
    sys.exit(main())
