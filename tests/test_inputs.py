"""Input files by pattern, and the names that provenance keeps."""

from pathlib import Path

import pytest

from mining.errors import ConfigError
from mining.inputs import InputFile, crawl_of, find_files, provenance_names


def test_patterns_are_sorted_each_file_once_and_relative_to_the_data_dir(tmp_path: Path) -> None:
    for name in ("b.warc.gz", "a.warc.gz", "note.txt"):
        (tmp_path / name).write_bytes(b"x" * 3)
    found = find_files(["*.warc.gz", "a.*"], data_dir=str(tmp_path), field="ingest.warcs")
    assert [Path(file.uri).name for file in found] == ["a.warc.gz", "b.warc.gz"]
    assert [file.size for file in found] == [3, 3]


def test_a_pattern_without_files_names_field_pattern_and_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ingest\.warcs=\*\.warc: nothing found at .*data_dir="):
        find_files(["*.warc"], data_dir=str(tmp_path), field="ingest.warcs")


def test_any_fsspec_uri_is_found() -> None:
    import fsspec

    fsspec.filesystem("memory").pipe("/crawl/x.warc.gz", b"1234")
    found = find_files(["memory://crawl/*.gz"], data_dir=".", field="f")
    assert [(file.uri, file.size) for file in found] == [("memory:///crawl/x.warc.gz", 4)]


def test_provenance_drops_the_machine_s_folders_and_keeps_common_crawl_s() -> None:
    def names(*uris: str) -> list[str]:
        return provenance_names([InputFile(uri, 1, "") for uri in uris])

    assert names("/home/me/d/web/a.gz", "/home/me/d/web/b.gz") == ["a.gz", "b.gz"]
    assert names("/home/me/d/x/a.gz", "/home/me/d/y/a.gz") == ["x/a.gz", "y/a.gz"]
    crawl = "crawl-data/CC-MAIN-2024-22/segments/1/warc/a.gz"
    assert names(f"s3://commoncrawl/{crawl}") == [crawl]


def test_crawl_is_read_from_the_path() -> None:
    assert crawl_of("s3://commoncrawl/crawl-data/CC-MAIN-2024-22/x.gz", "mine") == "CC-MAIN-2024-22"
    assert crawl_of("/data/x.gz", "mine") == "mine"
