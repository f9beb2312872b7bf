"""Bytes of a web page -> text, by every hint there is, each of them checked.

The hints are tried in this order: byte order mark, HTTP header, the crawler's metadata, <meta>, detection from the
bytes. No hint is believed: a decoding is taken only when it is strict and reads like text, so that a page with a
wrong label comes out right and no page is ever quietly read as windows-1252.
"""

import codecs
import re

from resiliparse.parse.encoding import detect_encoding

from mining.errors import RecordError

MAX_DAMAGE = 0.02
"""Highest share of undecodable places among the non-ASCII characters of a page that is still taken."""

MAX_UTF8_DAMAGE = 0.2
"""The same for UTF-8: a valid multi-byte sequence is so unlikely by chance that five of them outweigh a stray byte."""

_SCAN_BYTES = 4096
"""How far into a page a <meta> declaration is looked for (the HTML standard says 1,024; real pages exceed it)."""

MAX_JUNK = 0.001
"""Share of undecodable places among all characters of a page that fits nothing: stray bytes in a page of ASCII."""

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

_NEVER = ("idna", "punycode", "utf-7", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs")
_BOMS = ((codecs.BOM_UTF8, "utf_8"), (codecs.BOM_UTF16_LE, "utf_16_le"), (codecs.BOM_UTF16_BE, "utf_16_be"))
_HEADER_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([\w.:\-]+)", re.IGNORECASE)
_META_CHARSET = re.compile(
    rb"<meta[^>]{0,300}?charset\s*=\s*[\"']?\s*([\w.:\-]+)|<\?xml[^>]{0,100}?encoding\s*=\s*[\"']([\w.:\-]+)",
    re.IGNORECASE,
)
_NON_ASCII = re.compile(r"[^\x00-\x7f]")
_SUSPECT = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x80-\x84\x86-\x9f\ufffd\ufdd0-\ufdef\ue000-\uf8ff]")
_LATIN_RUN = re.compile("[\u00a1-\u024f\u2010-\u203a\u20ac\u2122\u02c6\u02dc]{5,}")
_CYRILLIC = re.compile("[\u0400-\u04ff]")
_CYRILLIC_CODECS = ("cp1251", "koi8_r", "koi8_u", "iso8859_5", "cp866", "mac_cyrillic")
_ODD_CASE = re.compile("[\u0430-\u044f][\u0410-\u042f]")
_CJK = re.compile("[\u3000-\u30ff\u3400-\u9fff\uac00-\ud7a3\uff00-\uffef]")
_HAN_MARKS = "、。！（），：；？"
_COMMON_HAN = (
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去法"
    "学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日者意無這個們來為國說時會對發後過現當沒動還進樣從實與學數關開經"
)
# What no text of a language lacks: kana alone would not tell EUC-JP from GB 2312, which holds them at the same bytes.
_COMMON = {
    "gb18030": re.compile(f"[{_HAN_MARKS}{_COMMON_HAN}]"),
    "big5hkscs": re.compile(f"[{_HAN_MARKS}{_COMMON_HAN}]"),
    "cp932": re.compile("[\u3041-\u30ff]"),
    "euc_jp": re.compile("[\u3041-\u30ff]"),
    "iso2022_jp": re.compile("[\u3041-\u30ff]"),
    "cp949": re.compile("[이다는의에가을를은한고하지로서기도사자들시대일니리해어아습]"),
    "utf_16_le": re.compile(f"[{_HAN_MARKS}{_COMMON_HAN}\u3041-\u30ff\u00c0-\u04ff\uac00-\ud7a3]"),
    "utf_16_be": re.compile(f"[{_HAN_MARKS}{_COMMON_HAN}\u3041-\u30ff\u00c0-\u04ff\uac00-\ud7a3]"),
}
_CJK_CODECS = ("gb18030", "big5hkscs", "cp932", "euc_jp", "cp949")


def decode(payload: bytes, *, http_content_type: str | None, warc_charset: str | None = None) -> tuple[str, str]:
    """The page's text and the Python name of the encoding that it was read with.

    Raises RecordError("undecodable") when no reading keeps damaged places within `MAX_DAMAGE`.
    """
    for bom, codec in _BOMS:
        if payload.startswith(bom):
            return payload[len(bom) :].decode(codec, errors="replace"), codec
    labels = (_header_label(http_content_type), warc_charset)
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError:
        return _decode_legacy(payload, _legacy_labels(payload, labels))
    if "\x00" in text[:_SCAN_BYTES] and (wide := _utf_16_without_bom(payload)):
        return payload.decode(wide, errors="replace"), wide
    if "\x1b$" in text and (japanese := _strict(payload, "iso2022_jp")) and _plausible(japanese, "iso2022_jp"):
        return japanese, "iso2022_jp"
    if 0 < len(payload) - len(text) <= 8 and not _CJK.search(text):
        for codec in _legacy_labels(payload, labels):
            if codec in _CJK_CODECS and _is_short_cjk(payload, codec):
                return payload.decode(codec), codec
    return text, "utf_8"


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
    if not getattr(info, "_is_text_encoding", True) or info.name in _NEVER:
        return None
    return _WHATWG.get(info.name, info.name.replace("-", "_"))


