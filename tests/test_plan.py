"""What `mine.py --dry_run true` says of a run, and that saying it changes nothing."""

import dataclasses
import json
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pyspark
import pytest
from run_tables import CONFIG, REPOSITORY, SMALL, environment, mine

from mining.config import MineConfig, load_config
from mining.lineage import Lineage
from mining.shards import Ingest, shards_of
from mining.spark.plan import executor_properties, plan, submit_line
from mining.spark.run import look_up_inputs
from mining.spark.session import session_properties
from mining.store import Store


def config_of(web: Path, run_dir: Path, *more: str) -> MineConfig:
    return load_config([*CONFIG, *SMALL, "--data_dir", str(web), "--run_dir", str(run_dir), *more])


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)


def states(text: str) -> dict[str, str]:
    """Stage or round -> what the plan says of it."""
    lines = text.partition("stages\n")[2].partition("\n\n")[0].partition("as it stands")[0].splitlines()
    parts = [line.strip().partition(" ") for line in lines if line.startswith("  ") and not line.startswith("   ")]
    return {name: state.strip() for name, _, state in parts}


def planned(web: Path, run_dir: Path, *more: str) -> str:
    cfg = config_of(web, run_dir, *more)
    return plan(cfg, look_up_inputs(cfg), ["--config", "C"])


