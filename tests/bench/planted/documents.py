"""Documents whose true clusters are known, as Parquet files of the pages table."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

EDIT_SHARES = (0.005, 0.01, 0.02, 0.03, 0.05)
_FILE_DOCUMENTS = 5_000
_VOCABULARY = 30_000

FACTS = "{name} has {0} boxes with {1} {thing} each and buys {2} more boxes with {3} {thing} each for {4} coins."
ASKS = ("How many {thing} does {name} have now?", "What is the price of one of the {thing}?",
        "How many boxes must {name} still buy to have {5} {thing}?")  # fmt: skip
NAMES = ("Ada", "Emmy", "Carl", "Sofia", "Leonhard", "Hypatia", "Pierre", "Maryam")
THINGS = ("pencils", "apples", "marbles", "stamps", "candles", "buttons")


@dataclass(frozen=True)
class Document:
    """One document and the cluster it was planted in; its number is its place in the corpus."""

    text: str
    cluster: int


def planted(count: int, seed: int = 0) -> Iterator[Document]:
    """`count` documents of 100 to 600 invented words: originals, and edited copies of every third one.

    An edit changes a word for another one (60%), drops it (20%) or adds one (20%); 0.5% to 5% of a copy's words are
    edited. Words hold letters only, so that normalising numbers changes nothing.
    """
    draw = random.Random(seed)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(_VOCABULARY)]
    made = cluster = 0
    while made < count:
        original = draw.choices(words, k=draw.randint(100, 600))
        copies = draw.choice((1, 1, 2, 3)) if draw.random() < 1 / 3 else 0
        texts = [original, *(edited(original, draw.choice(EDIT_SHARES), words, draw) for _ in range(copies))]
        for text in texts[: count - made]:
            yield Document(" ".join(text), cluster)
            made += 1
        cluster += 1


def edited(original: list[str], share: float, words: list[str], draw: random.Random) -> list[str]:
    """A copy in which about `share` of the words was edited."""
    copy = []
    for word in original:
        if draw.random() >= share:
            copy.append(word)
            continue
        kind = draw.random()
        copy += [draw.choice(words)] if kind < 0.6 else [] if kind < 0.8 else [word, draw.choice(words)]
    return copy


def worksheets(pairs: int, seed: int = 0) -> Iterator[Document]:
    """Two worksheets a template, each a document of its own: the same sentences, other numbers.

    Half are columns of sums, half are word problems with six numbers in 50 words.
    """
    draw = random.Random(seed)
    for pair in range(pairs):
        if pair % 2:
            operators = [draw.choice("+-*") for _ in range(30)]
            template = [f"{i + 1}. Compute {{0}} {operator} {{1}} =" for i, operator in enumerate(operators)]
        else:
            template = []
            for i in range(12):
                name, thing = draw.choice(NAMES), draw.choice(THINGS)
                problem = f"{i + 1}. {FACTS} {' '.join(draw.sample(ASKS, 2))}"
                template.append(problem.replace("{name}", name).replace("{thing}", thing))
        for sheet in range(2):
            lines = [line.format(*(draw.randrange(2, 1000) for _ in range(6))) for line in template]
            yield Document(f"Worksheet for class {pair} \n" + "\n".join(lines), 2 * pair + sheet)


def write(documents: Iterator[Document], folder: Path) -> list[int]:
    """Write the documents as pages with their number as page_id; returns the cluster of each."""
    folder.mkdir(parents=True)
    clusters: list[int] = []
    texts: list[str] = []
    for one in documents:
        clusters.append(one.cluster)
        texts.append(one.text)
        if len(texts) == _FILE_DOCUMENTS:
            _write_file(texts, len(clusters) - len(texts), folder)
            texts = []
    if texts:
        _write_file(texts, len(clusters) - len(texts), folder)
    return clusters


def _write_file(texts: list[str], first: int, folder: Path) -> None:
    numbers = range(first, first + len(texts))
    columns = {
        "page_id": [f"{number:032x}" for number in numbers],
        "crawl": ["PLANTED"] * len(texts),
        "url": [f"https://h{number % 997}.example.org/{number}" for number in numbers],
        "text": texts,
        "formulas_kept": pa.array([0] * len(texts), pa.int32()),
        "n_chars": pa.array([len(text) for text in texts], pa.int32()),
        "fetch_time": ["2024-01-01T00:00:00Z"] * len(texts),
    }
    pq.write_table(pa.table(columns), folder / f"{first:09d}.parquet", compression="zstd")
