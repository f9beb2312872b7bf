"""Where our time goes: each step over all of a file's pages before the next, so that a clock is read once a step."""

import sys
import time
from collections.abc import Callable
from typing import TypeVar

from worker import serve_parts

from mining.classifier import ClassifierConfig, fasttext_line, open_classifier
from mining.html.charset import decode
from mining.html.extract import extract
from mining.ingest import IngestConfig, read_pages
from mining.language import identify
from mining.members import pieces
from mining.page import Page
from mining.warc import RawRecord, read_responses

T = TypeVar("T")


def main() -> None:
    """Serve with the model given."""
    cfg = IngestConfig()
    max_chars = ClassifierConfig().max_chars
    classifier = open_classifier(sys.argv[1], "")

    def unzipped(path: str) -> int:
        with open(path, "rb") as stream:
            return sum(piece.size for piece in pieces(stream, path, cfg.max_payload_bytes)[1])

    def time_file(path: str) -> dict[str, float]:
        parts: dict[str, float] = {}

        def step(name: str, call: Callable[[], T]) -> T:
            started = time.process_time()
            out = call()
            parts[name] = time.process_time() - started
            return out

        step("gunzip and cutting into members", lambda: unzipped(path))
        raws = step("read", lambda: list(read_responses(path, max_payload_bytes=cfg.max_payload_bytes)))
        htmls = step("charset", lambda: [decoded(raw) for raw in raws])
        texts = step(
            "extraction",
            lambda: [extract(html, raw.url, cfg.extract).text for html, raw in zip(htmls, raws, strict=True)],
        )
        step("language", lambda: [identify(text) for text in texts])
        pages = step("pages", lambda: list(read_pages(path, warc_file=path, crawl="", cfg=cfg)))
        kept = [page.text for page in pages if isinstance(page, Page)]
        lines = step("the classifier's line", lambda: [fasttext_line(text, max_chars=max_chars) for text in kept])
        step("score", lambda: [classifier.score(line) for line in lines])
        whole = parts.pop("pages")
        parts["WARC and HTTP heads"] = parts["read"] - parts["gunzip and cutting into members"]
        parts["rest of the page (addresses, ids, token count)"] = whole - sum(
            parts[name] for name in ("read", "charset", "extraction", "language")
        )
        del parts["read"]
        return parts

    serve_parts(time_file)


def decoded(raw: RawRecord) -> str:
    """The page as text."""
    return decode(raw.payload, http_content_type=raw.content_type, warc_charset=raw.detected_charset, url=raw.url)[0]


if __name__ == "__main__":
    main()
