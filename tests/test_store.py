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
    (fresh_partial(table)).mkdir()  # a second run finds no half of the first
    assert list((tmp_path / "pages.partial").iterdir()) == []
    publish(tmp_path / "pages.partial", table)
    assert table.exists() and not (tmp_path / "pages.partial").exists()


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
    assert "in use by another mine.py (pid" in second.stdout
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
