"""Legacy encodings recovered from real pages: ours beside resiliparse and charset_normalizer, and the cost of UTF-8.

    python tests/bench/charsets.py [--pages 40] [--json]

Real UTF-8 pages of ../shared/data/web (or MOTHERLODE_DATA) are stripped of their charset declaration and encoded as
each legacy encoding that can hold 99% of their characters outside ASCII (typographic quotes, dashes and signs that it
lacks become character references, as authors write them); a page is recovered when its text comes back
exactly. Unlabelled: no header, no <meta>. Right, wrong: named so, or as another encoding, in the HTTP header. The
peers are called as their users call them: resiliparse `bytes_to_str` with the label, or with `detect_encoding` (asked
again without its HTML 5 mapping where that says utf-8, as it does of Korean); charset_normalizer takes no label.
Simplified Chinese pages come from the hosts that mining/html/letters.txt was not counted on.
"""

import argparse
import json
import os
import re
import statistics
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from reports.rows import Row, as_json, print_rows
from resiliparse.parse.encoding import bytes_to_str, detect_encoding
from rich.console import Console

from mining.errors import RecordError
from mining.html.charset import decode
from mining.ingest import is_html
from mining.warc import read_responses

# Encoding, script or language of the pages it is tried on, its label, and a wrong label.
ENCODINGS = (
    ("gb18030", "han", "gb18030", "iso-8859-1"), ("gbk", "han", "gbk", "big5"), ("gb2312", "han", "gb2312", "utf-8"),
    ("big5", "hant", "big5", "gbk"), ("big5hkscs", "hant", "big5-hkscs", "iso-8859-1"),
    ("shift_jis", "kana", "shift_jis", "iso-8859-1"), ("euc_jp", "kana", "euc-jp", "shift_jis"),
    ("iso2022_jp", "kana", "iso-2022-jp", "utf-8"), ("euc_kr", "hangul", "euc-kr", "gbk"),
    ("cp949", "hangul", "ks_c_5601-1987", "iso-8859-1"), ("cp1251", "cyrillic", "windows-1251", "iso-8859-1"),
    ("koi8_r", "cyrillic", "koi8-r", "windows-1251"), ("iso8859_5", "cyrillic", "iso-8859-5", "windows-1251"),
    ("iso8859_2", "pl", "iso-8859-2", "iso-8859-1"), ("cp1250", "pl", "windows-1250", "iso-8859-2"),
    ("iso8859_2", "hu", "iso-8859-2", "iso-8859-1"), ("cp1250", "hu", "windows-1250", "iso-8859-1"),
    ("cp1252", "de", "windows-1252", "utf-8"), ("iso8859_1", "de", "iso-8859-1", "windows-1251"),
    ("mac_roman", "de", "macintosh", "iso-8859-1"), ("cp1252", "fr", "windows-1252", "iso-8859-2"),
    ("cp1252", "es", "windows-1252", "utf-8"), ("cp1252", "pt", "windows-1252", "iso-8859-2"),
    ("cp1252", "en", "windows-1252", "utf-8"), ("cp1256", "arabic", "windows-1256", "iso-8859-1"),
)  # fmt: skip
_SCRIPTS = {
    "kana": re.compile("[\u3041-\u30ff]"), "hangul": re.compile("[\uac00-\ud7a3]"),
    "cyrillic": re.compile("[\u0400-\u04ff]"), "arabic": re.compile("[\u0620-\u06ff]"),
    "hant": re.compile("[們這個來為說時會對學數關開經實從樣進還與]"), "han": re.compile("[\u4e00-\u9fff]"),
    "pl": re.compile("[ąęłńśźż]"), "hu": re.compile("[őű]"), "de": re.compile("[äöüß]"), "fr": re.compile("[éèàêç]"),
    "pt": re.compile("[ãõç]"), "es": re.compile("[ñóáíú]"), "en": re.compile("[‘’“”—–]"),
}  # fmt: skip
_MIN_CHARS = {"han": 200, "hant": 100, "en": 5}
_DECLARATION = re.compile(r"<meta[^>]{0,300}charset[^>]{0,100}>|<\?xml[^>]{0,200}\?>", re.IGNORECASE)
_LANGUAGE = re.compile(r"<html[^>]{0,300}?\blang\s*=\s*[\"']?([a-z]{2})", re.IGNORECASE)
_NON_ASCII = re.compile(r"[^\x00-\x7f]")
_TYPOGRAPHY = "‘’“”„–—…•·©®™€°\xa0\xad«»→←"
_MAX_PER_HOST = 10
_PEER_PAGES = 10
"""charset_normalizer takes up to seconds a page: it sees the first pages of each encoding only."""
Page = tuple[bytes, str]


def data_folder() -> Path | None:
    """The folder of real web data, None where it is absent."""
    default = Path(__file__).resolve().parent.parent.parent.parent / "shared" / "data"
    folder = Path(os.environ.get("MOTHERLODE_DATA", default))
    return folder if (folder / "web").is_dir() else None


def real_pages(folder: Path) -> Iterator[tuple[str, bytes]]:
    """(host, payload) of every HTML page that is valid UTF-8."""
    for path in sorted((folder / "web").glob("part-*.warc.gz")):
        for raw in read_responses(str(path), max_payload_bytes=4_000_000):
            if raw.problem or raw.http_status != 200 or not is_html(raw.content_type, raw.payload):
                continue
            try:
                raw.payload.decode("utf-8")
            except UnicodeDecodeError:
                continue
            yield urlsplit(raw.url).hostname or "", raw.payload


