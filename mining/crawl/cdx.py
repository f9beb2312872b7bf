"""The CDX API: captures by URL prefix, host or domain, a bounded page at a time.

The protocol is pywb's, as index.commoncrawl.org speaks it: `showNumPages=true` says how many pages a question has,
`page=K` brings one, as JSON lines; 404 means that there is no capture.
"""

import datetime
import json
from typing import Any
from urllib.parse import urlencode

import pyarrow as pa

from mining.crawl.captures import CAPTURES_SCHEMA
from mining.crawl.index import HTML_TYPES
from mining.crawl.servers import Absent, Broken
from mining.crawl.transfer import Client
from mining.crawl.wanted import Query, Wanted

_FIELDS = (
    "url", "timestamp", "status", "mime", "mime-detected", "digest", "length", "offset", "filename", "charset",
    "languages", "truncated",
)  # fmt: skip


def num_pages(client: Client, crawl: str, query: Query) -> int:
    """Pages of a question's answer; 0 where there is no capture. Broken for an answer without the number."""
    try:
        body = client.read(_path(crawl, query, showNumPages="true")).body
    except Absent:
        return 0
    try:
        said = json.loads(body)
        number = said["pages"] if isinstance(said, dict) else said
        return int(number)
    except (ValueError, TypeError, KeyError) as error:
        raise Broken("no_page_count", f"{crawl} {query.url}: {body[:200].decode('latin-1')!a}") from error


def captures_on_page(client: Client, crawl: str, query: Query, page: int, wanted: Wanted) -> pa.Table:
    """The wanted captures of one page: status 200, an HTML type, a wanted URL (CAPTURES_SCHEMA).

    Raises Broken for a line that is no capture: a page cut in the middle must not pass for a whole one.
    """
    try:
        body = client.read(_path(crawl, query, page=str(page))).body
    except Absent:
        return CAPTURES_SCHEMA.empty_table()
    is_wanted = wanted.matcher()
    rows = []
    for line in body.splitlines():
        if not line.strip():
            continue
        try:
            row = _row(json.loads(line), crawl)
        except (ValueError, TypeError, KeyError) as error:
            raise Broken("no_capture", f"{crawl} {query.url} page {page}: {error!r}"[:300]) from None
        if row is not None and is_wanted(row["url"]):
            rows.append(row)
    return pa.Table.from_pylist(rows, schema=CAPTURES_SCHEMA)


def _path(crawl: str, query: Query, **more: str) -> str:
    parameters = {
        "url": query.url, "matchType": query.match_type, "output": "json", "filter": "=status:200",
        "fl": ",".join(_FIELDS), **more,
    }  # fmt: skip
    return f"{crawl}-index?{urlencode(parameters)}"


def _row(entry: dict[str, Any], crawl: str) -> dict[str, Any] | None:
    """A CDX entry as a capture; None where it is no page."""
    said = {name: None if value in ("-", "") else value for name, value in entry.items()}
    types = (said.get("mime-detected"), said.get("mime"))
    if str(said.get("status")) != "200" or not any(one in HTML_TYPES for one in types):
        return None
    time = datetime.datetime.strptime(entry["timestamp"][:14], "%Y%m%d%H%M%S").replace(tzinfo=datetime.UTC)
    return {
        "url": str(entry["url"]),
        "crawl": crawl,
        "warc_file": str(entry["filename"]),
        "warc_offset": int(entry["offset"]),
        "warc_length": int(entry["length"]),
        "fetch_time": time,
        "status": 200,
        "mime": types[0] or types[1],
        **{name: said.get(name) for name in ("digest", "charset", "languages", "truncated")},
    }
