"""OpenWebMath's page work: FastWARC, its decoding, its extractor, fastText on the whole text.

Run with the Python of the extractor's own environment. Left out in its favour: its prefilter's second extraction, its
language model, its KenLM filter.
"""

import sys
from pathlib import Path

import fasttext
from fastwarc.warc import ArchiveIterator, WarcRecordType
from resiliparse.parse.encoding import bytes_to_str, detect_encoding
from text_extract.extract import extract_text
from worker import serve

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "extractors"))

from openwebmath_worker import CONFIG


def decoded(payload: bytes) -> str:
    """UTF-8 where the bytes are, else what resiliparse takes them for."""
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError:
        return bytes_to_str(payload, detect_encoding(payload) or "latin-1")


def main() -> None:
    """Serve with the model given."""
    model = fasttext.load_model(sys.argv[1])

    def score_file(path: str) -> int:
        scored = 0
        with open(path, "rb") as stream:
            for record in ArchiveIterator(stream, record_types=WarcRecordType.response, parse_http=True):
                try:
                    text = extract_text(decoded(record.reader.read()), CONFIG)[0]
                except Exception:  # some pages raise in it, and its own pipeline passes over them, too
                    continue
                if text:
                    model.predict(text.replace("\n", " "), k=2)
                    scored += 1
        return scored

    serve(score_file)


if __name__ == "__main__":
    main()
