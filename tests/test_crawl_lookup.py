"""Looking captures up: both indexes agree with the rule of labels.csv, and read no more than they must."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from crawl_server import NEW, OLD, Archive, build_archive, serving
from test_crawl_fetch import config

from mining.crawl import index
from mining.crawl.captures import CAPTURES_SCHEMA, read_captures
from mining.crawl.listing import Crawl, list_crawls, warc_paths
from mining.crawl.lookup import find_captures
from mining.crawl.settings import CrawlConfig
from mining.crawl.wanted import Query, Wanted
from mining.errors import ConfigError, ShardError
from mining.prefixes import Label, label_for, label_index
from mining.url import host_of


@pytest.fixture(scope="module")
def archive(mini_web: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    whole = mini_web / "web" / "part-00000.warc.gz"
    return build_archive(tmp_path_factory.mktemp("archive"), {OLD: [whole], NEW: [whole]}, rows_a_group=20)


@pytest.fixture(scope="module")
def labels(archive: Archive) -> tuple[Label, ...]:
    """Labels on the three largest hosts, with a hole in the first folder of each."""
    pages = archive.pages(NEW)
    hosts = sorted({host_of(page["url"]) for page in pages}, key=lambda h: -sum(host_of(p["url"]) == h for p in pages))
    found = []
    for host in hosts[:3]:
        folders = [p["url"].split("/")[3] for p in pages if host_of(p["url"]) == host and p["url"].count("/") > 3]
        found += [Label(host + "/", "math"), Label(f"{host}/{folders[0]}/", "not_math")]
    return tuple(found)


def keys(rows) -> set[tuple[str, int]]:
    return {(row["warc_file"], row["warc_offset"]) for row in rows}


def expected(archive: Archive, crawls, rule) -> set[tuple[str, int]]:
    pages = [page for crawl in crawls for page in archive.pages(crawl)]
    return {(page["warc_filename"], page["warc_record_offset"]) for page in pages if rule(page["url"])}


@pytest.mark.parametrize("kind", ["columnar", "cdx"])
def test_labels_with_holes_give_what_the_rule_of_labels_csv_gives(archive, labels, tmp_path, kind):
    known = label_index(labels)
    wanted = expected(archive, (OLD, NEW), lambda url: (label := label_for(url, known)) and label.label == "math")
    with serving(archive) as server:
        cfg = config(server, tmp_path, index=kind)
        path = find_captures(cfg, Wanted(labels=labels), [OLD, NEW], tmp_path / "out")
        table = pq.read_table(path)
        assert table.schema.equals(CAPTURES_SCHEMA)
        assert keys(table.to_pylist()) == wanted and len(wanted) == table.num_rows > 20
        num_requests = len(server.log)
        assert find_captures(cfg, Wanted(labels=labels), [OLD, NEW], tmp_path / "out") == path
        assert len(server.log) == num_requests
        assert not (tmp_path / "out" / ".look").exists()


def test_both_indexes_say_the_same_of_each_capture(archive, labels, tmp_path):
    with serving(archive) as server:
        tables = [
            pq.read_table(
                find_captures(config(server, tmp_path, index=kind), Wanted(labels=labels), [NEW], tmp_path / kind)
            )
            for kind in ("columnar", "cdx")
        ]
    assert tables[0].equals(tables[1])
    row = tables[0].to_pylist()[0]
    truth = next(p for p in archive.captures[NEW] if p["warc_record_offset"] == row["warc_offset"])
    assert (row["url"], row["crawl"], row["status"], row["mime"]) == (truth["url"], NEW, 200, "text/html")
    assert row["digest"] == truth["content_digest"] and row["warc_length"] == truth["warc_record_length"]
    assert row["fetch_time"].timetuple()[:6] == truth["fetch_time"][:6]


def test_a_domain_has_its_subdomains_and_a_prefix_whole_segments(archive, tmp_path):
    pages = archive.pages(NEW)
    host = host_of(pages[100]["url"])
    domain = ".".join(host.split(".")[-2:])
    folder = next(page["url"].split("/", 3)[2:] for page in pages[100:] if page["url"].count("/") > 3)
    prefix = f"{folder[0]}/{folder[1].split('/')[0]}"
    for kind in ("columnar", "cdx"):
        with serving(archive) as server:
            cfg = config(server, tmp_path, index=kind)
            by_domain = find_captures(cfg, Wanted(domains=(domain,)), [NEW], tmp_path / f"{kind}-domain")
            by_prefix = find_captures(cfg, Wanted(prefixes=(prefix,)), [NEW], tmp_path / f"{kind}-prefix")
        assert keys(pq.read_table(by_domain).to_pylist()) == expected(
            archive, [NEW], lambda url: host_of(url) == domain or host_of(url).endswith("." + domain)
        )
        assert keys(pq.read_table(by_prefix).to_pylist()) == expected(
            archive,
            [NEW],
            lambda url: f"{url.partition('://')[2].removeprefix('www.')}/".startswith(
                f"{prefix.removeprefix('www.')}/"
            ),
        )


def test_a_lookup_reads_the_row_groups_that_may_hold_a_wanted_host(archive, tmp_path):
    host = host_of(archive.pages(NEW)[100]["url"])
    with serving(archive) as server:
        cfg = config(server, tmp_path)
        path = find_captures(cfg, Wanted(prefixes=(host,)), [NEW], tmp_path / "out")
        facts = json.loads((tmp_path / "out" / "captures.json").read_text())
    assert 0 < facts["row_groups_read"] < facts["row_groups"] / 2
    assert pq.read_table(path).num_rows == facts["captures"] > 0
    assert facts["pieces"] == 2  # the part of crawldiagnostics is not looked at


def test_a_large_part_is_read_by_columns_and_row_groups_in_few_requests(archive, tmp_path, monkeypatch):
    host = host_of(archive.pages(NEW)[100]["url"])
    monkeypatch.setattr(index, "_TAIL", 16 << 10)  # the parts of this index are small: else their end is all of them
    with serving(archive) as server:
        cfg = config(server, tmp_path)
        path = find_captures(cfg, Wanted(prefixes=(host,)), [NEW], tmp_path / "out")
        assert keys(pq.read_table(path).to_pylist()) == expected(archive, [NEW], lambda url: host_of(url) == host)
        asked = [one for one in server.log if one.path.endswith(".parquet")]
        size = sum((archive.root / name).stat().st_size for name in {one.path for one in asked})
    assert sum(one.num_bytes for one in asked) < size
    assert len(asked) < 20


def test_a_lookup_takes_up_what_a_broken_one_left(archive, tmp_path):
    parts = sorted((archive.root / f"cc-index/table/cc-main/warc/crawl={NEW}/subset=warc").iterdir())
    name = str(parts[1].relative_to(archive.root))
    wanted = Wanted(prefixes=(host_of(archive.pages(NEW)[100]["url"]),))
    with serving(archive) as server:
        cfg = config(server, tmp_path, max_attempts=1)
        server.gone.add(name)
        with pytest.raises(ShardError, match="1 of 2 pieces of the index did not come"):
            find_captures(cfg, wanted, [NEW], tmp_path / "out")
        server.gone.clear()
        server.log.clear()
        find_captures(cfg, wanted, [NEW], tmp_path / "out")
        assert {one.path for one in server.log if one.path.endswith(".parquet")} == {name}


def test_crawls_and_files_are_listed_and_unknown_names_get_the_nearest(archive, tmp_path):
    with serving(archive) as server:
        cfg = config(server, tmp_path)
        assert list_crawls(cfg)[0] == Crawl(NEW, f"{NEW} Index", "2024-05-18T00:00:00", "2024-05-31T00:00:00")
        assert [crawl.id for crawl in list_crawls(cfg)] == [NEW, OLD]
        assert warc_paths(cfg, NEW) == [next(iter(archive.captures[NEW]))["warc_filename"]]
        with pytest.raises(ConfigError, match="did you mean 'CC-MAIN-2024-22'"):
            find_captures(cfg, Wanted(prefixes=("a.example",)), ["CC-MAIN-2024-23"], tmp_path / "out")
        with pytest.raises(ConfigError, match="motherlode crawls"):
            warc_paths(cfg, "CC-MAIN-1999-01")
        with pytest.raises(ConfigError, match="check --index_server"):
            list_crawls(config(server, tmp_path, index_server=server.url + "/elsewhere"))


def test_a_folder_with_an_index_needs_no_server_and_no_lists(archive, tmp_path):
    host = host_of(archive.pages(OLD)[100]["url"])
    lists = archive.root / "crawl-data" / OLD / "cc-index-table.paths.gz"
    held = lists.read_bytes()
    lists.unlink()
    try:
        path = find_captures(CrawlConfig(source=str(archive.root)), Wanted(prefixes=(host,)), [OLD], tmp_path / "out")
    finally:
        lists.write_bytes(held)
    rows = pq.read_table(path).to_pylist()
    assert keys(rows) == expected(archive, [OLD], lambda url: host_of(url) == host)
    assert all(row["languages"] is None and row["truncated"] is None for row in rows)  # columns that 2017 had not


def test_keys_of_the_index_leave_out_www_and_go_on_to_subdomains():
    assert Wanted(prefixes=("www.ams.org/notices/",)).surt_ranges() == [
        ("org,ams)", "org,ams*"),
        ("org,ams:", "org,ams;"),
    ]
    assert Wanted(prefixes=("www2.ams.org",)).surt_ranges()[0] == ("org,ams)", "org,ams*")
    assert Wanted(domains=("ams.org",)).surt_ranges() == [
        ("org,ams)", "org,ams*"), ("org,ams,", "org,ams-"), ("org,ams:", "org,ams;"),
    ]  # fmt: skip
    for key in ("org,ams,math)/x", "org,ams)/", "org,ams:8080)/"):
        assert any(first <= key < last for first, last in Wanted(domains=("ams.org",)).surt_ranges())
    for key in ("org,amsx)/", "org,am)/", "org,ams-x)/"):
        assert not any(first <= key < last for first, last in Wanted(domains=("ams.org",)).surt_ranges())


def test_a_query_inside_another_is_not_asked():
    wanted = Wanted(
        labels=(Label("a.org/x/y/", "math"), Label("a.org/x", "math"), Label("a.org/z/", "not_math")),
        prefixes=("b.org", "b.org/c", "d.org/s.php?f=7"),
        domains=("e.org",),
    )
    assert wanted.queries() == [
        Query("e.org", "domain"), Query("a.org/x", "prefix"), Query("b.org", "host"), Query("d.org/s.php", "prefix"),
    ]  # fmt: skip
    matches = wanted.matcher()
    assert matches("http://www.d.org/s.php?f=7&t=1") and not matches("http://d.org/s.php?f=8")
    assert matches("https://x.e.org/") and not matches("https://xe.org/") and not matches("https://a.org/z/")


@pytest.mark.parametrize("wanted", [{}, {"domains": ("ams",)}, {"domains": ("ams.org/x",)}, {"prefixes": ("/x",)}])
def test_a_wish_that_finds_nothing_or_everything_is_refused(wanted):
    with pytest.raises(ConfigError):
        Wanted(**wanted)


def test_pages_of_a_run_are_captures_too(tmp_path):
    from mining.page import PAGES_SCHEMA

    row = dict.fromkeys(PAGES_SCHEMA.names) | {
        "page_id": "1", "url": "http://a.org/", "warc_file": f"crawl-data/{NEW}/x.warc.gz", "warc_offset": 7,
        "warc_length": 9, "fetch_time": "2024-05-20T01:02:03Z", "payload_digest": "sha1:ABC", "truncated": True,
        "charset": "utf-8", "crawl": "", "formulas_by_kind": [],
    }  # fmt: skip
    (tmp_path / "corpus").mkdir()
    pq.write_table(pa.Table.from_pylist([row, row], schema=PAGES_SCHEMA), tmp_path / "corpus" / "part-0.parquet")
    (found,) = read_captures(tmp_path / "corpus").to_pylist()
    assert (found["crawl"], found["digest"], found["truncated"], found["charset"]) == (NEW, "ABC", "unspecified", None)
    assert found["fetch_time"].isoformat() == "2024-05-20T01:02:03+00:00"
    pq.write_table(pa.table({"url": ["x"]}), tmp_path / "bad.parquet")
    with pytest.raises(ConfigError, match="no column 'warc_file'"):
        read_captures(tmp_path / "bad.parquet")
    with pytest.raises(ConfigError, match="no Parquet file here"):
        read_captures(tmp_path / "nothing")
