"""What Spark's failures mean: the file, the remedy and the kind of error, from real failures of a real session."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from run_tables import flip

from mining.errors import ConfigError, ShardError, StoreError
from mining.store import Store


@pytest.fixture
def scratch_run(tmp_path: Path) -> Path:
    run_dir = tmp_path / "run"
    Store(run_dir).open()
    return run_dir


def refusal(work: Callable[[], object], run_dir: Path, kind: type[Exception]) -> str:
    from mining.spark.failures import explained

    with pytest.raises(kind) as caught, explained("dedup", run_dir):
        work()
    message = str(caught.value)
    assert "Traceback" not in message and "\tat " not in message
    return message


@pytest.mark.spark
def test_damaged_parquet_is_found_and_named_with_the_remedy(spark: object, scratch_run: Path) -> None:
    from mining.spark.tables import check_parquet, read_table, write_table

    texts = [f"page {number} of many, each with words of its own {number * 7919}" for number in range(4000)]
    ours = scratch_run / "pages" / "part-0.parquet"
    ours.parent.mkdir()
    pq.write_table(pa.table({"text": texts}), ours, compression="zstd", write_page_checksum=True)
    frame = spark.createDataFrame([(text,) for text in texts], "text string").coalesce(1)  # type: ignore[attr-defined]
    write_table(frame, scratch_run / "duplicates")
    (theirs,) = (scratch_run / "duplicates").glob("*.parquet")
    for file in (ours, theirs):
        flip(file, at=0.4)
        check_parquet(file.parent)  # the footer is well
        message = refusal(
            lambda table=file.parent: read_table(spark, table).agg({"text": "max"}).collect(), scratch_run, StoreError
        )
        assert str(file) in message and f"delete {file.parent} and run the same line again" in message
    ours.write_bytes(ours.read_bytes()[:-100])
    with pytest.raises(StoreError, match=r"part-0\.parquet: damaged .* delete .*pages and run the same line again"):
        check_parquet(ours.parent)


@pytest.mark.spark
def test_an_input_that_vanished_since_is_named(spark: object, scratch_run: Path, tmp_path: Path) -> None:
    from mining.spark.tables import read_seed

    seed = tmp_path / "seed.jsonl"
    message = refusal(lambda: read_seed(spark, [str(seed)]).count(), scratch_run, ConfigError)
    assert str(seed) in message and "put it back" in message
    seed.write_text('{"text": "one"}\n')
    frame = read_seed(spark, [str(seed)])
    seed.unlink()
    assert str(seed) in refusal(frame.count, scratch_run, ConfigError)


@pytest.mark.spark
def test_a_killed_python_worker_costs_a_task_s_attempt_not_the_run(
    spark: object, scratch_run: Path, tmp_path: Path
) -> None:
    once = str(tmp_path / "killed-once")

    def dies_once(number: int) -> int:
        if number == 5 and not os.path.exists(once):
            open(once, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    def always_dies(number: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return number

    numbers = spark.sparkContext.parallelize(range(20), 4)  # type: ignore[attr-defined]
    assert sorted(numbers.map(dies_once).collect()) == list(range(20))
    assert os.path.exists(once)
    message = refusal(lambda: numbers.map(always_dies).collect(), scratch_run, ShardError)
    assert "a Python worker died in every attempt" in message and "run the same line again" in message


@pytest.mark.spark
def test_a_worker_s_own_error_keeps_its_words_and_kind(spark: object, scratch_run: Path) -> None:
    def refuses(_: int) -> int:
        raise ShardError("/data/x.partial: cannot be written (No space left on device); free some space")

    numbers = spark.sparkContext.parallelize([1], 1)  # type: ignore[attr-defined]
    message = refusal(lambda: numbers.map(refuses).collect(), scratch_run, ShardError)
    assert message == "dedup: /data/x.partial: cannot be written (No space left on device); free some space"


@pytest.mark.spark
def test_damage_in_a_small_table_or_a_training_set_is_named(scratch_run: Path) -> None:
    from mining.spark.recall import read_lines
    from mining.spark.tables import read_arrow

    table = scratch_run / "seed.parquet"
    rows = {"label": ["math", "other"] * 3000, "line": [f"line {number * 7919}" for number in range(6000)]}
    pq.write_table(pa.table(rows), table, compression="zstd", write_page_checksum=True)
    flip(table, at=0.4)
    for work in (lambda: list(read_lines(table)), lambda: read_arrow(table)):
        with pytest.raises(StoreError, match=r"seed\.parquet: damaged .*; delete .* and run the same line again"):
            work()


@pytest.mark.parametrize(
    ("master", "tried"),
    [
        ("local", "local[1,4]"),
        ("local[2]", "local[2,4]"),
        ("local[*]", "local[*,4]"),
        ("local[2,1]", "local[2,1]"),  # whoever names the attempts means them
        ("spark://host:7077", "spark://host:7077"),
        ("local-cluster[2,1,1024]", "local-cluster[2,1,1024]"),
    ],
)
def test_a_local_master_tries_a_task_four_times(master: str, tried: str) -> None:
    from mining.spark.session import with_attempts

    assert with_attempts(master) == tried
