"""Bytes of a web page -> text, by every hint there is, each of them checked.

Valid UTF-8 is UTF-8, whatever the labels say. For other bytes the hints are weighed in this order: HTTP header, the
crawler's metadata, <meta>, the language the page names, its country's domain, and the letters themselves
(mining/html/letters.py). A byte order mark goes first where the bytes after it bear it out. No hint is believed: a
decoding is taken only when it is strict and reads like text, so that a page with a wrong label comes out right and no
page is ever quietly read as windows-1252. What cannot be told from the bytes is read as a browser would.

Text that was encoded twice and pieces of another encoding in a page of UTF-8 are repaired where that is certain
(mining/html/mojibake.py). Damaged places that remain are U+FFFD.
"""

import codecs
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from mining.errors import RecordError
from mining.html.letters import Reading, cheapest, detectable_codecs, languages, read
from mining.html.mojibake import mend_pieces, undo_double

MAX_DAMAGE = 0.02
"""Highest share of undecodable places among the non-ASCII characters of a page that is still taken."""

MAX_UTF8_DAMAGE = 0.2
"""The same for UTF-8: a valid multi-byte sequence is so unlikely by chance that five of them outweigh a stray byte."""

MAX_MEAN_COST, MAX_FEW_COST = 6.5, 8.5
"""Readings whose characters cost more each (-ln P) are noise: random bytes cost over 7 in every encoding that can hold
them, texts of 30 languages under 5.8. The second limit is for pages with fewer than 20 bytes outside ASCII, which may
be signs only."""

MAX_PIECE_COST, MAX_WIDE_PIECE_COST = 6.5, 4.5
"""The same for pieces of another encoding within UTF-8, where the other explanation is plain damage; the second for
Chinese, Japanese and Korean, whose two-byte characters any two bytes will make."""

MAX_JUNK = 0.001
"""Share of undecodable places among all characters of a page that fits nothing: stray bytes in a page of ASCII."""

_LABEL_GAINS = (10.0, 9.0, 8.0)
"""What the first, second and third encoding named (header, crawl metadata, <meta>) are worth in a contest."""
_LABEL_SHARE = 0.35
"""What a label is worth for each byte outside ASCII: a right one is often right for letters that we do not know."""
_DEFAULT_LABEL_GAIN = 1.0
"""What iso-8859-1 and windows-1252 are worth, which servers send for everything."""

_MAX_CHANCE = 8
"""Bytes beyond the first of each character, up to which a page may be valid UTF-8 by chance."""

_SCAN_BYTES = 4096
"""How far into a page a <meta> declaration is looked for (the HTML standard says 1,024; real pages exceed it)."""
_FIRST_SAMPLE, _SECOND_SAMPLE = 1_000, 4_000
"""Bytes that all encodings, and those that led the first contest, are tried on."""
_NUM_FINALISTS = 5
_CLEAR_LEAD = 100.0
"""A lead, in natural logarithm of likelihood, that makes the second contest needless."""
_PROSE_BYTES = 4_000

_HANDICAP = 3.0
"""What every encoding but windows-1252, the commonest by far among legacy ones, is behind by at the start."""
_RARE = {
    "mac_roman": 12.0, "mac_cyrillic": 15.0, "cp866": 10.0, "iso8859_4": 7.0, "iso8859_5": 6.0, "iso8859_6": 6.0,
    "cp1258": 5.0, "cp874": 5.0, "koi8_u": 4.0, "cp1257": 4.0, "iso8859_2": 3.5,
}  # fmt: skip

