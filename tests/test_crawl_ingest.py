"""Fetched records are the pages of the original files: same rows, same pointers, same page_id."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from crawl_server import NEW, Archive, build_archive, serving, with_metadata
from test_crawl_fetch import config, wanted_captures

from mining.crawl.fetch import fetch_captures
from mining.crawl.lookup import find_captures
from mining.crawl.settings import CrawlConfig
from mining.crawl.wanted import Wanted
from mining.errors import ConfigError
from mining.ingest import IngestConfig
from mining.inputs import find_files
from mining.shards import Ingest, ingest_hash, shards_of
from mining.url import host_of


def ingest(pattern: str, run_dir: Path) -> dict[str, list[dict]]:
    """pages and dropped of some WARC files, in the order of the pointers."""
    cfg = IngestConfig(warcs=[pattern])
    files = find_files(cfg.warcs, data_dir="/", field="ingest.warcs")
    shards = shards_of(files, cfg)
    stage = Ingest(run_dir, cfg, ingest_hash(files, cfg))
    stage.prepare(shards)
    for shard in shards:
        stage.read(shard)
    stage.publish(shards)
    return {
        name: sorted(pq.read_table(run_dir / name).to_pylist(), key=lambda row: (row["warc_file"], row["warc_offset"]))
        for name in ("pages", "dropped")
    }


def compare(archive: Archive, captures: Path, tmp_path: Path, cfg: CrawlConfig) -> int:
    """Ingest the original files whole and the fetched records; the rows of the records agree. Their number."""
    outcome = fetch_captures(cfg, captures, tmp_path / "fetched")
    assert outcome.fetched == outcome.wanted
    whole = ingest(f"{archive.root}/crawl-data/{NEW}/**/*.warc.gz", tmp_path / "whole")
    some = ingest(f"{tmp_path}/fetched/web/*.warc.gz", tmp_path / "some")
    table = pq.read_table(captures)
    places = set(zip(table["warc_file"].to_pylist(), table["warc_offset"].to_pylist(), strict=True))
    number = 0
    for name, rows in some.items():
        assert rows == [row for row in whole[name] if (row["warc_file"], row["warc_offset"]) in places]
        number += len(rows)
    assert {row["crawl"] for row in some["pages"]} == {NEW}
    return number


def test_pages_of_fetched_records_equal_those_of_the_whole_file(mini_web, tmp_path):
    archive = build_archive(tmp_path / "archive", {NEW: [mini_web / "web" / "part-00000.warc.gz"]})
    captures = wanted_captures(archive, tmp_path / "wanted.parquet", every=2)
    number = compare(archive, captures, tmp_path, CrawlConfig(source=str(archive.root)))
    assert number >= pq.read_table(captures).num_rows > 200


def test_what_metadata_records_said_comes_from_the_index(mini_web, tmp_path):
    with_metadata(mini_web / "web" / "part-00000.warc.gz", tmp_path / "like-cc.warc.gz", covered=1.0)
    archive = build_archive(tmp_path / "archive", {NEW: [tmp_path / "like-cc.warc.gz"]})
    host = max(
        (host_of(page["url"]) for page in archive.pages(NEW)), key=[host_of(p["url"]) for p in archive.pages(NEW)].count
    )
    with serving(archive) as server:
        cfg = config(server, tmp_path)
        captures = find_captures(cfg, Wanted(prefixes=(host,)), [NEW], tmp_path / "fetched")
        number = compare(archive, captures, tmp_path, cfg)
    assert number >= 20
    assert set(pq.read_table(captures)["charset"].to_pylist()) == {"UTF-8"}


def test_damaged_pointers_stop_the_file_and_changed_ones_change_the_hash(mini_web, tmp_path):
    archive = build_archive(tmp_path / "archive", {NEW: [mini_web / "web" / "part-00000.warc.gz"]})
    captures = wanted_captures(archive, tmp_path / "wanted.parquet", every=100)
    (warc,) = fetch_captures(CrawlConfig(source=str(archive.root)), captures, tmp_path / "out").warcs
    cfg = IngestConfig(warcs=[str(warc)])
    files = find_files(cfg.warcs, data_dir="/", field="ingest.warcs")
    before = ingest_hash(files, cfg)
    pointers = Path(f"{warc}.pointers.parquet")
    pointers.write_bytes(b"PAR1 no more")
    assert ingest_hash(files, cfg) != before
    with pytest.raises(ConfigError, match="damaged"):
        ingest(str(warc), tmp_path / "run")


@pytest.mark.real
def test_real_pages_of_fetched_records_equal_those_of_the_whole_file(real_data, tmp_path):
    archive = build_archive(tmp_path / "archive", {NEW: [real_data / "web" / "part-00005.warc.gz"]})
    hosts = sorted({host_of(page["url"]) for page in archive.pages(NEW)})
    with serving(archive) as server:
        cfg = config(server, tmp_path)
        captures = find_captures(cfg, Wanted(prefixes=tuple(hosts[::2])), [NEW], tmp_path / "fetched")
        number = compare(archive, captures, tmp_path, cfg)
    assert number >= pq.read_table(captures).num_rows > 200


@pytest.mark.real
@pytest.mark.slow
def test_the_whole_real_web_by_its_index_is_the_real_web(real_data, tmp_path):
    warcs = sorted((real_data / "web").glob("part-*.warc.gz"))
    archive = build_archive(tmp_path / "archive", {NEW: warcs}, rows_a_group=1000)
    hosts = tuple(sorted({host_of(page["url"]) for page in archive.pages(NEW)} - {""}))
    with serving(archive) as server:
        cfg = config(server, tmp_path, batch_bytes=30_000_000)
        captures = find_captures(cfg, Wanted(prefixes=hosts), [NEW], tmp_path / "fetched")
        assert pq.read_table(captures).num_rows == len([p for p in archive.pages(NEW) if host_of(p["url"])])
        assert compare(archive, captures, tmp_path, cfg) > 20_000
        asked = sum(one.num_bytes for one in server.data_requests())
        assert asked <= 1.2 * sum(pq.read_table(captures)["warc_length"].to_pylist())
