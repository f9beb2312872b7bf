"""What there is: the crawls, and the lists of files that each of them publishes."""

import gzip
import json
import zlib
from dataclasses import dataclass

from mining.config import did_you_mean
from mining.crawl.servers import Absent, Broken, FileServer, Hopeless
from mining.crawl.settings import CrawlConfig
from mining.crawl.transfer import Client, data_client, index_client
from mining.errors import ConfigError, ShardError


@dataclass(frozen=True, slots=True)
class Crawl:
    """One crawl, as collinfo.json has it."""

    id: str
    """CC-MAIN-2024-22: year and week."""
    name: str
    first: str
    """When its first page was fetched, ISO 8601; empty where the list does not say."""
    last: str


def list_crawls(cfg: CrawlConfig) -> list[Crawl]:
    """All crawls of the index server, newest first; ConfigError where it has no list, ShardError where none comes."""
    client = index_client(cfg)
    try:
        entries = json.loads(client.read("collinfo.json").body)
        return [
            Crawl(
                str(entry["id"]), str(entry.get("name") or ""), str(entry.get("from") or ""), str(entry.get("to") or "")
            )
            for entry in entries
        ]
    except (Absent, Hopeless, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"{cfg.index_server}: no list of crawls at collinfo.json ({error}); check --index_server"
        ) from None
    except Broken as error:
        raise ShardError(f"{cfg.index_server}/collinfo.json: {error}; run the same line again") from None
    finally:
        client.close()


def check_crawls(cfg: CrawlConfig, crawls: list[str]) -> None:
    """ConfigError with the nearest name for a crawl that the index server does not list."""
    known = [crawl.id for crawl in list_crawls(cfg)]
    for crawl in crawls:
        if crawl not in known:
            near = did_you_mean(crawl, known) if known else ""
            near = near if near.startswith(";") else ""
            raise ConfigError(
                f"crawl {crawl!r}: {cfg.index_server} has none of this name{near} (see motherlode crawls)"
            )


def warc_paths(cfg: CrawlConfig, crawl: str) -> list[str]:
    """The paths of all WARC files of a crawl, in the list's order."""
    client = data_client(cfg)
    try:
        return path_list(client, crawl, "warc")
    finally:
        client.close()


def index_parts(client: Client, crawl: str) -> list[str]:
    """The paths of the columnar index's files of a crawl, those of successful captures alone.

    A folder or file system without the list cc-index-table.paths.gz is searched for them.
    """
    subset = "/subset=warc/"
    try:
        parts = [path for path in path_list(client, crawl, "cc-index-table") if subset in path]
    except ConfigError:
        if not isinstance(client.server, FileServer):
            raise
        parts = client.server.find(f"cc-index/table/cc-main/warc/crawl={crawl}{subset}*.parquet")
    if not parts:
        raise ConfigError(f"{client.server.name}: no columnar index of {crawl}; check --crawl and --source, or use cdx")
    return parts


def path_list(client: Client, crawl: str, kind: str) -> list[str]:
    """The lines of crawl-data/<crawl>/<kind>.paths.gz; ConfigError where there is no such crawl or list."""
    path = f"crawl-data/{crawl}/{kind}.paths.gz"
    try:
        return gzip.decompress(client.read(path).body).decode().split()
    except (Absent, Hopeless) as error:
        raise ConfigError(
            f"{client.server.name} has no {path} ({error}); check the crawl's name (motherlode crawls) and --source"
        ) from None
    except (Broken, OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ShardError(f"{client.server.name}/{path}: {error}; run the same line again") from None
