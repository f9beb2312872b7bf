"""Whole WARC files: the drawn ones, under their own names, from where they were cut; and the commands over it all."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from crawl_server import NEW, Archive, Faults, build_archive, serving
from test_crawl_fetch import config, wanted_captures

from mining.crawl.whole import draw, plan_sample, sample_warcs
from mining.errors import ConfigError
from mining.inputs import find_files, provenance_names
from mining.inspect.cli import main
from mining.url import host_of


@pytest.fixture(scope="module")
def archive(mini_web: Path, warc_parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """A crawl of five WARC files."""
    warcs = [*sorted(warc_parts.glob("*.warc.gz")), mini_web / "web" / "part-00000.warc.gz"]
    # The mini web's last member is cut on purpose: a crawl's files are whole.
    whole = tmp_path_factory.mktemp("whole") / "4.warc.gz"
    from mining.warc import read_responses

    last = [raw.warc_offset for raw in read_responses(str(warcs[-1]), max_payload_bytes=10**7)][-1]
    whole.write_bytes(warcs[-1].read_bytes()[:last])
    return build_archive(tmp_path_factory.mktemp("archive"), {NEW: [*warcs[:-1], whole]})


def test_a_sample_is_the_seeds_draw_and_keeps_the_paths_of_the_crawl(archive, tmp_path):
    with serving(archive) as server:
        cfg = config(server, tmp_path)
        drawn = plan_sample(cfg, NEW, 3, tmp_path / "out", seed=1)
        outcome = sample_warcs(cfg, NEW, 3, tmp_path / "out", seed=1)
        assert (outcome.wanted, outcome.fetched, outcome.failed) == (3, 3, 0)
        for path in drawn:
            assert (tmp_path / "out" / path).read_bytes() == (archive.root / path).read_bytes()
        files = find_files(["crawl-data/**/*.warc.gz"], data_dir=str(tmp_path / "out"), field="ingest.warcs")
        assert provenance_names(files) == sorted(drawn)
        num_requests = len(server.data_requests())
        more = sample_warcs(cfg, NEW, 4, tmp_path / "out", seed=1)
        assert (more.fetched, more.new_fetched, len(server.data_requests())) == (4, 1, num_requests + 1)
        assert plan_sample(cfg, NEW, 4, tmp_path / "out", seed=1) == []
        with pytest.raises(ConfigError, match="has 5 WARC files"):
            sample_warcs(cfg, NEW, 6, tmp_path / "out")


def test_draws_are_nested_and_differ_by_seed():
    paths = [f"{number}" for number in range(50)]
    assert draw(paths, 5, 0, NEW) == draw(paths[::-1], 20, 0, NEW)[:5]
    assert draw(paths, 20, 0, NEW) != draw(paths, 20, 1, NEW)


def test_files_that_are_cut_and_refused_come_whole_and_absent_ones_are_said(archive, tmp_path):
    with serving(archive, Faults({"cut": 0.5, "503": 0.15}, seed=1)) as server:
        gone = plan_sample(config(server, tmp_path), NEW, 5, tmp_path / "out")[0]
        server.gone.add(gone)
        outcome = sample_warcs(config(server, tmp_path, max_attempts=12), NEW, 5, tmp_path / "out")
    assert (outcome.fetched, outcome.absent, outcome.failed, outcome.reasons) == (4, 1, 0, {"absent": 1})
    for warc in outcome.warcs:
        assert warc.read_bytes() == (archive.root / warc.relative_to(tmp_path / "out")).read_bytes()
    assert any(one.range for one in server.data_requests())  # what was cut went on where it was
    assert not list((tmp_path / "out").glob("**/.*"))


def test_a_file_that_is_damaged_on_the_server_is_taken_as_it_is(archive, tmp_path, caplog):
    path = archive.root / f"crawl-data/{NEW}/segments/1505818689752.0/warc/{NEW}-00000.warc.gz"
    held = path.read_bytes()
    path.write_bytes(held[:-100])
    try:
        with serving(archive) as server:
            outcome = sample_warcs(config(server, tmp_path), NEW, 5, tmp_path / "out")
    finally:
        path.write_bytes(held)
    assert outcome.fetched == 5
    assert (tmp_path / "out" / path.relative_to(archive.root)).read_bytes() == held[:-100]
    assert sum(one.path == str(path.relative_to(archive.root)) for one in server.log) == 2
    assert "truncated" in caplog.text


_SAMPLE = """
import json, sys
from pathlib import Path
from mining.crawl import servers
from mining.crawl.settings import CrawlConfig
from mining.crawl.whole import sample_warcs
servers._PIECE = 20_000  # the file is small: pieces of 8 MiB would be all of it
sample_warcs(CrawlConfig(**json.loads(sys.argv[1])), "CC-MAIN-2024-22", 5, Path(sys.argv[2]))
"""


def test_a_killed_download_goes_on_in_the_middle_of_the_file(archive, tmp_path):
    import dataclasses

    path = f"crawl-data/{NEW}/segments/1505818689752.4/warc/{NEW}-00004.warc.gz"
    size = (archive.root / path).stat().st_size
    with serving(archive, Faults(trickle_s=0.02)) as server:
        cfg = config(server, tmp_path)
        command = [sys.executable, "-c", _SAMPLE, json.dumps(dataclasses.asdict(cfg)), str(tmp_path / "out")]
        process = subprocess.Popen(command)
        partial = (tmp_path / "out" / path).with_name(f".{Path(path).name}.partial")
        while not partial.exists() or partial.stat().st_size < size / 4:
            assert process.poll() is None
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        held = partial.stat().st_size
        assert 0 < held < size
        server.faults.trickle_s = 0.0
        server.log.clear()
        outcome = sample_warcs(cfg, NEW, 5, tmp_path / "out")
        assert outcome.fetched == 5
        assert (tmp_path / "out" / path).read_bytes() == (archive.root / path).read_bytes()
        (request,) = [one for one in server.data_requests() if one.path == path]
        assert request.range == f"bytes={held}-" and request.num_bytes == size - held


def run(*arguments: str) -> int:
    return main([*arguments])


def options(server, tmp_path: Path) -> list[str]:
    return [
        "--source", server.url, "--index_server", server.url, "--rate", "1000", "--user_agent", "t (t@example.org)",
        "--out", str(tmp_path / "out"),
    ]  # fmt: skip


def test_the_commands_list_plan_fetch_and_fetch_again(archive, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    host = host_of(archive.pages(NEW)[100]["url"])
    with serving(archive) as server:
        assert run("crawls", "--index_server", server.url, "--json") == 0
        assert json.loads(capsys.readouterr().out)["crawls"][0]["id"] == NEW
        assert run("crawls", "--index_server", server.url) == 0
        assert NEW in capsys.readouterr().out
        wish = ["fetch", "--crawl", NEW, "--prefix", host, *options(server, tmp_path)]
        assert run(*wish, "--dry_run", "--json") == 0
        plan = json.loads(capsys.readouterr().out)
        assert not server.data_requests() and plan["records"] > 0
        assert run(*wish, "--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert found["fetched"] == plan["records"] and len(server.data_requests()) == plan["requests"]
        assert run(*wish, "--dry_run") == 0
        assert "0 records to fetch" in capsys.readouterr().out
        assert run("fetch", "--crawl", NEW, "--sample", "2", "--dry_run", *options(server, tmp_path)) == 0
        assert "2 files to fetch" in capsys.readouterr().out
        assert run("fetch", "--crawl", NEW, "--sample", "2", *options(server, tmp_path)) == 0
        assert "2 of 2 files are here" in capsys.readouterr().out


def test_failed_records_end_in_code_1_with_their_reasons_and_the_remedy(archive, tmp_path, capsys, monkeypatch):
    import pyarrow as pa

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rows = pq.read_table(wanted_captures(archive, tmp_path / "all.parquet", every=100)).to_pylist()
    rows[0]["url"] = "https://elsewhere.example/"
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "wanted.parquet")
    with serving(archive) as server:
        monkeypatch.setattr("mining.crawl.transfer.Client.rest", lambda self, attempt: None)
        code = run("fetch", "--captures", str(tmp_path / "wanted.parquet"), *options(server, tmp_path))
    said = capsys.readouterr()
    assert code == 1
    assert "1 failed" in said.out and "wrong_record 1" in said.err and "run the same line again" in said.err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--sample", "2"], "--crawl names 0"),
        (["--prefix", "a.org"], "need --crawl"),
        (["--crawl", NEW], "say what to fetch"),
        (["--crawl", NEW, "--captures", "x"], "leave out --crawl"),
        (["--crawl", NEW, "--labels", "nothing.csv"], "cannot be read"),
        (["--crawl", NEW, "--prefix", "a.org"], "wants to know who asks"),
    ],
)
def test_a_line_that_does_not_say_one_thing_is_refused_with_code_2(tmp_path, capsys, arguments, complaint):
    assert run("fetch", "--out", str(tmp_path), *arguments) == 2
    assert complaint in capsys.readouterr().err
