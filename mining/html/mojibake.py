"""Repairs of pages that mix encodings, each made only where there is no other explanation.

`undo_double`: text whose UTF-8 somebody took for windows-1252 and encoded again (fÃ¼r for für), as whole pages and,
far more often, as single titles and captions that came out of a database. `mend_pieces`: pieces of a legacy encoding
in a page of UTF-8, such as a footer from an old template.
"""

import codecs
import re
from collections.abc import Callable

# A lead byte of UTF-8 read as Latin, and one of the bytes that go on from it: the cheap test, on UTF-8 bytes.
_SUSPECT = re.compile(
    rb"\xc3[\x82-\xb4](?:\xc2[\x80-\xbf]|\xc5[\x92\x93\xa0\xa1\xb8\xbd\xbe]|\xcb[\x86\x9c]|\xc6\x92|\xe2(?:\x80|\x82|\x84))"
)
_ABOUT_ENCODINGS = re.compile(r"mojibake|encod|utf-?8|unicode|charset|乱码|編碼|编码|文字化け", re.IGNORECASE)
_MARKUP = re.compile(r"<(?:meta|\?xml|script|link|form)\b[^>]{0,500}>", re.IGNORECASE)
_QUOTES_AND_BREAKS = re.compile(r"([<>\"\r\n])")
_RUN = re.compile(r"[^\x00-\x7f]+")
_CONTROLS = re.compile("[\x80-\x9f]")
_BREAKS = re.compile(rb"([<>\r\n])")


def undo_double(payload: bytes, text: str) -> str | None:
    """The text of a valid UTF-8 page with what was encoded twice decoded twice; None where nothing certainly was.

    A piece of text between tags is mended where one of its runs of non-ASCII characters can be nothing else
    (`_is_certain`); a page that speaks of encodings is left alone, as it may show them on purpose.
    """
    # A single byte is found twenty times as fast as the pattern that it starts.
    if b"\xc3" not in payload or not _SUSPECT.search(payload) or _ABOUT_ENCODINGS.search(_MARKUP.sub("", text)):
        return None
    pieces = _QUOTES_AND_BREAKS.split(text)  # one pattern for a whole piece would look for its end at every character
    mended = "".join(piece if piece.isascii() else _undo_piece(piece) for piece in pieces)
    return mended if mended != text else None


def mend_pieces(payload: bytes, text: str, find_codec: Callable[[bytes], str | None]) -> str:
    """The text of a damaged UTF-8 page in which pieces between tags that hold no UTF-8 at all are read otherwise.

    text: the page with U+FFFD for what is not UTF-8, given back where there is no such piece.
    find_codec: the encoding in which bytes read like text beyond doubt, None where none does.
    """
    pieces = _BREAKS.split(payload)
    foreign = [number for number, piece in enumerate(pieces) if not piece.isascii() and _is_foreign(piece)]
    codec = find_codec(b"\n".join(pieces[number] for number in foreign)) if foreign else None
    if codec is None:
        return text
    for number in foreign:
        pieces[number] = pieces[number].decode(codec, "replace").encode("utf-8")
    return b"".join(pieces).decode("utf-8", "replace")


def _is_foreign(piece: bytes) -> bool:
    """Whether the bytes of a piece outside ASCII are not UTF-8, but for pairs that can pass for it by chance."""
    text = piece.decode("utf-8", "replace")
    num_bad = text.count("\ufffd")
    return num_bad > 0 and 4 * len("".join(_RUN.findall(text.replace("\ufffd", "")))) <= num_bad


def _undo_piece(piece: str) -> str:
    runs = list(_RUN.finditer(piece))
    undone = [_once(run[0]) for run in runs]
    if not any(one and _is_certain(run, one) for run, one in zip(runs, undone, strict=True)):
        return piece
    parts, end = [], 0
    for run, one in zip(runs, undone, strict=True):
        parts += [piece[end : run.start()], one or run[0]]
        end = run.end()
    return "".join(parts) + piece[end:]


def _once(run: str) -> str | None:
    """The characters whose UTF-8 the run shows as windows-1252, None where it does not."""
    try:
        once = run.encode("cp1252", "mining.c1").decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return None
    return None if _CONTROLS.search(once) else once


def _is_certain(run: re.Match[str], once: str) -> bool:
    """Whether a run that could be twice encoded must be.

    NESCAFÉ® and ließ“ could be, too: what settles it is the euro sign within a quotation mark's bytes, three letters
    on end (two of three bytes each), or a capital Ã, Â, Ä, Å ... and a sign where a word in small letters goes on.
    """
    text = run.string
    before, after = text[run.start() - 1 : run.start()], text[run.end() : run.end() + 1]
    follows_small = before.isascii() and before.islower()
    if "â€" in run[0]:
        return True
    if len(once) >= 3 or (len(once) == 2 and len(run[0]) == 6):
        return any(char.isalpha() for char in once)
    if len(run[0]) != 2 or run[0][0] not in "ÃÂÄÅ":
        return False
    is_letter = once.isalpha() or run[0][0] == "Â"
    if run[0][1] in "\xad\xa0’”“":  # may stand after a capital at the end of a word, or hyphenate it
        return is_letter and follows_small
    return is_letter and (follows_small or (after.isascii() and after.islower()))


def _c1_as_byte(error: UnicodeError) -> tuple[bytes, int]:
    """The byte of a C1 control, which windows-1252 leaves undefined and browsers pass through."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    points = [ord(char) for char in error.object[error.start : error.end]]
    if not all(0x80 <= point < 0xA0 for point in points):
        raise error
    return bytes(points), error.end


codecs.register_error("mining.c1", _c1_as_byte)