def kind_of(host: str, html: str) -> str | None:
    """Which row of `_SCRIPTS` a page stands for."""
    head = _LANGUAGE.search(html[:3000])
    language = head[1].lower() if head else ""
    for kind, letters in _SCRIPTS.items():
        if len(letters.findall(html[:60_000])) < _MIN_CHARS.get(kind, 40):
            continue
        if kind == "han" and sum(host.encode()) % 2 == 0:
            return None  # letters.txt was counted on these hosts
        if len(kind) > 2 or language == kind or (language == "" and kind in ("pl", "hu")):
            return kind
    return None


def collect(folder: Path, pages_wanted: int) -> tuple[dict[str, list[str]], list[bytes]]:
    """Texts of real pages by kind, at most `_MAX_PER_HOST` a host, and a mixture of payloads as they are."""
    kinds: dict[str, list[str]] = {kind: [] for kind in _SCRIPTS}
    per_host: dict[str, int] = {}
    mixture: list[bytes] = []
    for number, (host, payload) in enumerate(real_pages(folder)):
        if number % 20 == 0:
            mixture.append(payload)
        if per_host.get(host, 0) >= _MAX_PER_HOST or payload.isascii():
            continue
        html = payload.decode("utf-8").removeprefix("\ufeff")
        kind = kind_of(host, html)
        if kind and len(kinds[kind]) < 2 * pages_wanted:
            per_host[host] = per_host.get(host, 0) + 1
            kinds[kind].append(_DECLARATION.sub("", html))
    return kinds, mixture


def encoded(texts: list[str], codec: str) -> list[Page]:
    """(bytes, text that they stand for) of the pages that the encoding can hold but for 1% of what is not ASCII."""
    pages = []
    for text in texts:
        if missing := [sign for sign in _TYPOGRAPHY if not sign.encode(codec, "ignore")]:
            text = text.translate({ord(sign): f"&#{ord(sign)};" for sign in missing})
        payload = text.encode(codec, "ignore")
        kept = payload.decode(codec)
        num_wide = len(_NON_ASCII.findall(text))
        if num_wide and len(text) - len(kept) <= 0.01 * num_wide:
            pages.append((payload, kept))
    return pages


def by_us(payload: bytes, label: str | None) -> str:
    try:
        return decode(payload, http_content_type=f"text/html; charset={label}" if label else "text/html")[0]
    except RecordError:
        return ""


def by_resiliparse(payload: bytes, label: str | None) -> str:
    detected = label or detect_encoding(payload) or "utf-8"
    if detected == "utf-8" and not label:
        detected = detect_encoding(payload, html5_compatible=False) or "utf-8"
    return str(bytes_to_str(payload, detected, errors="replace"))


def by_charset_normalizer(payload: bytes, label: str | None) -> str:
    from charset_normalizer import from_bytes

    best = from_bytes(payload).best()
    return str(best) if best else ""


def recovered(reader: Callable[[bytes, str | None], str], pages: list[Page], label: str | None) -> float:
    """Share of pages whose text comes back exactly, but for vendor variants of the same dash, wave and bar."""
    return sum(_folded(reader(payload, label)) == _folded(text) for payload, text in pages) / len(pages)


_VARIANTS = str.maketrans("～∥－￠￡￢￣￥‾―·", "〜‖−¢£¬¯¥¯—・")


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text.translate(_VARIANTS).replace("\\", "¥"))


def rows_of(kinds: dict[str, list[str]], pages_wanted: int) -> Iterator[Row]:
    """One row for each encoding, label and peer."""
    for codec, kind, right, wrong in ENCODINGS:
        pages = encoded(kinds[kind], codec)[:pages_wanted]
        if not pages:
            continue
        case = f"{codec} {kind}, {len(pages)} pages"
        for metric, label in (("unlabelled", None), ("right label", right), (f"labelled {wrong}", wrong)):
            ours = recovered(by_us, pages, label)
            yield row(case, metric, ours, "resiliparse", recovered(by_resiliparse, pages, label))
        try:
            few = pages[:_PEER_PAGES]
            theirs = recovered(by_charset_normalizer, few, None)
        except ImportError:
            continue
        yield row(case, f"unlabelled, first {len(few)}", recovered(by_us, few, None), "charset_normalizer", theirs)


def row(case: str, metric: str, ours: float, peer: str, theirs: float) -> Row:
    """One comparison of recovered shares; the ratio is None where the peer recovers nothing."""
    return Row(case, metric, ours, peer, theirs, ours / theirs if theirs else None)


def microseconds(reader: Callable[[bytes, str | None], str], payloads: list[bytes]) -> float:
    """CPU time a page, median of five rounds."""
    rounds = []
    for _ in range(5):
        started = time.process_time()
        for payload in payloads:
            reader(payload, None)
        rounds.append((time.process_time() - started) / len(payloads) * 1e6)
    return statistics.median(rounds)


def speed_row(payloads: list[bytes]) -> Row:
    """Cost of the common case, a page of valid UTF-8; a ratio above 1 means that ours is faster."""
    ours, theirs = microseconds(by_us, payloads), microseconds(by_resiliparse, payloads)
    case = f"utf-8 as it comes, {len(payloads)} pages"
    return Row(case, "us_per_page", ours, "resiliparse", theirs, theirs / ours)


def main() -> int:
    """Measure, print a table or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pages", type=int, default=40, help="pages an encoding")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    folder = data_folder()
    if folder is None:
        sys.stderr.write("no real web data: set MOTHERLODE_DATA to the folder that holds web/part-*.warc.gz\n")
        return 1
    kinds, mixture = collect(folder, args.pages)
    rows = [*rows_of(kinds, args.pages), speed_row(mixture)]
    if args.json:
        sys.stdout.write(json.dumps({"rows": as_json(rows)}) + "\n")
        return 0
    print_rows(Console(), "Share of pages recovered exactly", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