def _decode_legacy(payload: bytes, labels: list[str]) -> tuple[str, str]:
    """The reading of bytes that are not UTF-8: by label, as damaged UTF-8, by detection, as a damaged label."""
    for codec in labels:
        if _is_short_cjk(payload, codec):
            return payload.decode(codec), codec
        if (text := _strict(payload, codec)) is not None and _plausible(text, codec):
            return text, codec
    if (wide := _utf_16_without_bom(payload)) and (text := _strict(payload, wide)) is not None:
        return text, wide
    if (text := _lenient(payload, "utf_8", MAX_UTF8_DAMAGE)) is not None:
        return text, "utf_8"
    detected = codec_of(detect_encoding(payload, html5_compatible=True))
    for codec in dict.fromkeys((*filter(None, [detected]), *_CJK_CODECS, "cp1252", "cp1251", "koi8_r")):
        if not codec.startswith("utf") and (text := _strict(payload, codec)) is not None and _plausible(text, codec):
            return text, codec
    for codec in labels:
        if (text := _lenient(payload, codec, MAX_DAMAGE)) is not None and _plausible(text, codec):
            return text, codec
    if (text := payload.decode("utf-8", errors="replace")).count("\ufffd") <= MAX_JUNK * len(text):
        return text, "utf_8"
    tried = ", ".join(labels) or "none"
    raise RecordError("undecodable", f"{len(payload)} bytes fit neither UTF-8 nor the encodings named ({tried})")


def _legacy_labels(payload: bytes, labels: tuple[str | None, ...]) -> list[str]:
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


def _strict(payload: bytes, codec: str) -> str | None:
    """The text, or None; a character that the crawler cut at the very end does not count."""
    try:
        return payload.decode(codec)
    except UnicodeDecodeError as error:
        if error.start < len(payload) - 4:
            return None
        try:
            return payload[: error.start].decode(codec)
        except UnicodeDecodeError:
            return None


def _lenient(payload: bytes, codec: str, max_damage: float) -> str | None:
    """The text with U+FFFD for damaged places, None where they pass `max_damage` of the non-ASCII characters."""
    text = payload.decode(codec, errors="replace")
    num_bad = text.count("\ufffd")
    return text if num_bad <= max_damage * (len(_NON_ASCII.findall(text)) - num_bad) else None


def _is_short_cjk(payload: bytes, codec: str) -> bool:
    """Whether a labelled page holds a handful of CJK characters and nothing else outside ASCII.

    Too few for the statistics of `_plausible`, and two-byte pairs of GBK can pass for UTF-8 by chance.
    """
    text = _strict(payload, codec) if codec in _CJK_CODECS else None
    non_ascii = _NON_ASCII.findall(text) if text else []
    return len(non_ascii) < 12 and bool(non_ascii) and all(map(_CJK.match, non_ascii))


def _plausible(text: str, codec: str) -> bool:
    """Whether a strict decoding reads like text rather than like another encoding's bytes.

    Latin letters outside ASCII stand alone or in short runs; long ones are another script read as Latin. Cyrillic
    read by the wrong table mixes its cases. Han, kana and hangul contain their few commonest characters.
    """
    non_ascii = _NON_ASCII.findall(text)
    if not non_ascii:
        return True
    if len(_SUSPECT.findall(text)) > 0.005 * len(non_ascii):
        return False
    if codec in _COMMON:
        return len(_COMMON[codec].findall(text)) >= 0.12 * len(non_ascii) and len(non_ascii) >= 6
    if sum(map(len, _LATIN_RUN.findall(text))) > 0.2 * len(non_ascii):
        return False
    num_cyrillic = len(_CYRILLIC.findall(text))
    if codec in _CYRILLIC_CODECS and num_cyrillic < 0.5 * len(non_ascii):
        return False
    return not (num_cyrillic and len(_ODD_CASE.findall(text)) > 0.1 * num_cyrillic)
