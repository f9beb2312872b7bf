"""Where fetched records came from: the table beside a WARC file that names each member's original place.

A page is known by the WARC file and offset of its record. One fetched by itself lies elsewhere; with its pointer it
gets the name and the page_id that it has where the whole original file is read.
"""

import os
from dataclasses import dataclass, replace

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from mining.errors import ConfigError
from mining.warc import RawRecord

POINTERS_SCHEMA = pa.schema(
    [
        ("local_offset", pa.int64()),
        ("crawl", pa.string()),
        ("warc_file", pa.string()),
        ("warc_offset", pa.int64()),
        ("warc_length", pa.int64()),
        ("charset", pa.string()),
        ("languages", pa.string()),
    ]
)

# ISO 639-3 of CLD2's larger languages that Common Crawl writes, as the ISO 639-1 codes of its metadata records.
_ISO_639_1 = {
    "afr": "af", "amh": "am", "ara": "ar", "aze": "az", "bel": "be", "ben": "bn", "bos": "bs", "bul": "bg",
    "cat": "ca", "ces": "cs", "cym": "cy", "dan": "da", "deu": "de", "ell": "el", "eng": "en", "epo": "eo",
    "est": "et", "eus": "eu", "fas": "fa", "fin": "fi", "fra": "fr", "gle": "ga", "glg": "gl", "guj": "gu",
    "heb": "he", "hin": "hi", "hrv": "hr", "hun": "hu", "hye": "hy", "ind": "id", "isl": "is", "ita": "it",
    "jav": "jv", "jpn": "ja", "kan": "kn", "kat": "ka", "kaz": "kk", "khm": "km", "kor": "ko", "lao": "lo",
    "lat": "la", "lav": "lv", "lit": "lt", "mal": "ml", "mar": "mr", "mkd": "mk", "mlt": "mt", "mon": "mn",
    "msa": "ms", "mya": "my", "nep": "ne", "nld": "nl", "nno": "nn", "nor": "no", "pan": "pa", "pol": "pl",
    "por": "pt", "ron": "ro", "rus": "ru", "sin": "si", "slk": "sk", "slv": "sl", "spa": "es", "sqi": "sq",
    "srp": "sr", "swa": "sw", "swe": "sv", "tam": "ta", "tel": "te", "tgl": "tl", "tha": "th", "tur": "tr",
    "ukr": "uk", "urd": "ur", "uzb": "uz", "vie": "vi", "zho": "zh",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pointer:
    """A record's original place, and what the crawl's index says of it."""

    crawl: str
    warc_file: str
    warc_offset: int
    warc_length: int
    charset: str | None
    languages: str | None


def pointers_path(warc: str) -> str:
    """Where the pointers of a WARC file are, if it has any."""
    return f"{warc}.pointers.parquet"


def read_pointers(warc: str) -> dict[int, Pointer] | None:
    """The pointers of a WARC file's records by their offset in it; None where it has no such table.

    warc: a local path or any fsspec URI. Raises ConfigError where the table cannot be read.
    """
    path = pointers_path(warc)
    try:
        if "://" in path:
            with fsspec.open(path, "rb") as file:
                table = pq.read_table(file)
        else:
            table = pq.read_table(path) if os.path.exists(path) else None
        if table is None:
            return None
        rows = table.select(POINTERS_SCHEMA.names).cast(POINTERS_SCHEMA).to_pydict()
    except FileNotFoundError:
        return None
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise ConfigError(f"{path}: damaged ({error}); fetch the records into another folder") from None
    offsets, *values = (rows[name] for name in POINTERS_SCHEMA.names)
    return {offset: Pointer(*row) for offset, *row in zip(offsets, *values, strict=True)}


def with_pointer(raw: RawRecord, pointer: Pointer) -> RawRecord:
    """The record as it would be read in its original file.

    There a metadata record follows with the crawler's charset and languages. It was not fetched; Common Crawl's index
    has the same charset, and the main language without its share of the text, which is put at 1.
    """
    main = (pointer.languages or "").partition(",")[0]
    language = (_ISO_639_1[main], 1.0) if main in _ISO_639_1 else None
    return replace(
        raw,
        warc_offset=pointer.warc_offset,
        warc_length=pointer.warc_length,
        detected_charset=raw.detected_charset or pointer.charset,
        detected_language=raw.detected_language or language,
    )
