"""Fetching over HTTP: every record ends somewhere, its bytes are the original's, and nobody is asked too often."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from crawl_server import FAULTS, NEW, OLD, Archive, CrawlServer, Faults, build_archive, serving

from mining.crawl.captures import CAPTURES_SCHEMA, read_captures
from mining.crawl.fetch import fetch_captures, plan_fetch
from mining.crawl.lookup import find_captures
from mining.crawl.settings import CrawlConfig
from mining.crawl.wanted import Wanted
from mining.errors import ConfigError, StoreError
from mining.warc import read_responses


@pytest.fixture(scope="module")
def archive(mini_web: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Two crawls of the mini web's file: an early and a late one."""
    whole = mini_web / "web" / "part-00000.warc.gz"
    return build_archive(tmp_path_factory.mktemp("archive"), {OLD: [whole], NEW: [whole]})


def config(server: CrawlServer, tmp_path: Path, **more: object) -> CrawlConfig:
    settings = {
        "source": server.url, "index_server": server.url, "user_agent": "motherlode-test (test@example.org)",
        "data_rate": 2000.0, "index_rate": 2000.0, "timeout_s": 20.0, "first_wait_s": 0.01, "max_wait_s": 0.5,
        "limits_dir": str(tmp_path / "limits"), **more,
    }  # fmt: skip
    return CrawlConfig(**settings)


def wanted_captures(archive: Archive, path: Path, *, crawl: str = NEW, every: int = 1) -> Path:
    """The pages of a crawl as a table of captures."""
    import pyarrow as pa

    rows = archive.pages(crawl)[::every]
    names = {"warc_file": "warc_filename", "warc_offset": "warc_record_offset", "warc_length": "warc_record_length"}
    columns = {name: [row[names.get(name, name)] for row in rows] for name in (*names, "url")}
    columns["charset"] = [row["content_charset"] for row in rows]
    columns["languages"] = [row["content_languages"] for row in rows]
    pq.write_table(pa.table(columns), path)
    return path


def outcomes(out: Path) -> dict[tuple[str, int], tuple[str, str]]:
    rows = pq.read_table(out / "outcomes").to_pylist()
    found = {(row["warc_file"], row["warc_offset"]): (row["outcome"], row["reason"]) for row in rows}
    assert len(found) == len(rows)
    return found


def check_bytes(archive: Archive, out: Path) -> int:
    """Every member in OUT/web is the original's, byte for byte; their number."""
    number = 0
    for warc in sorted((out / "web").glob("*.warc.gz")):
        data = warc.read_bytes()
        pointers = pq.read_table(f"{warc}.pointers.parquet").to_pylist()
        ends = [*(row["local_offset"] for row in pointers[1:]), len(data)]
        for row, end in zip(pointers, ends, strict=True):
            capture = {
                f"warc_{k}": row[f"warc_{v}"] for k, v in (("record_offset", "offset"), ("record_length", "length"))
            }
            original = archive.member({"warc_filename": row["warc_file"], **capture})
            assert data[row["local_offset"] : end] == original
            number += 1
        assert len(list(read_responses(str(warc), max_payload_bytes=10**7))) == len(pointers)
    return number


def test_every_record_comes_byte_for_byte_in_few_requests(archive, tmp_path):
    captures = wanted_captures(archive, tmp_path / "wanted.parquet", every=2)
    table = read_captures(captures)
    with serving(archive) as server:
        cfg = config(server, tmp_path)
        plan = plan_fetch(cfg, captures, tmp_path / "out")
        assert not server.log
        outcome = fetch_captures(cfg, captures, tmp_path / "out")
        assert (outcome.wanted, outcome.fetched, outcome.failed) == (table.num_rows, table.num_rows, 0)
        assert check_bytes(archive, tmp_path / "out") == table.num_rows
        needed = sum(table["warc_length"].to_pylist())
        asked = sum(one.num_bytes for one in server.data_requests())
        assert (plan.records, plan.bytes_needed, plan.bytes_asked, plan.requests) == (
            table.num_rows, needed, asked, len(server.data_requests()),
        )  # fmt: skip
        assert needed <= asked <= 1.2 * needed
        assert len(server.data_requests()) < 0.8 * table.num_rows
        assert {one.user_agent for one in server.log} == {"motherlode-test (test@example.org)"}
        num_requests = len(server.log)
        again = fetch_captures(cfg, captures, tmp_path / "out")
        assert (again.new_fetched, again.fetched, len(server.log)) == (0, table.num_rows, num_requests)


