"""The ingest stage of mine.py on datatrove: on this machine, on a Slurm cluster, or on Ray.

    python pipelines/extract_datatrove.py --config configs/mine/real.yaml --data_dir D --run_dir R --workers 2
    python pipelines/extract_datatrove.py --config C --run_dir R --executor slurm --tasks 500 --slurm.partition cpu
    python pipelines/extract_datatrove.py ... --dry_run true     prints the plan, for Slurm the sbatch scripts
    spark-submit pipelines/mine.py --config C --run_dir R --stages dedup,rounds,decontaminate,export      goes on

The config is that of mine.py, and so are pages/, dropped/ and the manifest's entry, row for row. The same line again
goes on with the files that are left. On Slurm the command submits the jobs and returns; the last of them publishes.

Exit codes: 0 done, or submitted; 1 a task failed; 2 a wrong setting, input or run directory.

After DeepSeekMath, section 2.1, which names no engine. What datatrove's own WarcReader leaves out (record offsets,
lengths, digests, the crawler's charset) is kept here: the records are read by `mining.warc`, as on Spark.
"""

import dataclasses
import logging
import sys

from mining.config import load_config, mine_part
from mining.errors import ConfigError, exit_code
from mining.inputs import find_files
from mining.lineage import Inputs, Lineage, check_changes
from mining.shards import shards_of
from mining.store import Store


def run() -> None:
    """Ingest, or print the plan; every input is looked up before any work starts."""
    try:
        from mining.trove import executors, ingest
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error}: datatrove is not installed; pip install 'motherlode[datatrove]'") from None
    cfg = load_config(config_class=ingest.ExtractConfig)
    if not cfg.ingest.warcs:
        raise ConfigError("ingest.warcs is empty: name WARC files, for example --ingest.warcs '[web/*.warc.gz]'")
    warcs = find_files(cfg.ingest.warcs, data_dir=cfg.data_dir, field="ingest.warcs")
    shards = shards_of(warcs, cfg.ingest)
    store = Store(cfg.run_dir)
    mining = dataclasses.replace(mine_part(cfg), stages="ingest", run_dir=str(store.path))
    lineage = Lineage(store, mining, Inputs(warcs, [], [], [], [], []))
    if cfg.dry_run:
        print(executors.plan(cfg, ingest.work_of(cfg, lineage, shards), ingest.headline(lineage, shards)))
        return
    executors.check(cfg)
    store.open()
    with store.locked():
        check_changes(lineage)
        there = all((store.path / table).exists() for table in ("pages", "dropped"))
        if store.is_done("ingest", lineage.ingest()) and there:
            print(f"ingest: done before, skipped: {store.path}")
            return
        store.forget(["ingest"])
        store.start(dataclasses.asdict(mine_part(cfg)))
        ingest.stage_of(lineage).prepare(shards)
        work = ingest.work_of(cfg, lineage, shards)
        executors.forget_completions(work)
        if not work.pending or cfg.executor != "slurm":
            if work.pending:
                executors.run_here(cfg, work)
            facts = ingest.finish(lineage, shards)
            print(f"done: {facts['kept']:,} pages of {facts['in_']:,} responses in {store.path}; go on with mine.py")
            return
    executors.submit(cfg, work)
    print(f"submitted; when the jobs are done, {store.path} has pages/ (see squeue; logs in {store.path}/logs)")


def main() -> int:
    """Run and turn errors into one clear message and an exit code."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    return exit_code(run, kept="what was read")


if __name__ == "__main__":
    sys.exit(main())
