"""Which captures are worth fetching, given what a run holds and has tried."""

import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mining.crawl.held import Missing, write_missing
from mining.url import canonical_url

BOOK = "https://a.org/book"


def capture(url: str, offset: int, day: int = 1, file: str = "new.warc.gz") -> dict[str, object]:
    when = datetime.datetime(2024, 5, day, tzinfo=datetime.UTC)
    return {"url": url, "warc_file": file, "warc_offset": offset, "warc_length": 10, "fetch_time": when}


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that holds one page of an old crawl, and has dropped one record and missed one of the new."""
    folder = tmp_path / "run"
    write(folder / "band_index" / "part-0.parquet", [{"page_id": "1", "url_key": canonical_url(f"{BOOK}/1")}])
    write(folder / "pages" / "part-0.parquet", [{"url": f"{BOOK}/1", "warc_file": "old.warc.gz", "warc_offset": 0}])
    write(folder / "dropped" / "part-0.parquet", [{"url": f"{BOOK}/2", "warc_file": "new.warc.gz", "warc_offset": 20}])
    outcomes = [
        {"warc_file": "new.warc.gz", "warc_offset": 30, "outcome": "absent"},
        {"warc_file": "new.warc.gz", "warc_offset": 40, "outcome": "failed"},
    ]
    write(folder / "fetched" / "outcomes" / "part-0.parquet", outcomes)
    return folder


def offsets(path: Path) -> list[int]:
    return pq.read_table(path).column("warc_offset").to_pylist()


def test_held_addresses_older_captures_and_what_was_tried_are_left_out(run: Path, tmp_path: Path) -> None:
    captures = [
        capture("http://a.org/book/1#top", 10),  # held, in another spelling
        capture(f"{BOOK}/2", 20),  # dropped before
        capture(f"{BOOK}/3", 30),  # absent before
        capture(f"{BOOK}/4", 40),  # failed before: worth another try
        capture(f"{BOOK}/5", 60, day=2),
        capture(f"{BOOK}/5?utm_source=x", 50, day=1),  # older
    ]
    found = write(tmp_path / "captures.parquet", captures)
    counts = write_missing(found, tmp_path / "missing.parquet", held=[run], newest_only=True)
    assert counts == Missing(found=6, held=1, older=1, tried=2, missing=2)
    assert offsets(tmp_path / "missing.parquet") == [40, 60]
    assert "url_key" not in pq.read_schema(tmp_path / "missing.parquet").names


def test_all_captures_but_the_very_records_that_are_held(run: Path, tmp_path: Path) -> None:
    captures = [
        capture(f"{BOOK}/1", 0, file="old.warc.gz"),  # the held record
        capture(f"{BOOK}/1", 10),  # another capture of the same page
        capture(f"{BOOK}/5", 60, day=2),
        capture(f"{BOOK}/5", 50, day=1),
    ]
    found = write(tmp_path / "captures.parquet", captures)
    counts = write_missing(found, tmp_path / "missing.parquet", held=[run], newest_only=False)
    assert counts == Missing(found=4, held=1, older=0, tried=0, missing=3)
    assert offsets(tmp_path / "missing.parquet") == [10, 50, 60]


def test_of_two_captures_where_the_newest_was_dropped_the_older_is_not_tried(run: Path, tmp_path: Path) -> None:
    captures = [capture(f"{BOOK}/2", 20, day=9), capture(f"{BOOK}/2", 21, day=1)]
    found = write(tmp_path / "captures.parquet", captures)
    assert write_missing(found, tmp_path / "missing.parquet", held=[run], newest_only=True).missing == 0


def test_a_folder_with_a_quote_in_its_name_and_no_tables(tmp_path: Path) -> None:
    folder = tmp_path / "it's here"
    found = write(folder / "captures.parquet", [capture(f"{BOOK}/1", 0)])
    counts = write_missing(found, folder / "missing.parquet", held=[folder / "empty"], newest_only=True)
    assert counts.missing == 1 and offsets(folder / "missing.parquet") == [0]
    assert sorted(path.name for path in folder.iterdir()) == ["captures.parquet", "missing.parquet"]