@pytest.mark.parametrize(
    "faults",
    [("403", "429", "503", "503_later"), ("cut", "long", "500"), ("short", "wrong_range", "whole"), ("garbled",)],
    ids=" ".join,
)
def test_a_misbehaving_server_costs_attempts_not_records(archive, tmp_path, faults):
    captures = wanted_captures(archive, tmp_path / "wanted.parquet", every=10)
    table = read_captures(captures)
    with serving(archive, Faults(dict.fromkeys(faults, 0.25 / len(faults)), burst=4, seed=3)) as server:
        cfg = config(server, tmp_path, max_attempts=12)
        outcome = fetch_captures(cfg, captures, tmp_path / "out")
        assert (outcome.fetched, outcome.failed, outcome.absent) == (table.num_rows, 0, 0)
        assert check_bytes(archive, tmp_path / "out") == table.num_rows
        bad = [one for one in server.data_requests() if one.fault]
        assert bad
        good = sum(one.num_bytes for one in server.data_requests() if not one.fault)
        assert good <= 1.2 * sum(table["warc_length"].to_pylist())
        refusals = sum(one.fault in ("403", "429", "503", "503_later") for one in bad)
        assert outcome.traffic.refusals == refusals
        assert outcome.traffic.requests == len(server.data_requests())


def test_everything_at_once_loses_nothing_and_keeps_the_rate(archive, tmp_path):
    rate, threads = 150.0, 6
    captures = wanted_captures(archive, tmp_path / "wanted.parquet", every=2)
    table = read_captures(captures)
    with serving(archive, Faults(every=6, slow_s=2.0)) as server:
        cfg = config(server, tmp_path, data_rate=rate, threads=threads, max_attempts=8, timeout_s=1.0, max_wait_s=0.05)
        outcome = fetch_captures(cfg, captures, tmp_path / "out")
        assert (outcome.fetched, outcome.absent, outcome.failed) == (table.num_rows, 0, 0)
        assert check_bytes(archive, tmp_path / "out") == table.num_rows
        assert {one.fault for one in server.data_requests()} == {"", *FAULTS}
        good = sum(one.num_bytes for one in server.data_requests() if not one.fault)
        assert good <= 1.2 * sum(table["warc_length"].to_pylist())
        # What was granted before a window may arrive in it: one request a thread at most.
        assert server.most_in_a_window(0.4) <= rate * 0.4 + 1 + threads


def test_absent_and_failed_records_keep_their_reasons_and_only_failed_ones_are_tried_again(archive, tmp_path):
    import pyarrow as pa

    rows = read_captures(wanted_captures(archive, tmp_path / "all.parquet", every=40)).to_pylist()
    gone = {**rows[0], "warc_file": "crawl-data/CC-MAIN-2024-22/none.warc.gz"}
    moved = {**rows[1], "url": "https://elsewhere.example/"}
    outside = {**rows[2], "warc_offset": 10**9}
    inside = {**rows[3], "warc_offset": rows[3]["warc_offset"] + 1}
    short = {**rows[4], "warc_length": rows[4]["warc_length"] - 3}
    odd = [gone, moved, outside, inside, short]
    pq.write_table(pa.Table.from_pylist([*odd, *rows[5:]], schema=CAPTURES_SCHEMA), tmp_path / "wanted.parquet")
    with serving(archive) as server:
        cfg = config(server, tmp_path, max_attempts=2)
        outcome = fetch_captures(cfg, tmp_path / "wanted.parquet", tmp_path / "out")
        found = outcomes(tmp_path / "out")
        reasons = [found[row["warc_file"], row["warc_offset"]] for row in odd]
        assert reasons == [
            ("absent", "absent"), ("failed", "wrong_record"), ("failed", "outside"), ("failed", "no_gzip"),
            ("failed", "truncated"),
        ]  # fmt: skip
        assert (outcome.fetched, outcome.absent, outcome.failed) == (len(rows) - 5, 1, 4)
        assert len(found) == outcome.wanted == len(rows)
        before = len(server.log)
        again = fetch_captures(cfg, tmp_path / "wanted.parquet", tmp_path / "out")
        assert (again.fetched, again.absent, again.failed, again.new_fetched) == (len(rows) - 5, 1, 4, 0)
        asked = {one.path for one in server.log[before:]}
        assert asked and "crawl-data/CC-MAIN-2024-22/none.warc.gz" not in asked


def test_a_server_that_only_refuses_ends_the_call_with_every_record_accounted_for(archive, tmp_path):
    captures = wanted_captures(archive, tmp_path / "wanted.parquet", every=20)
    with serving(archive, Faults({"403": 1.0})) as server:
        cfg = config(server, tmp_path, max_wait_s=0.05, patience_s=0.4, batch_bytes=100_000)
        outcome = fetch_captures(cfg, captures, tmp_path / "out")
        assert "refused for" in outcome.gave_up
        assert outcome.failed == outcome.wanted == read_captures(captures).num_rows
        assert outcome.reasons == {"not_asked": outcome.wanted}
        server.faults.rates.clear()
        time.sleep(0.1)
        outcome = fetch_captures(cfg, captures, tmp_path / "out")
        assert (outcome.fetched, outcome.failed, outcome.gave_up) == (outcome.wanted, 0, "")
        assert check_bytes(archive, tmp_path / "out") == outcome.wanted


def test_a_dead_server_is_given_up_not_asked_for_every_record(archive, tmp_path):
    captures = wanted_captures(archive, tmp_path / "wanted.parquet", every=3)
    with serving(archive) as server:
        cfg = config(server, tmp_path, max_attempts=2)
    outcome = fetch_captures(cfg, captures, tmp_path / "out")
    assert "does not answer" in outcome.gave_up and outcome.failed == outcome.wanted
    assert outcome.traffic.requests < 60


