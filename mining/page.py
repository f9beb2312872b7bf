"""The page, once: its record, its Arrow schema, and the answer a gate gives about it."""

import re
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mining import compiled


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate says of a page; `reason` is counted when it is dropped."""

    keep: bool
    reason: str = ""


KEEP = Verdict(keep=True)


@dataclass(frozen=True, slots=True)
class Page:
    """One web page as text, with the pointer that finds its bytes again."""

    page_id: str
    """32 hex digits: xxh3-128 of canonical URL, WARC file and offset."""
    url: str
    """As captured, not canonicalised."""
    host: str
    domain: str
    """Registrable domain, private suffixes (github.io) honoured."""
    crawl: str
    """Name of the crawl, from the WARC path (CC-MAIN-2024-22) or the config."""
    fetch_time: str
    """WARC-Date, ISO 8601."""
    warc_file: str
    warc_offset: int
    """Byte offset of the (compressed) record."""
    warc_length: int
    """Bytes of the (compressed) record."""
    payload_digest: str
    """WARC-Payload-Digest as given, else computed (sha1:BASE32)."""
    charset: str
    """The encoding that the bytes were decoded with."""
    truncated: bool
    """The crawler cut the payload."""
    language: str
    """ISO 639-1, `und` where undetermined."""
    language_score: float
    title: str
    text: str
    n_chars: int
    n_tokens: int
    """Estimate, see `estimate_tokens`."""
    formulas_found: int
    """Formulas met in the page's markup."""
    formulas_kept: int
    """Formulas that stand as LaTeX in `text`."""
    formulas_by_kind: list[dict[str, Any]]
    """{kind, found, kept} of each kind of markup that the page has (mining.html.delimiters.KINDS), by name."""


PAGES_SCHEMA = pa.schema(
    [
        ("page_id", pa.string()),
        ("url", pa.string()),
        ("host", pa.string()),
        ("domain", pa.string()),
        ("crawl", pa.string()),
        ("fetch_time", pa.string()),
        ("warc_file", pa.string()),
        ("warc_offset", pa.int64()),
        ("warc_length", pa.int64()),
        ("payload_digest", pa.string()),
        ("charset", pa.string()),
        ("truncated", pa.bool_()),
        ("language", pa.string()),
        ("language_score", pa.float32()),
        ("title", pa.string()),
        ("text", pa.string()),
        ("n_chars", pa.int32()),
        ("n_tokens", pa.int32()),
        ("formulas_found", pa.int32()),
        ("formulas_kept", pa.int32()),
        ("formulas_by_kind", pa.list_(pa.struct([("kind", pa.string()), ("found", pa.int32()), ("kept", pa.int32())]))),
    ]
)

DROPPED_SCHEMA = pa.schema(
    [
        ("url", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("warc_file", pa.string()),
        ("warc_offset", pa.int64()),
        ("warc_length", pa.int64()),
    ]
)

_CJK = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]")


def estimate_tokens(text: str) -> int:
    """Tokens a BPE of 100k entries would make of `text`, to about 15%: one a CJK character, one per four others.

    A fixed rule, not a tokenizer: the budget needs the same measure in every round, crawl and machine.
    """
    num_cjk = compiled.characters.count_cjk(text) if compiled.characters else count_cjk_in_python(text)
    return num_cjk + (len(text) - num_cjk + 3) // 4


def count_cjk_in_python(text: str) -> int:
    """Ideographs, kana and hangul syllables."""
    return len(_CJK.findall(text))
