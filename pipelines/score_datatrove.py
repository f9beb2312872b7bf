"""The classifier's pass over all pages on datatrove: on this machine, on a Slurm cluster, or on Ray.

    python pipelines/score_datatrove.py --run_dir R --workers 2                   scores of the newest round of a run
    python pipelines/score_datatrove.py --run_dir R --executor slurm --tasks 500 --slurm.partition cpu
    python pipelines/score_datatrove.py ... --dry_run true          prints the plan, for Slurm the sbatch scripts
    python pipelines/score_datatrove.py --run_dir R --round 4 --pages OTHER --out S    other pages by a finished round

The rows of rounds/NN/scores are those that mine.py writes there, and it goes on from them: a round takes its scores
for made where they stand. OTHER is a run directory (its pages without their duplicates) or a folder of Parquet files
of pages; `rounds/NN/cut.json` of R says from which score on the round collected. The same line again goes on with the
files that are left. On Slurm the command submits the jobs and returns; the last of them publishes.

Exit codes: 0 done, or submitted; 1 a task failed; 2 a wrong setting, input or run directory.

After DeepSeekMath, section 2.1, which ranks all pages of the crawl by the classifier in each round and names no
engine. Left out: scores calibrated on audited pages, which need sums over hosts; mine.py makes those.
"""

import logging
import sys
from pathlib import Path

from mining.config import load_config
from mining.errors import ConfigError, exit_code
from mining.score_shards import Scoring, scoring_of_pages, scoring_of_round
from mining.store import Store, read_manifest, remove


def run() -> None:
    """Score, or print the plan; every input is looked up before any work starts."""
    try:
        from mining.trove import executors, score
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error}: datatrove is not installed; pip install 'motherlode[datatrove]'") from None
    cfg = load_config(config_class=score.ScoreConfig)
    score.check(cfg)
    store = Store(cfg.run_dir)
    read_manifest(store.path)  # a run directory must be there: this command makes none
    store.open()
    scoring = (
        scoring_of_pages(store, cfg.round, pages=Path(cfg.pages), out=Path(cfg.out))
        if cfg.pages
        else scoring_of_round(store, cfg.round)
    )
    work = score.work_of(cfg, store, scoring)
    if cfg.dry_run:
        print(executors.plan(cfg, work, f"scores of {len(work.files):,} files of pages by {scoring.model}"))
        return
    executors.check(cfg)
    with store.locked():
        if scoring.is_done():
            remove(scoring.work_dir)  # of a pass that was killed when it had published
            print(f"score: done before, skipped: {scoring.table}")
            return
        scoring.prepare()
        work = score.work_of(cfg, store, scoring)
        executors.forget_completions(work)
        if not work.pending or cfg.executor != "slurm":
            if work.pending:
                executors.run_here(cfg, work)
            _tell(scoring, scoring.publish())
            return
    executors.submit(cfg, work)
    print(f"submitted; when the jobs are done, the scores are in {scoring.table} (see squeue; logs in {work.folder})")


def _tell(scoring: Scoring, facts: dict[str, int]) -> None:
    goes_on = "; go on with mine.py" if scoring.in_round else ""
    print(f"done: {facts['pages']:,} pages of {facts['files']:,} files scored in {scoring.table}{goes_on}")


def main() -> int:
    """Run and turn errors into one clear message and an exit code."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    return exit_code(run, kept="what was scored")


if __name__ == "__main__":
    sys.exit(main())