_FETCH = """
import json, sys
from mining.crawl.fetch import fetch_captures
from mining.crawl.settings import CrawlConfig
from pathlib import Path
outcome = fetch_captures(CrawlConfig(**json.loads(sys.argv[1])), sys.argv[2], Path(sys.argv[3]))
print(json.dumps([outcome.fetched, outcome.failed]))
"""


def start(cfg: CrawlConfig, captures: Path, out: Path) -> subprocess.Popen:
    import dataclasses

    command = [sys.executable, "-c", _FETCH, json.dumps(dataclasses.asdict(cfg)), str(captures), str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_fetch_goes_on_where_it_was_and_ends_with_the_same_bytes(archive, tmp_path):
    captures = wanted_captures(archive, tmp_path / "wanted.parquet", every=3)
    with serving(archive) as server:
        cfg = config(server, tmp_path, data_rate=150.0, batch_bytes=120_000)
        straight = fetch_captures(cfg, captures, tmp_path / "straight")
        server.log.clear()
        process = start(cfg, captures, tmp_path / "killed")
        while len(server.log) < 40:
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(0.1)
        first = [one.range for one in server.data_requests()]
        server.log.clear()
        outcome = fetch_captures(cfg, captures, tmp_path / "killed")
        second = [one.range for one in server.data_requests()]
    assert outcome.fetched == straight.wanted and len(straight.warcs) > 2
    assert len(set(first) & set(second)) <= cfg.threads  # what was under way when the process died
    assert len(first) + len(second) <= straight.traffic.requests + cfg.threads
    for warc in straight.warcs:
        assert (tmp_path / "killed" / "web" / warc.name).read_bytes() == warc.read_bytes()
    assert outcomes(tmp_path / "killed") == outcomes(tmp_path / "straight")
    assert not list((tmp_path / "killed" / ".fetch").glob("part-*"))


def test_two_processes_share_one_rate(archive, tmp_path):
    rate = 60.0
    captures = [
        wanted_captures(archive, tmp_path / f"{n}.parquet", crawl=crawl, every=12) for n, crawl in enumerate((OLD, NEW))
    ]
    with serving(archive) as server:
        cfg = config(server, tmp_path, data_rate=rate)
        runs = [start(cfg, one, tmp_path / f"out-{number}") for number, one in enumerate(captures)]
        for run in runs:
            said, complaint = run.communicate(timeout=60)
            assert run.returncode == 0, complaint
            assert json.loads(said)[1] == 0
        times = sorted(one.at for one in server.log)
        in_flight = 2 * cfg.threads
        assert server.most_in_a_window(0.5) <= rate * 0.5 + 1 + in_flight
        assert times[-1] - times[0] >= (len(times) - 1 - in_flight) / rate


def test_a_second_process_on_the_same_folder_is_refused(archive, tmp_path):
    captures = wanted_captures(archive, tmp_path / "wanted.parquet", every=3)
    with serving(archive) as server:
        cfg = config(server, tmp_path, data_rate=20.0)
        process = start(cfg, captures, tmp_path / "out")
        while not server.log:
            time.sleep(0.01)
        with pytest.raises(StoreError, match="another process fetches into it"):
            fetch_captures(cfg, captures, tmp_path / "out")
        process.kill()
        process.communicate()


def test_later_captures_are_added_to_those_of_earlier_calls(archive, tmp_path):
    half = wanted_captures(archive, tmp_path / "half.parquet", every=10)
    more = wanted_captures(archive, tmp_path / "more.parquet", every=5)
    with serving(archive) as server:
        cfg = config(server, tmp_path)
        first = fetch_captures(cfg, half, tmp_path / "out")
        second = fetch_captures(cfg, more, tmp_path / "out")
    assert second.new_fetched == second.wanted - first.wanted
    assert check_bytes(archive, tmp_path / "out") == second.wanted == read_captures(more).num_rows


def test_common_crawl_is_not_asked_without_a_contact(tmp_path):
    for agent in ("", "my crawler"):
        cfg = CrawlConfig(user_agent=agent, limits_dir=str(tmp_path))
        with pytest.raises(ConfigError, match="wants to know who asks"):
            find_captures(cfg, Wanted(prefixes=("ams.org/",)), [NEW], tmp_path / "out")
    CrawlConfig(user_agent="x/1 (ops@acme.example)").check_contact("https://data.commoncrawl.org")
    CrawlConfig().check_contact("https://mirror.example/commoncrawl.org")


def test_a_folder_is_a_source_too(archive, tmp_path):
    captures = wanted_captures(archive, tmp_path / "wanted.parquet", every=10)
    cfg = CrawlConfig(source=str(archive.root))
    outcome = fetch_captures(cfg, captures, tmp_path / "out")
    assert outcome.fetched == outcome.wanted
    assert check_bytes(archive, tmp_path / "out") == outcome.wanted
