"""Mine a domain corpus out of WARC files: ingest, dedup, recall rounds, decontaminate, export.

    spark-submit pipelines/mine.py --config configs/mine/demo.yaml
    spark-submit pipelines/mine.py --config configs/mine/real.yaml --data_dir D --run_dir runs/real
    spark-submit pipelines/mine.py --config C --run_dir R --stages rounds,decontaminate,export --rounds.max_rounds 5
    python pipelines/mine.py ... --dry_run true      the plan: stages, inputs, partitions, memory, the spark-submit line
    python pipelines/mine.py --help                  every setting, its meaning and its default

The same line again goes on where a run stopped and skips what is done. Everything is written under --run_dir:
`motherlode rounds R`, `motherlode domains R`, `motherlode report R` show it.

Exit codes: 0 done; 1 a stage failed; 2 a wrong setting, input or run directory; 3 prefix labels are wanted from a
person, or scores from pipelines/score_datatrove.py (rounds.scorer): the message says how to give them, then run the
same line again.

After DeepSeekMath, section 2.1. Left open there and chosen here: dedup by MinHash with verified Jaccard; a domain is
a host, a candidate by Wilson's bound on its collected share; fastText's buckets follow from the data.
"""

import dataclasses
import logging
import sys
from dataclasses import dataclass

from mining.config import MineConfig, load_config, mine_part
from mining.errors import exit_code
from mining.store import Store

logger = logging.getLogger("mine")


@dataclass(frozen=True)
class MineCommand(MineConfig):
    """Mine a domain corpus out of WARC files by recall rounds (DeepSeekMath, section 2.1)."""

    dry_run: bool = False
    """Print what would be done and how to start it on its master; nothing is written, Spark is not started."""


def run(command: MineCommand) -> None:
    """Run the wanted stages; every input is looked up before Spark starts."""
    from mining.lineage import Lineage, check_changes
    from mining.spark.failures import explained
    from mining.spark.plan import page_bytes, plan
    from mining.spark.run import Run, look_up_inputs
    from mining.spark.session import start_session

    cfg = mine_part(command)
    inputs = look_up_inputs(cfg)
    if command.dry_run:
        print(plan(cfg, inputs, without_option(sys.argv[1:], "dry_run")))
        return
    store = Store(cfg.run_dir)
    store.open()
    with store.locked(), explained("mine", store.path):
        stale = check_changes(Lineage(store, cfg, inputs))
        if stale:
            logger.info("the config or the inputs changed; made again where it matters: %s", ", ".join(stale))
        store.start(dataclasses.asdict(cfg))
        session = start_session(cfg.spark, scale=cfg.scale, page_bytes=page_bytes(store.path, inputs))
        try:
            Run(store, session, cfg, inputs).all()
        finally:
            session.stop()
    print(f"done: {store.path}  (motherlode rounds {cfg.run_dir}; motherlode report {cfg.run_dir})")


def without_option(arguments: list[str], name: str) -> list[str]:
    """The arguments without `--name value` and `--name=value`."""
    kept, words = [], iter(arguments)
    for word in words:
        if word == f"--{name}":
            next(words, None)
        elif not word.startswith(f"--{name}="):
            kept.append(word)
    return kept


def main() -> int:
    """Run and turn errors into one clear message and an exit code."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    logger.setLevel(logging.INFO)
    return exit_code(lambda: run(load_config(config_class=MineCommand)), kept="what was finished")


if __name__ == "__main__":
    sys.exit(main())
