"""Compressed WARC files as pieces: members of gzip and zstd, files packed as a whole, and what is refused."""

import gzip
import io
import random
from pathlib import Path

import pytest
import zstandard
from fastwarc.stream_io import Lz4Writer

from mining.errors import ConfigError
from mining.members import next_head, parse_head, pieces
from mining.warc import RawRecord, read_responses

SKIPPABLE = b"\x50\x2a\x4d\x18"
DICTIONARY = b"\x5d\x2a\x4d\x18"


def record(number: int, body: bytes = b"") -> bytes:
    block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>page %d</html>" % number + body
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: https://x.org/{number}\r\n"
        f"Content-Length: {len(block)}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


PAGES = [record(number) for number in range(4)]


def read(tmp_path: Path, data: bytes) -> list[RawRecord]:
    path = tmp_path / "x.warc"
    path.write_bytes(data)
    return list(read_responses(str(path), max_payload_bytes=1 << 20))


def shown(found: list[RawRecord]) -> list[str]:
    return [raw.problem or raw.url[-1] for raw in found]


def dictionary_frames(packed: bool) -> list[bytes]:
    rng = random.Random(0)
    samples = [record(i, bytes(rng.choices(b"abcdefgh <>/", k=400))) for i in range(400)]
    dictionary = zstandard.train_dictionary(2_000, samples)
    content = zstandard.compress(dictionary.as_bytes()) if packed else dictionary.as_bytes()
    packer = zstandard.ZstdCompressor(dict_data=dictionary)
    return [DICTIONARY + len(content).to_bytes(4, "little") + content] + [packer.compress(page) for page in PAGES]


def lz4(data: bytes) -> bytes:
    out = io.BytesIO()
    writer = Lz4Writer(out)
    writer.write(data)
    writer.close()
    return out.getvalue()


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, bytes])
def test_offset_and_length_cut_out_exactly_the_record(tmp_path: Path, pack) -> None:
    parts = [pack(page) for page in PAGES]
    found = read(tmp_path, b"".join(parts))
    assert shown(found) == ["0", "1", "2", "3"]
    starts = [sum(map(len, parts[:i])) for i in range(4)]
    assert [(raw.warc_offset, raw.warc_length) for raw in found] == [
        (start, len(part)) for start, part in zip(starts, parts, strict=True)
    ]


@pytest.mark.parametrize("packed", [True, False])
def test_zstd_with_a_dictionary_and_skippable_frames_is_read(tmp_path: Path, packed: bool) -> None:
    frames = dictionary_frames(packed)
    frames.insert(2, SKIPPABLE + (5).to_bytes(4, "little") + b"aside")
    assert shown(read(tmp_path, b"".join(frames))) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_damaged_member_is_counted_with_its_place_and_the_rest_is_read(tmp_path: Path, pack) -> None:
    parts = [pack(page) for page in PAGES]
    damaged = parts[1][:14] + b"\xff" * 9 + parts[1][23:]
    found = read(tmp_path, parts[0] + damaged + parts[2] + b"garbage" + parts[3])
    assert shown(found) == ["0", "broken_record", "2", "broken_record", "3"]
    assert (found[1].warc_offset, found[1].warc_length) == (len(parts[0]), len(damaged))
    assert found[3].warc_length == 7


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, bytes])
def test_a_file_cut_anywhere_gives_the_whole_records_and_says_that_one_is_cut(tmp_path: Path, pack) -> None:
    parts = [pack(page) for page in PAGES]
    for length in range(1, len(parts[3])):
        found = read(tmp_path, b"".join(parts[:3]) + parts[3][:length])
        assert shown(found)[:3] == ["0", "1", "2"]
        assert not any(raw.truncated for raw in found[:3])
        for raw in found[3:]:
            is_whole = raw.payload == b"<html>page 3</html>"
            assert is_whole or raw.truncated or raw.problem in ("broken_record", "no_http")
        assert len(found) == 4


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, lz4])
def test_a_file_packed_as_a_whole_has_the_offsets_of_the_unpacked_one(tmp_path: Path, pack) -> None:
    plain = b"".join(PAGES)
    found = read(tmp_path, pack(plain))
    assert shown(found) == ["0", "1", "2", "3"]
    for raw, page in zip(found, PAGES, strict=True):
        assert plain[raw.warc_offset : raw.warc_offset + raw.warc_length] == page


def test_members_that_end_anywhere_are_unpacked_as_a_whole(tmp_path: Path) -> None:
    plain = record(0, b"x" * 500) + b"".join(PAGES[1:])
    blocks = b"".join(gzip.compress(plain[at : at + 100]) for at in range(0, len(plain), 100))
    found = read(tmp_path, blocks)
    assert shown(found) == ["0", "1", "2", "3"]
    assert found[3].warc_offset == plain.index(PAGES[3])


