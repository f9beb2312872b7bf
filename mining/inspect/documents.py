"""Labelled documents in files, as `motherlode classifier` reads them: each text once, with what stands for its host."""

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mining.classifier import MATH, OTHER, fasttext_line
from mining.errors import ConfigError
from mining.url import canonical_url, prefix_parts

REPOSITORY_HOSTS = frozenset(
    {
        "raw.githubusercontent.com", "gist.githubusercontent.com", "github.com", "gitlab.com", "bitbucket.org",
        "codeberg.org",
    }
)  # fmt: skip
"""Hosts of other people's files: there the first two folders, owner and repository, stand for a host."""


_LABELS = {"math": True, "nonmath": False, "not_math": False, "other": False}
_HOST_FIRST = re.compile(r"(?:https?:|ftp:)?//|[^/.:\s][^/:\s]*\.[^/\s]+(?:/|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Document:
    """One labelled document as the classifier reads it."""

    line: str
    """From mining.classifier.fasttext_line."""
    is_math: bool
    language: str
    group: tuple[str, str]
    """What is held out together: its kind (host, repository, folder, text) and its name."""
    page: str
    """What is one page: the canonical URL (sections of a page differ in the fragment alone), or the text's digest."""


def group_of(url: str, line: str) -> tuple[str, str]:
    """What stands for the document's host: (kind, name).

    host: the URL's host without `www.`. repository: host/owner/name, on hosts of repositories. folder: for an address
    without a host, all before its last slash. text: the line's digest, where there is neither.
    """
    if _HOST_FIRST.match(url) and (parts := prefix_parts(url)).host:
        if parts.host in REPOSITORY_HOSTS:
            return "repository", "/".join((parts.host, *parts.segments[:2]))
        return "host", parts.host
    folder = url.rpartition("/")[0]
    return ("folder", folder) if folder else ("text", _digest(line))


def page_of(url: str, line: str) -> str:
    """The key of the document's page."""
    return canonical_url(url) if url else _digest(line)


def _digest(line: str) -> str:
    return hashlib.sha256(line.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True)
class Corpus:
    """The labelled documents, each text once."""

    documents: list[Document]
    files: list[dict[str, Any]]
    """Name, label, documents and sha256 of each file."""
    empty: int
    """Left out: without one token."""
    repeated: int
    """Left out: the text stands above with the same label."""
    contradictory: int
    """Left out: the text stands under both labels."""

    def facts(self) -> dict[str, Any]:
        """Plain counts for the report; `groups` by kind and label."""
        groups: dict[str, dict[str, int]] = {}
        for name, is_math in sorted({(one.group, one.is_math) for one in self.documents}):
            kind = groups.setdefault(name[0], {MATH: 0, OTHER: 0})
            kind[MATH if is_math else OTHER] += 1
        num_math = sum(one.is_math for one in self.documents)
        return {
            "n": len(self.documents),
            "n_math": num_math,
            "groups": groups,
            "left_out": {"empty": self.empty, "repeated": self.repeated, "contradictory": self.contradictory},
            "files": self.files,
        }

    def notes(self) -> Iterator[str]:
        """What the reader of the figures has to know."""
        left_out = {"without a word": self.empty, "repeated": self.repeated, "under both labels": self.contradictory}
        if any(left_out.values()):
            yield "documents left out: " + ", ".join(f"{number:,} {why}" for why, number in left_out.items() if number)
        alone = sum(one.group[0] == "text" for one in self.documents)
        if alone:
            yield (
                f"{alone:,} of {len(self.documents):,} documents have neither host nor folder in `url`: each is held "
                "out by itself, so that for them out of domain is no more than by page"
            )


def read_corpus(positive: Sequence[str], negative: Sequence[str], *, max_chars: int) -> Corpus:
    """The documents of both labels, in the order of the files; ConfigError with place and remedy for any bad line."""
    by_line: dict[str, Document] = {}
    contradictory: set[str] = set()
    files = []
    empty = repeated = 0
    for name, is_math in [*((name, True) for name in positive), *((name, False) for name in negative)]:
        number = 0
        for place, row in _rows(name):
            document = _document(row, is_math=is_math, max_chars=max_chars, place=place)
            number += 1
            if not document.line:
                empty += 1
            elif (known := by_line.setdefault(document.line, document)) is not document:
                repeated += 1
                if known.is_math != is_math:
                    contradictory.add(document.line)
        if not number:
            raise ConfigError(f"{name}: no document in it; give JSON lines with a text each")
        label = MATH if is_math else OTHER
        files.append({"file": Path(name).name, "label": label, "documents": number, "sha256": sha256_of(Path(name))})
    documents = [document for line, document in by_line.items() if line not in contradictory]
    for is_math, option in ((True, "--positive"), (False, "--negative")):
        if not any(document.is_math == is_math for document in documents):
            raise ConfigError(
                f"{option}: no usable document of this label: {empty:,} are empty, {len(contradictory):,} texts stand "
                "under both labels; give other files"
            )
    return Corpus(documents, files, empty, repeated - len(contradictory), len(contradictory))


def _rows(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, object) of each line that is not blank."""
    opener = gzip.open if name.endswith(".gz") else open
    try:
        with opener(name, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield f"{name}, line {number}", _row(line, place=f"{name}, line {number}")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}: cannot be read ({error}); give a file of JSON lines in UTF-8, or .gz") from error


def _row(line: str, *, place: str) -> dict[str, Any]:
    remedy = 'a line reads {"text": "...", "url": "https://...", "language": "en"}'
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{place}: broken JSON at column {error.colno} ({error.msg}); {remedy}") from error
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise ConfigError(f"{place}: no text in it; {remedy}")
    return row


def _document(row: dict[str, Any], *, is_math: bool, max_chars: int, place: str) -> Document:
    url = row.get("url") or ""
    if not isinstance(url, str):
        raise ConfigError(f"{place}: url {url!r} is no text; leave it out where it is not known")
    line = fasttext_line(row["text"], max_chars=max_chars)
    return Document(
        line=line,
        is_math=is_math,
        language=str(row.get("language") or "und").encode("utf-8", "replace").decode("utf-8"),  # lone surrogates
        group=group_of(url, line),
        page=page_of(url, line),
    )


@dataclass(frozen=True)
class TestSet:
    documents: list[Document]
    in_training: int
    """Left out: texts that the model is trained on."""


def read_test_set(name: str, training: Sequence[Document], *, max_chars: int) -> TestSet:
    known = {document.line for document in training}
    documents, in_training = [], 0
    for place, row in _rows(name):
        if row.get("label") not in _LABELS:
            raise ConfigError(f"{place}: label {row.get('label')!r}; give one of {', '.join(_LABELS)}")
        document = _document(row, is_math=_LABELS[row["label"]], max_chars=max_chars, place=place)
        if document.line in known:
            in_training += 1
        else:
            documents.append(document)
    if len({document.is_math for document in documents}) < 2:
        what = "only one label" if documents else "no document"
        raise ConfigError(
            f"--test {name}: {what} left after {in_training:,} texts that are trained on; both labels are needed"
        )
    return TestSet(documents, in_training)


def sha256_of(path: Path) -> str:
    """The hex digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
