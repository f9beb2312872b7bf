"""The extractors side by side: ours, and every peer with the settings that serve it best."""

import os
import pickle
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol

import trafilatura
from extractors.timed import Outcome, timed
from html_to_markdown import ConversionOptions, PreprocessingOptions, convert
from reports.peer_environments import python_of
from resiliparse.extract.html2text import extract_plain_text

from mining.html.extract import ExtractConfig, extract

# With resiliparse 2 every page raises in it, so that it cannot live in our environment.
OPENWEBMATH_PACKAGES = ("openwebmath-text-extract==0.1.3", "resiliparse==0.14.5", "lxml==6.1.3", "numpy==2.4.6")

OURS = "motherlode"
RESILIPARSE = "resiliparse"
TRAFILATURA = "trafilatura"
HTML_TO_MARKDOWN = "html-to-markdown"
OPENWEBMATH = "openwebmath"
SLOW = (TRAFILATURA, OPENWEBMATH)
PEERS = (RESILIPARSE, TRAFILATURA, HTML_TO_MARKDOWN, OPENWEBMATH)


class Extractor(Protocol):
    """Anything that turns a page into text and says what it cost."""

    def __call__(self, html: str, url: str) -> Outcome: ...


def ours(html: str, url: str) -> str:
    """Our text."""
    return extract(html, url, ExtractConfig()).text


def with_resiliparse(html: str, url: str) -> str:
    """Resiliparse's main content, as the issue names it."""
    return extract_plain_text(html, main_content=True)


def with_trafilatura(html: str, url: str) -> str | None:
    """Trafilatura's text under the settings of its own evaluation (tests/eval_common.py)."""
    return trafilatura.extract(html, fast=False, include_comments=False, include_tables=True, include_formatting=False)


# The addresses of links and images are no text of the page, so its text is measured without them; Markdown, because
# its plain output loses MathML altogether.
_MARKDOWN_TEXT = ConversionOptions(
    preprocessing=PreprocessingOptions(preset="aggressive"), extract_metadata=False, strip_tags=["a"], skip_images=True
)
# An image's alternative text may be a formula.
_MARKDOWN_FORMULAS = ConversionOptions(
    preprocessing=PreprocessingOptions(preset="aggressive"), extract_metadata=False, strip_tags=["a"]
)
_MARKDOWN_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")


def with_html_to_markdown(html: str, url: str) -> str:
    """html-to-markdown's text without images and link addresses."""
    return convert(html, _MARKDOWN_TEXT).content or ""


def with_html_to_markdown_images(html: str, url: str) -> str:
    """html-to-markdown's text with images, for the formulas in their alternative texts."""
    return convert(html, _MARKDOWN_FORMULAS).content or ""


def read_back(name: str, text: str) -> str:
    """The text as it reads: Markdown's backslash escapes, which are no loss, undone before formulas are looked for."""
    return _MARKDOWN_ESCAPE.sub(r"\1", text) if name == HTML_TO_MARKDOWN else text


class OpenWebMath:
    """The OpenWebMath extractor in its own environment and process, started anew where a page kills it."""

    def __init__(self, python: Path) -> None:
        self._python = python
        self._process = self._started()

    def __call__(self, html: str, url: str) -> Outcome:
        """Its outcome; the CPU seconds are taken in its process around its call."""
        assert self._process.stdin and self._process.stdout
        try:
            pickle.dump((html, url), self._process.stdin)
            self._process.stdin.flush()
            return Outcome(*pickle.load(self._process.stdout))
        except (EOFError, BrokenPipeError):
            status = self._process.wait()
            self._process = self._started()
            return Outcome("", 0.0, f"process died with status {status}")

    def close(self) -> None:
        """End its process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=60)

    def _started(self) -> subprocess.Popen[bytes]:
        worker = Path(__file__).with_name("openwebmath_worker.py")
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            [self._python, worker],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )


def openwebmath_python() -> Path:
    """The Python of the peer's environment; RuntimeError where it cannot be made."""
    return python_of("openwebmath", OPENWEBMATH_PACKAGES, check="import text_extract")


class Extractors:
    """Every extractor by name, the OpenWebMath process among them; a context manager that ends that process."""

    def __init__(self) -> None:
        self.missing: dict[str, str] = {}
        """Peers that could not be set up, with the reason."""
        self._openwebmath: OpenWebMath | None = None
        try:
            self._openwebmath = OpenWebMath(openwebmath_python())
        except (RuntimeError, OSError) as error:
            self.missing[OPENWEBMATH] = str(error)

    def for_text(self) -> dict[str, Extractor]:
        """The extractors as they are timed and as their text is compared."""
        return self._all(with_html_to_markdown)

    def for_formulas(self) -> dict[str, Extractor]:
        """The extractors as their formulas are looked for."""
        return self._all(with_html_to_markdown_images)

    def _all(self, markdown: Callable[[str, str], str]) -> dict[str, Extractor]:
        calls: dict[str, Callable[[str, str], str | None]] = {
            OURS: ours,
            RESILIPARSE: with_resiliparse,
            TRAFILATURA: with_trafilatura,
            HTML_TO_MARKDOWN: markdown,
        }
        extractors: dict[str, Extractor] = {name: _in_process(call) for name, call in calls.items()}
        if self._openwebmath:
            extractors[OPENWEBMATH] = self._openwebmath
        return extractors

    def __enter__(self) -> "Extractors":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._openwebmath:
            self._openwebmath.close()


def _in_process(call: Callable[[str, str], str | None]) -> Extractor:
    def run(html: str, url: str) -> Outcome:
        return timed(call, html, url)

    return run