def test_damage_in_a_file_packed_as_a_whole_is_counted_after_what_came_before(tmp_path: Path) -> None:
    rng = random.Random(1)
    plain = b"".join(record(i, rng.randbytes(3000)) for i in range(40))
    packed = bytearray(gzip.compress(plain))
    packed[70_000:70_100] = b"\0" * 100
    found = read(tmp_path, bytes(packed))
    assert found[-1].problem == "broken_record"
    assert "cannot be unpacked further" in (found[-1].content_type or "")
    assert 15 < sum(not raw.problem for raw in found) < 40


def test_two_records_in_a_later_member_are_both_read_at_its_place(tmp_path: Path) -> None:
    first, both = gzip.compress(PAGES[0]), gzip.compress(PAGES[1] + PAGES[2])
    found = read(tmp_path, first + both + gzip.compress(PAGES[3]))
    assert shown(found) == ["0", "1", "2", "3"]
    assert [raw.warc_offset for raw in found[1:3]] == [len(first)] * 2


def test_what_lies_behind_the_kept_data_of_a_member_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "x.warc.gz"
    many = b"".join(record(number, b"y" * 400_000) for number in range(9))
    path.write_bytes(gzip.compress(PAGES[0]) + gzip.compress(many))
    found = list(read_responses(str(path), max_payload_bytes=1000))
    assert shown(found)[0] == "0"
    assert shown(found)[-1] in ("too_large", "broken_record")


def test_zeros_and_line_ends_between_records_are_padding(tmp_path: Path) -> None:
    assert shown(read(tmp_path, b"\0\0\r\n".join(gzip.compress(page) for page in PAGES) + b"\0" * 900)) == list("0123")
    assert shown(read(tmp_path, b"\r\n" * 9000 + b"\0\r\n".join(PAGES) + b"\0" * 20_000)) == list("0123")


def test_garbage_between_plain_records_is_one_broken_stretch(tmp_path: Path) -> None:
    found = read(tmp_path, PAGES[0] + b"some garbage\n" + PAGES[1])
    assert shown(found) == ["0", "broken_record", "1"]
    assert (found[1].warc_offset, found[1].warc_length) == (len(PAGES[0]), 13)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (
            b"filedesc://x.arc 0.0.0.0 20080430204825 text/plain 76\n1 0 Alexa Internet\n",
            "an ARC file.*warcio recompress",
        ),
        (gzip.compress(b"filedesc://x.arc.gz 0.0.0.0 20080430204825 text/plain 76\n"), "an ARC file"),
        (b"http://example.com/ 93.184.216.119 20140401000000 text/html 7\nHTTP/1.1", "an ARC file"),
        (b"\xfd7zXZ\x00rest", "xz"),
        (b"BZh91AY", "bzip2"),
        (b"PK\x03\x04zip", "zip"),
        (b"<html>page</html>", "not a WARC file"),
        (gzip.compress(b"<html>page</html>"), "not a WARC file"),
        (b"\x1f\x8b\x08 not even gzip", "not a WARC file"),
    ],
)
def test_what_is_no_warc_is_refused_with_a_clear_word(tmp_path: Path, data: bytes, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        read(tmp_path, data)


def test_a_warc_of_which_nothing_is_whole_is_counted_not_refused(tmp_path: Path) -> None:
    member = gzip.compress(record(0, random.Random(2).randbytes(90_000)))
    assert shown(read(tmp_path, member[:40_000] + b"\xff" * 90 + member[40_090:])) == ["broken_record"]


def test_a_bomb_keeps_no_more_than_is_wanted() -> None:
    bomb = gzip.compress(record(0, b"\0" * 80_000_000))
    is_warc, found = pieces(io.BytesIO(bomb), "bomb", 1000)
    (piece,) = found
    assert (is_warc, len(piece.data), piece.cut) == (True, 1000, False)
    assert piece.size > 80_000_000


def test_heads_are_found_at_line_starts_only() -> None:
    text = b"see WARC/1.0\r\nWARC-Type: x\r\n\r\n\nWARC/1.1\nWARC-Type: y\n\n"
    assert next_head(text) == text.index(b"WARC/1.1")
    assert parse_head(text) is None
    head = parse_head(text, text.index(b"WARC/1.1"))
    assert head is not None
    assert (head.fields, head.declared) == ({"warc-type": "y"}, None)


def test_a_failing_disk_is_no_damage_of_the_file(tmp_path: Path) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 1000:
                raise OSError(5, "Input/output error")
            return super().read(600)

    for pack in (gzip.compress, lz4, bytes):
        data = b"".join(pack(record(i, random.Random(i).randbytes(900))) for i in range(9))
        with pytest.raises(OSError, match="Input/output error"):
            list(pieces(Failing(data), "x", 1000)[1])
