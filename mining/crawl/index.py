"""The columnar index: captures out of one Parquet part, without reading more of it than may hold wanted ones.

A part of Common Crawl's index is about 1 GB, its rows go by url_surtkey, and its footer has the first and last key of
each row group. Two or three requests bring the footer and then the needed columns of the row groups that a wanted
range touches; DuckDB filters the rows, and the label rule decides about each URL that is left.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from mining.crawl.captures import CAPTURES_SCHEMA, database, quoted
from mining.crawl.ranges import Extent, coalesce
from mining.crawl.transfer import Client
from mining.crawl.wanted import Wanted
from mining.errors import ShardError

HTML_TYPES = ("text/html", "application/xhtml+xml")
_TAIL = 256 << 10
_RANGE = 64 << 20
_WASTE = 0.05
_SOURCES = {
    "url": "url",
    "warc_file": "warc_filename",
    "warc_offset": "CAST(warc_record_offset AS BIGINT)",
    "warc_length": "CAST(warc_record_length AS BIGINT)",
    "fetch_time": "CAST(fetch_time AS TIMESTAMPTZ)",
    "status": "CAST(fetch_status AS INTEGER)",
    "mime": "COALESCE(content_mime_detected, content_mime_type)",
    "digest": "content_digest",
    "charset": "content_charset",
    "languages": "content_languages",
    "truncated": "content_truncated",
}
_OPTIONAL = ("content_mime_detected", "content_digest", "content_charset", "content_languages", "content_truncated")
"""Columns that the older crawls' index lacks: NULL there."""
COLUMNS = (
    "url", "url_host_name", "fetch_time", "fetch_status", "content_digest", "content_mime_type",
    "content_mime_detected", "content_charset", "content_languages", "content_truncated", "warc_filename",
    "warc_record_offset", "warc_record_length",
)  # fmt: skip
"""The index's columns that a look-up reads, of about 30."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a part of the index gave."""

    captures: pa.Table
    """CAPTURES_SCHEMA."""
    row_groups: int
    row_groups_read: int


def captures_in_part(client: Client, path: str, crawl: str, wanted: Wanted) -> Part:
    """The wanted captures of one part: status 200, an HTML type, a wanted URL.

    Raises Absent, Broken, Hopeless or ShardError of `Client.read`, and ShardError for a part that is no such Parquet.
    """
    try:
        file = _RemoteFile(client, path)
        metadata = pq.read_metadata(file)
        groups = row_groups(metadata, wanted.surt_ranges())
        columns = [name for name in COLUMNS if name in metadata.schema.names]
        file.prefetch(_chunks(metadata, groups, columns))
        table = pq.ParquetFile(file, metadata=metadata).read_row_groups(groups, columns, use_threads=False)
        return Part(select(table, crawl, wanted), metadata.num_row_groups, len(groups))
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError, duckdb.Error) as error:
        raise ShardError(f"{client.server.name}: {path}: not a part of a columnar index ({error})") from None


def select(table: pa.Table, crawl: str, wanted: Wanted) -> pa.Table:
    """The wanted captures among rows of the index, in their order (CAPTURES_SCHEMA)."""
    for name in _OPTIONAL:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(table.num_rows, pa.string()))
    with database() as connection:
        connection.register("part", table)
        connection.register("hosts", pa.table({"host": pa.array(wanted.hosts(), pa.string())}))
        found = connection.sql(select_sql("part", crawl, wanted.domains)).to_arrow_table()
    is_wanted: Callable[[str], bool] = wanted.matcher()
    mask = pa.array([is_wanted(url) for url in found["url"].to_pylist()], pa.bool_())
    return found.filter(mask).select(CAPTURES_SCHEMA.names).cast(CAPTURES_SCHEMA)


def select_sql(relation: str, crawl: str, domains: Sequence[str]) -> str:
    """Index rows as captures, narrowed down to what may be wanted; the table `hosts` has the wanted hosts.

    The host is compared without `www.`, as prefixes are written. Plain enough for Spark SQL and Athena too.
    """
    sources = ", ".join(f"{source} AS {name}" for name, source in _SOURCES.items())
    bare_host = r"regexp_replace(url_host_name, '^(www\.)+', '')"
    types = ", ".join(quoted(one) for one in HTML_TYPES)
    where = [f"{bare_host} IN (SELECT host FROM hosts)", "url_host_name IN (SELECT host FROM hosts)"]
    for domain in domains:
        name = domain.lower().rstrip("/")
        where.append(f"url_host_name = {quoted(name)} OR url_host_name LIKE {quoted('%.' + name)}")
    return (
        f"SELECT {sources}, {quoted(crawl)} AS crawl FROM {relation} WHERE fetch_status = 200 "
        f"AND (content_mime_detected IN ({types}) OR content_mime_type IN ({types})) AND ({' OR '.join(where)})"
    )


def row_groups(metadata: pq.FileMetaData, ranges: Sequence[tuple[str, str]]) -> list[int]:
    """The row groups whose keys may lie in one of the ranges [first, last); all that have no statistics."""
    place = metadata.schema.names.index("url_surtkey")
    found = []
    for number in range(metadata.num_row_groups):
        column = metadata.row_group(number).column(place)
        statistics = column.statistics
        if statistics is None or not statistics.has_min_max:
            found.append(number)
            continue
        smallest, largest = _text(statistics.min), _text(statistics.max)
        if any(first <= largest and smallest < last for first, last in ranges):
            found.append(number)
    return found


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _chunks(metadata: pq.FileMetaData, groups: Sequence[int], columns: Sequence[str]) -> list[tuple[int, int]]:
    """(offset, length) of the column chunks that are needed."""
    places = [metadata.schema.names.index(name) for name in columns]
    chunks = []
    for number in groups:
        group = metadata.row_group(number)
        for place in places:
            column = group.column(place)
            start = column.data_page_offset
            if column.has_dictionary_page and column.dictionary_page_offset:
                start = min(start, column.dictionary_page_offset)
            chunks.append((start, column.total_compressed_size))
    return chunks


class _RemoteFile(io.RawIOBase):
    """A file of the server as pyarrow reads it: its end and what was prefetched are there, the rest is asked for."""

    def __init__(self, client: Client, path: str) -> None:
        self._client, self._path = client, path
        tail = client.read(path, -_TAIL)
        self._size = tail.size if tail.size is not None else tail.start + len(tail.body)
        self._held: list[tuple[int, bytes]] = [(tail.start, tail.body)]
        self._position = 0

    def prefetch(self, chunks: Sequence[tuple[int, int]]) -> None:
        """Bring stretches of the file in few requests."""
        missing = [Extent(self._path, start, length) for start, length in chunks if self._find(start, length) is None]
        for one in coalesce(missing, max_waste=_WASTE, max_bytes=_RANGE):
            self._held.append((one.start, self._client.read(self._path, one.start, one.end).body))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        length = max(0, self._size - self._position)
        length = length if size < 0 else min(size, length)
        data = self._find(self._position, length)
        if data is None:
            data = self._client.read(self._path, self._position, self._position + length).body
        self._position += len(data)
        return data

    def _find(self, start: int, length: int) -> bytes | None:
        for first, data in self._held:
            if first <= start and start + length <= first + len(data):
                return data[start - first : start - first + length]
        return None