# WHATWG labels whose Python codec of the same name is another, smaller set than what browsers decode.
_WHATWG = {
    "ascii": "cp1252", "us-ascii": "cp1252", "iso-8859-1": "cp1252", "iso8859-1": "cp1252", "latin1": "cp1252",
    "latin-1": "cp1252", "iso_8859-1": "cp1252", "l1": "cp1252", "cp819": "cp1252", "x-cp1252": "cp1252",
    "iso-8859-9": "cp1254", "iso8859-9": "cp1254", "latin5": "cp1254", "iso-8859-11": "cp874", "tis-620": "cp874",
    "gb2312": "gb18030", "gbk": "gb18030", "gb_2312-80": "gb18030", "x-gbk": "gb18030", "chinese": "gb18030",
    "gb_2312": "gb18030", "csgb2312": "gb18030", "iso-ir-58": "gb18030", "cp936": "gb18030",
    "big5": "big5hkscs", "big5-hkscs": "big5hkscs", "x-x-big5": "big5hkscs", "cn-big5": "big5hkscs",
    "shift_jis": "cp932", "shift-jis": "cp932", "sjis": "cp932", "x-sjis": "cp932", "windows-31j": "cp932",
    "ms_kanji": "cp932", "x-euc-jp": "euc_jp", "euc-kr": "cp949", "ks_c_5601-1987": "cp949", "korean": "cp949",
    "ksc5601": "cp949", "ks_c_5601": "cp949", "windows-949": "cp949", "unicode": "utf_16_le", "utf-16": "utf_16_le",
    "ucs-2": "utf_16_le", "x-mac-roman": "mac_roman", "macintosh": "mac_roman", "x-cp1251": "cp1251",
    "koi": "koi8_r", "koi8": "koi8_r", "koi8-ru": "koi8_u", "logical": "iso8859_8", "iso-8859-8-i": "iso8859_8",
    "unicode-1-1-utf-8": "utf_8", "utf-8mb4": "utf_8",
}  # fmt: skip

