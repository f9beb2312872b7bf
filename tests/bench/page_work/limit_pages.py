"""The limit: what the libraries below everything take, each measured alone with all else done before.

gunzip: zlib over the file's members. resiliparse: `extract_plain_text(html, main_content=True)` of decoded pages.
fastText: `predict` of its texts, the first characters of each that our classifier reads.
"""

import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import fasttext
from resiliparse.extract.html2text import extract_plain_text
from worker import serve_parts

from mining.classifier import ClassifierConfig
from mining.html.charset import decode
from mining.warc import read_responses


def gunzip(data: bytes) -> int:
    """Bytes that the gzip members hold."""
    size = 0
    while data:
        member = zlib.decompressobj(31)
        size += len(member.decompress(data))
        data = member.unused_data
    return size


def cpu_of(call: Callable[[], object]) -> float:
    """CPU seconds of the call."""
    started = time.process_time()
    call()
    return time.process_time() - started


def main() -> None:
    """Serve with the model given."""
    model = fasttext.load_model(sys.argv[1])
    max_chars = ClassifierConfig().max_chars

    def time_file(path: str) -> dict[str, float]:
        data = Path(path).read_bytes()
        pages = [
            decode(raw.payload, http_content_type=raw.content_type)[0]
            for raw in read_responses(path, max_payload_bytes=4_000_000)
        ]
        texts: list[str] = []
        parts = {"gunzip": cpu_of(lambda: gunzip(data))}
        parts["resiliparse"] = cpu_of(
            lambda: texts.extend(extract_plain_text(html, main_content=True) for html in pages)
        )
        lines = [text[:max_chars].replace("\n", " ") for text in texts]
        parts["fastText"] = cpu_of(lambda: [model.predict(line) for line in lines])
        return parts

    serve_parts(time_file)


if __name__ == "__main__":
    main()
