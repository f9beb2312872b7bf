"""The run directory: atomic tables, a manifest that can be trusted, one writer."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mining.errors import ConfigError, StoreError
from mining.store import Store, digest, fresh_partial, publish, read_manifest, write_json


def opened(path: Path) -> Store:
    store = Store(path)
    store.open()
    store.start({"a": 1})
    return store


def test_a_stage_is_done_only_on_the_same_inputs(tmp_path: Path) -> None:
    store = opened(tmp_path / "run")
    store.finish("ingest", inputs_hash="aa", started="now", seconds=1.0, in_=3, kept=2, dropped={"x": 1})
    again = opened(tmp_path / "run")
    assert again.is_done("ingest", "aa")
    assert not again.is_done("ingest", "bb")
    assert again.stage("ingest")["in"] == 3


def test_a_table_is_whole_or_absent(tmp_path: Path) -> None:
    table = tmp_path / "pages"
    partial = fresh_partial(table)
    partial.mkdir()
    (partial / "part-0").write_text("half")
    assert not table.exists()
    second = fresh_partial(table)  # of a run that comes after the first was killed
    assert not partial.exists() and second != partial
    second.mkdir()
    (second / "part-0").write_text("whole")
    publish(second, table)
    assert [entry.name for entry in tmp_path.iterdir()] == ["pages"]


def test_an_older_table_loses_its_name_before_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mining.store as store

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    for name in ("pages", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part-0").write_text(name)
    monkeypatch.setattr(store, "remove", killed)  # in the midst of deleting the old files
    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path / "new", tmp_path / "pages")
    assert not (tmp_path / "pages").exists()


def test_what_killed_runs_left_is_swept_up_and_nothing_else(tmp_path: Path) -> None:
    store = opened(tmp_path / "run")
    for name in ("scores.ab12.partial", "rounds/01/domains.parquet.cd34.partial", "rounds/01/scores", "ingesting"):
        (store.path / name).mkdir(parents=True)
    store.start({"a": 2})
    assert sorted(path.name for path in store.path.rglob("*") if path.is_dir()) == [
        "01",
        "ingesting",
        "rounds",
        "scores",
    ]


def test_a_stale_stage_is_done_again_when_its_inputs_turn_out_the_same(tmp_path: Path) -> None:
    store = opened(tmp_path / "run")
    store.finish("export", inputs_hash="aa", started="now", seconds=1.0, config={"export": {"jsonl": True}})
    store.mark_stale(["export"])
    assert read_manifest(store.path)["stages"]["export"]["state"] == "stale"
    assert not store.is_done("export", "bb")
    assert store.is_done("export", "aa")
    store.note("export", {"export": {"jsonl": False}})
    entry = read_manifest(store.path)["stages"]["export"]
    assert entry["state"] == "done" and entry["also_config"] == {"export": {"jsonl": False}}
    store.forget(["export", "absent"])
    assert read_manifest(store.path)["stages"] == {}


def test_the_manifest_before_the_last_is_kept_and_offered(tmp_path: Path) -> None:
    store = opened(tmp_path / "run")
    store.finish("ingest", inputs_hash="aa", started="now", seconds=1.0)
    store.finish("dedup", inputs_hash="bb", started="now", seconds=1.0)
    store.manifest_path.write_text(store.manifest_path.read_text()[:50])
    with pytest.raises(StoreError, match=r"manifest\.json: damaged .*cp .*manifest\.before\.json .*manifest\.json"):
        Store(store.path).open()
    store.manifest_path.unlink()
    with pytest.raises(StoreError, match=r"manifest\.json: missing; restore the one before it"):
        Store(store.path).open()
    store.before_path.rename(store.manifest_path)
    again = Store(store.path)
    again.open()
    assert list(again.manifest["stages"]) == ["ingest"]


def test_a_manifest_that_cannot_be_written_keeps_the_old_one(tmp_path: Path) -> None:
    code = (
        "import resource, sys\nfrom mining.store import Store\nfrom mining.errors import StoreError\n"
        "store = Store(sys.argv[1]); store.open(); store.start({'a': 1})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "try:\n    store.start({'a': 'x' * 1000})\nexcept StoreError as error:\n    print(error)"
    )
    child = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "run")], capture_output=True, text=True, check=True
    )
    assert "manifest.json: cannot be written" in child.stdout and "run the same line again" in child.stdout
    assert read_manifest(tmp_path / "run")["config"] == {"a": 1}
    assert not list((tmp_path / "run").glob(".*.partial"))


def test_a_second_process_on_the_run_directory_is_refused(tmp_path: Path) -> None:
    store = opened(tmp_path / "run")
    code = (
        "import sys; from mining.store import Store; from mining.errors import StoreError\n"
        "store = Store(sys.argv[1]); store.open()\n"
        "try:\n    with store.locked(): print('got it')\n"
        "except StoreError as error: print(error)"
    )
    with store.locked():
        second = subprocess.run(
            [sys.executable, "-c", code, str(store.path)], capture_output=True, text=True, check=True
        )
    assert "in use by another process (pid" in second.stdout
    third = subprocess.run([sys.executable, "-c", code, str(store.path)], capture_output=True, text=True, check=True)
    assert third.stdout.strip() == "got it"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}'])
def test_a_damaged_manifest_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(StoreError, match=r"manifest\.json: damaged"):
        read_manifest(tmp_path)


def test_a_newer_manifest_is_not_guessed_at(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"version": 99, "stages": {}}))
    with pytest.raises(StoreError, match="version 99"):
        read_manifest(tmp_path)


def test_a_foreign_folder_is_not_taken_for_a_run(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(StoreError, match="not a run directory"):
        Store(tmp_path).open()


def test_object_stores_are_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError, match="atomic renames"):
        Store("s3://bucket/run")


def test_digest_ignores_key_order_and_sees_values() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_json_is_replaced_not_rewritten(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 2}
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.json"]