_NEVER = ("idna", "punycode", "utf_7", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem")
_BOMS = (
    (codecs.BOM_UTF8, "utf_8"), (codecs.BOM_UTF32_LE, "utf_32_le"), (codecs.BOM_UTF16_LE, "utf_16_le"),
    (codecs.BOM_UTF16_BE, "utf_16_be"),
)  # fmt: skip
_HEADER_CHARSET = re.compile(r"charset\s*+=\s*+[\"']?+\s*+([\w.:\-]+)", re.IGNORECASE)
_META_CHARSET = re.compile(
    rb"<meta[^>]{0,300}?charset\s*+=\s*+[\"']?+\s*+([\w.:\-]+)|<\?xml[^>]{0,100}?encoding\s*=\s*[\"']([\w.:\-]+)",
    re.IGNORECASE,
)
_HTML_LANGUAGE = re.compile(
    rb"<html[^>]{0,500}?\blang\s*=\s*[\"']?([a-z]{2,3}(?:[-_][a-z]{2,4})?)\b"
    rb"|<meta[^>]{0,100}?content-language[^>]{0,40}?content\s*=\s*[\"']?([a-z]{2,3}(?:[-_][a-z]{2,4})?)\b",
    re.IGNORECASE,
)
_LANGUAGE_NAMES = {"zh-tw": "zh-tw", "zh-hk": "zh-tw", "zh-hant": "zh-tw", "sr-latn": "hr", "bs": "hr", "no": "nb",
                   "nn": "nb", "iw": "he", "gr": "el", "cz": "cs", "jp": "ja", "kr": "ko", "ua": "uk"}  # fmt: skip
_TAG = re.compile(rb"<[^<>]{0,1000}>")
_HIGH = re.compile(rb"[\x80-\xff]")
_STRETCH = re.compile(rb"[\x80-\xff]+(?:[\x00-\x7f]{1,30}[\x80-\xff]+)*")
_LONG_LINE = 400
_NON_ASCII = re.compile(r"[^\x00-\x7f]")
_CJK = re.compile("[\u3000-\u30ff\u3400-\u9fff\uac00-\ud7a3\uff00-\uffef]")
_CJK_CODECS = ("gb18030", "big5hkscs", "cp932", "euc_jp", "cp949")
_CONTROLS = re.compile("[\x80-\x84\x86-\x9f]")


def decode(
    payload: bytes, *, http_content_type: str | None, warc_charset: str | None = None, url: str = ""
) -> tuple[str, str]:
    """The page's text and the Python name of the encoding that it was read with.

    The address serves as evidence by its country's domain. Raises RecordError("undecodable") when no reading keeps
    damaged places within `MAX_DAMAGE` and reads like text.
    """
    for bom, codec in _BOMS:
        if payload.startswith(bom):
            body = payload[len(bom) :]
            text = body.decode(codec, errors="replace")
            if codec != "utf_8" or _is_bearable(text, MAX_UTF8_DAMAGE):
                return text, codec
            payload = body  # a mark that an editor set before a page of another encoding
    labels = (_header_label(http_content_type), warc_charset)
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(payload) - 3 or error.reason != "unexpected end of data":
            return _decode_legacy(payload, _legacy_labels(payload, labels), url)
        text = payload[: error.start].decode("utf-8")
    if b"\x00" in payload[:_SCAN_BYTES] and (wide := _utf_16_without_bom(payload)):
        return payload.decode(wide, errors="replace"), wide
    if b"\x1b" in payload and b"\x1b$" in payload and (japanese := _iso_2022_jp(payload)) is not None:
        return japanese, "iso2022_jp"
    if 0 < len(payload) - len(text) <= _MAX_CHANCE and (short := _short_cjk(payload, labels)):
        return short
    return undo_double(payload, text) or text, "utf_8"


def codec_of(label: str | None) -> str | None:
    """The Python codec that browsers mean by an encoding label, None for a label that names none."""
    if not label:
        return None
    name = label.strip().lower()
    name = _WHATWG.get(name, name)
    try:
        info = codecs.lookup(name)
    except (LookupError, ValueError):
        return None
    codec = _WHATWG.get(info.name, info.name.replace("-", "_"))
    return codec if getattr(info, "_is_text_encoding", True) and codec not in _NEVER else None


def _decode_legacy(payload: bytes, labels: list[str], url: str) -> tuple[str, str]:
    """The reading of bytes that are not UTF-8: UTF-16, damaged UTF-8, the best of a contest, or ASCII with dirt."""
    if (wide := _utf_16_without_bom(payload)) and (text := _whole(payload, wide)) is not None:
        return text, wide
    text = payload.decode("utf-8", errors="replace")
    if _is_bearable(text, MAX_UTF8_DAMAGE):
        return mend_pieces(payload, text, lambda pieces: _codec_of_pieces(pieces, url)), "utf_8"
    limit = MAX_MEAN_COST if len(_HIGH.findall(payload)) >= 20 else MAX_FEW_COST
    for one in _contest(payload, labels, url):
        if one.mean_cost <= limit and (legacy := _whole(payload, one.codec)) is not None:
            return legacy, one.codec
    if text.count("\ufffd") <= MAX_JUNK * len(text):
        return text, "utf_8"
    tried = ", ".join(labels) or "none"
    raise RecordError("undecodable", f"{len(payload)} bytes fit neither UTF-8 nor the encodings named ({tried})")


def _codec_of_pieces(pieces: bytes, url: str) -> str | None:
    for one in _contest(pieces, [], url):
        limit = MAX_WIDE_PIECE_COST if one.codec in _CJK_CODECS else MAX_PIECE_COST
        if one.mean_cost <= limit and _strict(pieces, one.codec) is not None:
            return one.codec
    return None


def _contest(payload: bytes, labels: list[str], url: str) -> list[Reading]:
    """Readings of the page by all encodings worth a trial, likeliest first."""
    hinted = _hinted_languages(payload, url)
    sample, prose = _sample(payload, _FIRST_SAMPLE)
    candidates = list(dict.fromkeys((*labels, *detectable_codecs())))
    ranked = cheapest(sample, candidates, gains=_gains(sample, labels), hinted=hinted, prose=prose)
    is_clear = len(ranked) > 1 and ranked[1].cost - ranked[0].cost > _CLEAR_LEAD
    if len(sample) >= _FIRST_SAMPLE // 2 and not is_clear:
        sample, prose = _sample(payload, _SECOND_SAMPLE)
        finalists = dict.fromkeys((*(one.codec for one in ranked[:_NUM_FINALISTS]), *labels))
        ranked = cheapest(sample, finalists, gains=_gains(sample, labels), hinted=hinted, prose=prose)
    return ranked


def _gains(sample: bytes, labels: list[str]) -> dict[str, float]:
    """What each encoding is let off: for being named, by whom; less than nothing for being rare."""
    gains = {codec: -_RARE.get(codec, _HANDICAP) for codec in detectable_codecs() if codec != "cp1252"}
    num_high = len(_HIGH.findall(sample))
    for codec, gain in zip(labels, _LABEL_GAINS, strict=False):
        named = _DEFAULT_LABEL_GAIN if codec == "cp1252" else gain + _LABEL_SHARE * num_high
        gains[codec] = gains.get(codec, 0.0) + named
    return gains


def _sample(payload: bytes, max_bytes: int) -> tuple[bytes, str]:
    """Different lines of the page that hold bytes outside ASCII, and some lower-case text of those that do not."""
    lines = dict.fromkeys(line.strip() for line in _TAG.sub(b"\n", payload).splitlines())
    high: list[bytes] = []
    prose: list[bytes] = []
    num_high = num_prose = 0
    for line in lines:
        if not line.isascii() and num_high < max_bytes:
            high.append(line if len(line) < _LONG_LINE else _dense_part(line, max_bytes))
            num_high += len(high[-1])
        elif len(line) > 20 and num_prose < _PROSE_BYTES:
            prose.append(line[:400])
            num_prose += len(prose[-1])
    return b"\n".join(high), b"\n".join(prose).decode("ascii", "ignore").lower()


def _dense_part(line: bytes, max_bytes: int) -> bytes:
    """The stretches of a line around its bytes outside ASCII: minified scripts hold one word in ten thousand bytes."""
    parts: list[bytes] = []
    length = 0
    for stretch in _STRETCH.finditer(line):
        parts.append(line[max(0, stretch.start() - 30) : stretch.end() + 30][:max_bytes])
        length += len(parts[-1])
        if length >= max_bytes:
            break
    return b" ".join(parts)


def _hinted_languages(payload: bytes, url: str) -> frozenset[str]:
    """Languages that the markup names and those of the address's country; English is every template's default."""
    found = set()
    if match := _HTML_LANGUAGE.search(payload[:_SCAN_BYTES]):
        name = (match[1] or match[2]).decode("ascii").lower().replace("_", "-")
        found.add(_LANGUAGE_NAMES.get(name) or _LANGUAGE_NAMES.get(name.split("-")[0]) or name.split("-")[0])
    try:
        country = (urlsplit(url).hostname or "").rpartition(".")[2]
    except ValueError:
        country = ""
    found.update(language.code for language in languages() if country in language.domains)
    return frozenset(found - {"en"})


def _whole(payload: bytes, codec: str) -> str | None:
    """The whole page's text, None where it has too many damaged places or control characters for the encoding."""
    text = _strict(payload, codec)
    if text is None:
        text = read(payload, codec, "mining.browser")
        if not _is_bearable(text, MAX_DAMAGE):
            return None
    num_high = len(_NON_ASCII.findall(text))
    return text if len(_CONTROLS.findall(text)) <= 0.005 * num_high + 1 else None


def _legacy_labels(payload: bytes, labels: Iterable[str | None]) -> list[str]:
    """The codecs named by header, crawl metadata and <meta>, best first, Unicode ones left out.

    The caller knows that the bytes are not UTF-8, and a <meta> that reads as ASCII does not stand in UTF-16.
    """
    match = _META_CHARSET.search(payload[:_SCAN_BYTES])
    meta = (match[1] or match[2]).decode("ascii", "ignore") if match else None
    named = (codec_of(label) for label in (*labels, meta))
    return list(dict.fromkeys(codec for codec in named if codec and not codec.startswith("utf")))


def _header_label(http_content_type: str | None) -> str | None:
    match = _HEADER_CHARSET.search(http_content_type or "")
    return match[1] if match else None


def _utf_16_without_bom(payload: bytes) -> str | None:
    head = payload[:_SCAN_BYTES]
    num_even, num_odd = head[::2].count(0), head[1::2].count(0)
    if max(num_even, num_odd) < len(head) // 8 or max(num_even, num_odd) < 4 * min(num_even, num_odd):
        return None
    return "utf_16_le" if num_odd > num_even else "utf_16_be"


def _iso_2022_jp(payload: bytes) -> str | None:
    """The page as ISO-2022-JP where it reads like Japanese, with the vendor characters that browsers know."""
    text = _strict(payload, "iso2022_jp")
    if text is None:  # ①, ㈱ and the like, which the standard lacks: by way of EUC-JP, the same rows with the high bit
        eight_bit = re.sub(rb"\x1b\$[@B]([^\x1b]*)", lambda match: match[1].translate(_RAISED), payload)
        text = read(re.sub(rb"\x1b\([BJ]", b"", eight_bit), "euc_jp", "mining.browser")
    wide = _NON_ASCII.findall(text)
    return text if wide and "\ufffd" not in text and sum(map(len, map(_CJK.findall, wide))) > 0.8 * len(wide) else None


def _strict(payload: bytes, codec: str) -> str | None:
    """The text, or None; a character that the crawler cut at the very end does not count."""
    try:
        return read(payload, codec)
    except UnicodeDecodeError as error:
        if error.start < len(payload) - 4 or not error.reason.startswith(("incomplete", "unexpected end", "truncated")):
            return None
        try:
            return read(payload[: error.start], codec)
        except UnicodeDecodeError:
            return None


def _is_bearable(text: str, max_damage: float) -> bool:
    """Whether U+FFFD are at most `max_damage` of the other characters outside ASCII."""
    num_bad = text.count("\ufffd")
    return num_bad <= max_damage * (len(_NON_ASCII.findall(text)) - num_bad)


def _short_cjk(payload: bytes, labels: tuple[str | None, ...]) -> tuple[str, str] | None:
    """A handful of CJK characters in the encoding named, where that is likelier than what they are as UTF-8.

    Two-byte pairs of GBK can pass for UTF-8 by chance: 模牛 is also ģţ.
    """
    named = [codec for codec in _legacy_labels(payload, labels) if codec in _CJK_CODECS]
    texts = {codec: text for codec in named if (text := _strict(payload, codec)) is not None}
    if not texts:
        return None
    sample, _ = _sample(payload, _FIRST_SAMPLE)
    gains = _gains(sample, list(texts))
    best = cheapest(sample, (*texts, "utf_8"), gains=gains, hinted=(), prose="")[0].codec
    return (texts[best], best) if best in texts else None


def _as_browsers_decode(error: UnicodeError) -> tuple[str, int]:
    """Characters that browsers know and Python's codec lacks: the euro of GBK, the vendor rows of EUC-JP."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    bad = error.object[error.start : error.start + 2]
    if error.encoding == "gb18030" and bad[:1] == b"\x80":
        return "€", error.start + 1
    if error.encoding == "euc_jp" and len(bad) == 2 and min(bad) >= 0xA1 and max(bad) <= 0xFE:
        row, cell = bad[0] - 0xA1, bad[1] - 0xA1
        first = row // 2 + (0x81 if row < 62 else 0xC1)
        second = cell + (0x9F if row % 2 else 0x40 if cell < 63 else 0x41)
        wide = bytes((first, second)).decode("cp932", "ignore")
        return wide or "\ufffd", error.start + 2
    return "\ufffd", error.end


_RAISED = bytes(byte | 0x80 if 0x21 <= byte < 0x7F else byte for byte in range(256))
codecs.register_error("mining.browser", _as_browsers_decode)