def test_a_plan_needs_no_java_and_writes_nothing(mini_web: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    result = subprocess.run(
        [sys.executable, "pipelines/mine.py", *CONFIG, "--data_dir", str(mini_web), "--run_dir", str(run_dir),
         "--dry_run", "true"],
        cwd=REPOSITORY, env=environment(JAVA_HOME=str(tmp_path), PATH=str(tmp_path)), capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert list(tmp_path.iterdir()) == []
    assert states(result.stdout) == {
        "ingest": "to run: has not run", "dedup": "to run: has not run", "round-01": "to run: has not run",
        "decontaminate": "to run: has not run", "export": "to run: has not run",
    }  # fmt: skip
    assert "then up to 1 more, until rounds.stop_overlap=0.98" in result.stdout
    size = (mini_web / "web" / "part-00000.warc.gz").stat().st_size
    assert f"warcs         1 files, {size / 1e6:.1f} MB" in result.stdout
    assert "local[2,4]" in result.stdout and "--dry_run" not in result.stdout
    again = shlex.split(result.stdout.splitlines()[-1])
    assert again[:5] == ["spark-submit", "--master", "local[2]", "--driver-memory", "1g"]
    assert again[5:] == ["pipelines/mine.py", *CONFIG, "--data_dir", str(mini_web), "--run_dir", str(run_dir)]


@pytest.mark.spark
def test_a_finished_run_is_done_and_a_changed_config_says_what_it_would_cost(
    finished_run: Path, mini_web: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(finished_run, run_dir)
    before = (run_dir / "manifest.json").read_bytes()
    done = dict.fromkeys(("ingest", "dedup", "round-01", "round-02", "decontaminate", "export"), "done")
    assert states(planned(mini_web, run_dir)) == done
    changed = planned(mini_web, run_dir, "--classifier.dim", "8")
    assert states(changed) == {
        "ingest": "done", "dedup": "done", "round-01": "to run: made by another config or from other inputs",
        "decontaminate": "to run, unless what it reads comes out the same",
        "export": "to run, unless what it reads comes out the same",
    }  # fmt: skip
    assert "as it stands the run is refused" in changed and "classifier.dim: 16 -> 8" in changed
    allowed = planned(mini_web, run_dir, "--classifier.dim", "8", "--rerun", "true")
    assert states(allowed) == states(changed) and "refused" not in allowed
    shutil.rmtree(run_dir / "corpus")
    assert states(planned(mini_web, run_dir)) == {**done, "export": "to run: corpus is gone"}
    assert (run_dir / "manifest.json").read_bytes() == before
    # The run itself refuses what the plan said it would.
    refused = mine("--data_dir", str(mini_web), "--run_dir", str(run_dir), "--classifier.dim", "8")
    assert refused.returncode == 2 and "classifier.dim: 16 -> 8" in refused.stderr


def test_a_killed_ingest_goes_on_with_the_files_that_are_left(warc_parts: Path, mini_web: Path, tmp_path: Path) -> None:
    warcs = ["--ingest.warcs", json.dumps([str(warc_parts / "*.warc.gz")])]
    cfg = config_of(mini_web, tmp_path / "run", *warcs)
    inputs = look_up_inputs(cfg)
    store = Store(cfg.run_dir)
    store.open()
    store.start(dataclasses.asdict(cfg))
    ingest = Ingest(store.path, cfg.ingest, Lineage(store, cfg, inputs).ingest())
    shards = shards_of(inputs.warcs, cfg.ingest)
    ingest.prepare(shards)
    for shard in shards[:3]:
        ingest.read(shard)
    assert states(planned(mini_web, tmp_path / "run", *warcs))["ingest"] == "to run: goes on, 3 of 4 files are read"


MASTERS = ("local[4]", "spark://head:7077", "yarn", "k8s://https://10.0.0.1:6443")


@pytest.mark.parametrize("master", MASTERS)
def test_every_property_of_a_line_is_one_that_this_spark_knows(master: str, mini_web: Path, tmp_path: Path) -> None:
    cfg = config_of(mini_web, tmp_path / "run", "--spark.master", master)
    words = shlex.split(
        submit_line(session_properties(cfg.spark, scale="cluster"), cfg, []).replace("<", "").replace(">", "")
    )
    assert words[words.index("--master") + 1] == master
    named = [word.partition("=")[0] for word, before in zip(words[1:], words, strict=False) if before == "--conf"]
    assert bool(named) == (not master.startswith("local"))
    jars = [jar for jar in Path(pyspark.__path__[0], "jars").glob("spark-*.jar") if "core" in jar.name
            or "kubernetes" in jar.name or "launcher" in jar.name]  # fmt: skip
    for name in named:
        # Volumes are named by the user: the jar holds what stands before and after the name.
        pieces = name.split("persistentVolumeClaim.runs.")
        for piece in pieces:
            assert any(holds(jar, piece) for jar in jars), piece


def holds(jar: Path, text: str) -> bool:
    with zipfile.ZipFile(jar) as archive:
        names = (name for name in archive.namelist() if name.endswith(".class"))
        return any(text.encode() in archive.read(name) for name in names)


def test_executors_have_room_for_a_classifier_in_every_worker(mini_web: Path, tmp_path: Path) -> None:
    cfg = config_of(mini_web, tmp_path / "run")
    large = dataclasses.replace(cfg, classifier=dataclasses.replace(cfg.classifier, max_model_mb=1300))
    assert executor_properties({}, large)["spark.executor.memoryOverhead"] == "14400m"  # 400 + 4 x (900 + 2 x 1300)
    given = {"spark.executor.cores": "2", "spark.executor.memory": "9g", "spark.executor.memoryOverhead": "5g"}
    assert executor_properties(given, large) == given


@pytest.mark.slow
@pytest.mark.spark
@pytest.mark.parametrize("master", ["yarn", "k8s://https://127.0.0.1:9"])
def test_the_line_gets_as_far_as_a_cluster_that_does_not_answer(master: str, mini_web: Path, tmp_path: Path) -> None:
    cfg = config_of(mini_web, tmp_path / "run", "--spark.master", master)
    arguments = [*CONFIG, *SMALL, "--data_dir", str(mini_web), "--run_dir", cfg.run_dir]
    line = submit_line(session_properties(cfg.spark, scale="toy"), cfg, arguments)
    for place, value in (
        ("<address of this machine that pods reach>", "127.0.0.1"), ("<namespace>", "mining"),
        ("<image with Spark, Python and this project>", "motherlode"), ("<claim that holds the run directory>", "runs"),
    ):  # fmt: skip
        line = line.replace(place, value)
    command = shlex.split(line.replace("environment.tar.gz", f"{tmp_path}/environment.tar.gz"))
    (tmp_path / "environment.tar.gz").touch()
    refused_port = {"yarn.resourcemanager.address": "127.0.0.1:9", "yarn.resourcemanager.connect.max-wait.ms": "1000"}
    properties = "".join(
        f"<property><name>{name}</name><value>{value}</value></property>" for name, value in refused_port.items()
    )
    (tmp_path / "yarn-site.xml").write_text(f"<configuration>{properties}</configuration>")
    result = subprocess.run(
        command, cwd=REPOSITORY, env=environment(HADOOP_CONF_DIR=str(tmp_path)), capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert result.returncode == 1, result.stderr[-2000:]
    assert "Connection refused" in result.stdout
