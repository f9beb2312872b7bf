"""How Common Crawl, or a mirror of it, is asked."""

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from mining.errors import ConfigError

_CONTACT = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+|https?://\S+")


@dataclass(frozen=True)
class CrawlConfig:
    """Where crawls are fetched from, how fast and how patiently."""

    source: str = "https://data.commoncrawl.org"
    """What the paths of a crawl (crawl-data/..., cc-index/...) are below: a base URL, s3://commoncrawl (with the
    credentials that the AWS SDK finds), another fsspec URI, or a folder."""
    index_server: str = "https://index.commoncrawl.org"
    """Server of collinfo.json, which lists the crawls, and of the CDX API."""
    index: Literal["columnar", "cdx"] = "columnar"
    """Where captures are looked up: columnar reads the Parquet index under `source` (many prefixes, whole domains),
    cdx asks the CDX API of `index_server` (few prefixes, little traffic)."""
    user_agent: str = ""
    """Sent with every request; Common Crawl wants to know whom to write to, so name a mail or web address in it:
    'acme-math/1.0 (ops@acme.example)'."""
    data_rate: float = 2.0
    """Requests a second to `source`, all processes of this machine together."""
    index_rate: float = 1.0
    """Requests a second to `index_server`, likewise."""
    threads: int = 4
    """Requests that are under way at once in this process."""
    timeout_s: float = 120.0
    """Seconds that one request may take in all; of a whole WARC file, each 8 MiB of it."""
    max_attempts: int = 5
    """Attempts a request, or a record, that fails by a cut connection, a timeout or wrong bytes."""
    first_wait_s: float = 1.0
    """Wait after the first failure or refusal (403, 429, 503), doubled from one to the next; a longer Retry-After
    counts. After a refusal all workers of the machine wait."""
    max_wait_s: float = 120.0
    """Longest such wait."""
    patience_s: float = 3600.0
    """Seconds that a server may refuse without a break before the rest is given up for this time."""
    max_waste: float = 0.2
    """Bytes between wanted records that are read along to save requests, as a share of the wanted bytes."""
    max_range_bytes: int = 16 << 20
    """Bytes a request for records at most; a longer record is asked for alone."""
    batch_bytes: int = 256 << 20
    """Bytes of records that make one file of web/."""
    limits_dir: str = ""
    """Folder of the files by which processes share a rate; empty: motherlode/limits in the user's cache folder."""

    def __post_init__(self) -> None:
        positive = ("data_rate", "index_rate", "threads", "timeout_s", "max_attempts", "max_range_bytes", "batch_bytes")
        for name in positive:
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name}={getattr(self, name)}: must be above 0")
        if not 0 <= self.first_wait_s <= self.max_wait_s or self.patience_s < 0 or self.max_waste < 0:
            raise ConfigError(
                f"first_wait_s={self.first_wait_s}, max_wait_s={self.max_wait_s}, patience_s={self.patience_s}, "
                f"max_waste={self.max_waste}: none may be negative, and the first wait not longer than the longest"
            )
        if any(ord(letter) < 32 or ord(letter) > 126 for letter in self.user_agent):
            raise ConfigError(f"user_agent={self.user_agent!r}: holds characters that no HTTP header may have")

    def check_contact(self, url: str) -> None:
        """ConfigError where a server of Common Crawl would be asked without an address to write to."""
        host = urlsplit(url).hostname or ""
        if (host == "commoncrawl.org" or host.endswith(".commoncrawl.org")) and not _CONTACT.search(self.user_agent):
            raise ConfigError(
                f"user_agent={self.user_agent!r}: {host} wants to know who asks; give a name with a mail or web "
                "address, for example --user_agent 'acme-math/1.0 (ops@acme.example)'"
            )
