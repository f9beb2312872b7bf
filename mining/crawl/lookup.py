"""Find captures: every part of a crawl's index, or every page of the CDX API's answers, each once and resumable."""

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from mining.crawl import cdx, index
from mining.crawl.captures import CAPTURES_SCHEMA, captures_sql, database, write_query
from mining.crawl.fetch import Progress
from mining.crawl.listing import check_crawls, index_parts
from mining.crawl.servers import Absent, Broken, FileServer, Hopeless
from mining.crawl.settings import CrawlConfig
from mining.crawl.transfer import Client, data_client, index_client
from mining.crawl.wanted import Wanted
from mining.errors import ConfigError, ShardError
from mining.store import digest, fresh_partial, read_json, remove, write_json, write_text

_PROGRESS_S = 5.0


class _Piece(NamedTuple):
    """What is looked up at once and kept."""

    name: str
    """For messages: a part's path, or a question and its page."""
    file: Path
    look: Callable[[], tuple[pa.Table, dict[str, int]]]
    """The captures, and figures about the work."""


def find_captures(
    cfg: CrawlConfig, wanted: Wanted, crawls: Sequence[str], out_dir: Path, *, progress: Progress | None = None
) -> Path:
    """OUT/captures.parquet: the captures of all crawls that have status 200, an HTML type and a wanted URL.

    Rows by (warc_file, warc_offset), each record once (CAPTURES_SCHEMA); OUT/captures.json has the figures. What was
    looked up is kept under OUT/.look until all is there, and the same call again goes on with the rest; when all is
    there it returns at once. Raises ConfigError for an unknown crawl or a missing contact, ShardError where a part of
    the index did not come.
    """
    names = list(dict.fromkeys(crawls))
    if not names:
        raise ConfigError("no crawl is named; motherlode crawls lists them")
    captures, facts_path, work = out_dir / "captures.parquet", out_dir / "captures.json", out_dir / ".look"
    stamp = digest([sorted(names), cfg.index, cfg.source, cfg.index_server, _identity(wanted)])
    if captures.exists() and facts_path.exists() and read_json(facts_path)["inputs_hash"] == stamp:
        return captures
    _prepare(work, stamp)
    client = index_client(cfg) if cfg.index == "cdx" else data_client(cfg)
    try:
        if not isinstance(client.server, FileServer):
            check_crawls(cfg, names)
        pieces = _cdx_pieces if cfg.index == "cdx" else _index_pieces
        found = [piece for crawl in names for piece in pieces(client, crawl, wanted, work)]
        figures = _look(found, client, cfg, progress)
    finally:
        client.close()
    with database(work / "tmp") as connection:
        rows = write_query(connection, captures_sql(work / "found", connection), captures) if found else _none(captures)
    write_json(
        facts_path,
        {"inputs_hash": stamp, "crawls": names, "captures": rows, "index": cfg.index, "pieces": len(found), **figures},
    )
    remove(work)
    return captures


def _identity(wanted: Wanted) -> list[Any]:
    """What of the wish decides about URLs: labels by prefix and label, not who gave them."""
    return [sorted((one.prefix, one.label) for one in wanted.all_labels()), sorted(wanted.domains)]


def _prepare(work: Path, stamp: str) -> None:
    """A work folder of this look-up: an empty one, or the one that a killed run left."""
    path = work / "inputs"
    if not path.exists() or path.read_text() != stamp:
        remove(work)
        (work / "found").mkdir(parents=True)
        write_text(path, stamp)


def _index_pieces(client: Client, crawl: str, wanted: Wanted, work: Path) -> list[_Piece]:
    def look(path: str) -> tuple[pa.Table, dict[str, int]]:
        part = index.captures_in_part(client, path, crawl, wanted)
        return part.captures, {"row_groups": part.row_groups, "row_groups_read": part.row_groups_read}

    return [_Piece(path, _file(work, path), partial(look, path)) for path in index_parts(client, crawl)]


def _cdx_pieces(client: Client, crawl: str, wanted: Wanted, work: Path) -> list[_Piece]:
    """The pages of all questions; how many each has is asked for once and kept."""
    counts_path = work / f"{crawl}.pages.json"
    counts: dict[str, int] = read_json(counts_path) if counts_path.exists() else {}
    pieces = []
    for query in wanted.queries():
        key = " ".join(query)
        if key not in counts:
            try:
                counts[key] = cdx.num_pages(client, crawl, query)
            except (Broken, Hopeless) as error:
                raise ShardError(f"{client.server.name}: {crawl} {key}: {error}; run the same line again") from None
            write_json(counts_path, counts)
        for page in range(counts[key]):
            name = f"{crawl} {key} page {page}"

            def look(query: Any = query, page: int = page) -> tuple[pa.Table, dict[str, int]]:
                return cdx.captures_on_page(client, crawl, query, page, wanted), {}

            pieces.append(_Piece(name, _file(work, name), look))
    return pieces


def _file(work: Path, name: str) -> Path:
    return work / "found" / f"{xxhash.xxh3_64_hexdigest(name)}.parquet"


def _look(pieces: Sequence[_Piece], client: Client, cfg: CrawlConfig, progress: Progress | None) -> dict[str, int]:
    """Look up what is not there yet; the sums of all figures. ShardError naming the pieces that did not come."""
    todo = [piece for piece in pieces if not piece.file.exists()]
    errors: list[str] = []
    num_found, said = 0, time.monotonic()
    with ThreadPoolExecutor(cfg.threads, thread_name_prefix="look") as pool:
        futures = {pool.submit(_keep, piece): piece for piece in todo}
        try:
            for number, future in enumerate(as_completed(futures), 1):
                try:
                    num_found += future.result()
                except (Absent, Broken, Hopeless) as error:
                    errors.append(f"{futures[future].name}: {error}")
                if progress and time.monotonic() - said > _PROGRESS_S:
                    said = time.monotonic()
                    traffic = client.traffic
                    progress(
                        f"{number:,} of {len(todo):,} pieces of the index; {num_found:,} captures; "
                        f"{traffic.requests:,} requests ({traffic.refusals:,} refused), "
                        f"{traffic.bytes_received / 1e6:,.0f} MB"
                    )
        except BaseException:
            client.close()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if errors:
        shown = "\n  ".join(errors[:20])
        raise ShardError(
            f"{len(errors)} of {len(pieces)} pieces of the index did not come:\n  {shown}\nthe others are kept; "
            "run the same line again"
        )
    sums: dict[str, int] = {}
    for piece in pieces:
        for name, value in (pq.read_schema(piece.file).metadata or {}).items():
            if name.startswith(b"figure."):
                key = name.decode().removeprefix("figure.")
                sums[key] = sums.get(key, 0) + int(json.loads(value))
    return sums


def _keep(piece: _Piece) -> int:
    """Look one piece up and write it; its number of captures."""
    table, figures = piece.look()
    metadata = {f"figure.{name}": json.dumps(value) for name, value in figures.items()}
    partial_file = fresh_partial(piece.file)
    pq.write_table(table.replace_schema_metadata(metadata), partial_file)
    partial_file.replace(piece.file)
    return int(table.num_rows)


def _none(path: Path) -> int:
    pq.write_table(CAPTURES_SCHEMA.empty_table(), path)
    return 0
