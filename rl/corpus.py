"""Running text from Parquet tables: a weighted mix of corpora, packed into blocks of tokens, with a resumable cursor.

Documents are joined with the end token between them and cut every `block_size` tokens; attention crosses document
borders, as in the paper's runs (it says nothing of masking).
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rl.errors import ConfigError
from rl.policy import Policy

_ENCODE_AT_ONCE = 64  # documents; bounds what a restart has to tokenise again


@dataclass(frozen=True)
class CorpusSpec:
    """One corpus of a mix."""

    path: Path
    weight: float
    """Share of the tokens, relative to the other weights."""


def parse_corpora(text: str) -> list[CorpusSpec]:
    """`PATH[=WEIGHT],...` as specs; a weight left out is 1. Raises ConfigError for a bad weight or an empty list."""
    specs = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        path, _, weight = part.partition("=")
        try:
            specs.append(CorpusSpec(Path(path), float(weight or 1)))
        except ValueError:
            raise ConfigError(f"corpora: {part}: the weight must be a number, as in runs/demo/corpus=0.7") from None
        if specs[-1].weight <= 0:
            raise ConfigError(f"corpora: {part}: the weight must be above 0")
    if not specs:
        raise ConfigError("corpora is empty; give --corpora PATH[=WEIGHT],... (folders of Parquet with a text column)")
    return specs


def parse_where(text: str) -> dict[str, set[str]]:
    """`column=value|value,...` as the values each column may have; {} keeps every row."""
    kept = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        column, equals, values = part.partition("=")
        if not equals or not values:
            raise ConfigError(f"where: {part}: expected column=value or column=value|value, as in language=en|zh")
        kept[column] = set(values.split("|"))
    return kept


class Corpus:
    """The `text` column of a folder of Parquet files, shuffled anew each epoch from (seed, epoch)."""

    def __init__(self, path: Path, *, where: dict[str, set[str]], seed: int) -> None:
        self.path, self.where, self.seed = path, where, seed
        files = sorted(path.glob("*.parquet")) if path.is_dir() else [path] if path.is_file() else []
        if not files:
            raise ConfigError(f"corpora: {path}: no Parquet files there")
        for file in files:
            missing = {"text", *where} - set(pq.read_schema(file).names)
            if missing:
                raise ConfigError(f"{file}: no column {', '.join(sorted(missing))}")
        self.units = [(file, group) for file in files for group in range(pq.ParquetFile(file).num_row_groups)]
        if not any(self._texts(unit) for unit in self.units):
            raise ConfigError(f"corpora: {path}: no text in it{f' with {where}' if where else ''}")
        self.epoch, self.unit, self.row = 0, 0, 0

    def documents(self, count: int) -> list[str]:
        """The next documents, at least one and at most `count`; the cursor moves past them."""
        while True:
            order = self._shuffled(range(len(self.units)), "units")
            texts = self._texts(self.units[order[self.unit]])
            rows = self._shuffled(range(len(texts)), f"rows {self.unit}")[self.row : self.row + count]
            self.row += len(rows)
            if self.row >= len(texts):
                self.unit, self.row = self.unit + 1, 0
                if self.unit == len(self.units):
                    self.epoch, self.unit = self.epoch + 1, 0
            if rows:
                return [texts[row] for row in rows]

    def cursor(self) -> dict[str, int]:
        return {"epoch": self.epoch, "unit": self.unit, "row": self.row}

    def seek(self, cursor: dict[str, int]) -> None:
        self.epoch, self.unit, self.row = cursor["epoch"], cursor["unit"], cursor["row"]

    def _shuffled(self, indices: Sequence[int], name: str) -> list[int]:
        order = list(indices)
        random.Random(f"{self.seed} {self.epoch} {name}").shuffle(order)
        return order

    def _texts(self, unit: tuple[Path, int]) -> list[str]:
        if getattr(self, "_cached", (None,))[0] != unit:
            file, group = unit
            table = pq.ParquetFile(file).read_row_group(group, columns=["text", *self.where])
            for column, values in self.where.items():
                table = table.filter(pc.is_in(table[column].cast(pa.string()), pa.array(sorted(values))))
            self._cached: tuple[Any, list[str]] = (unit, [text for text in table["text"].to_pylist() if text])
        return self._cached[1]


class BlockStream:
    """Blocks of `block_size` + 1 tokens from a mix; each next token comes from the corpus furthest behind its share."""

    def __init__(
        self, specs: Sequence[CorpusSpec], policy: Policy, *, block_size: int, where: dict[str, set[str]], seed: int
    ) -> None:
        self.corpora = [Corpus(spec.path, where=where, seed=seed + i) for i, spec in enumerate(specs)]
        whole = sum(spec.weight for spec in specs)
        self.shares = [spec.weight / whole for spec in specs]
        self.drawn = [0] * len(specs)
        self.waiting: list[list[list[int]]] = [[] for _ in specs]
        self.buffer: list[int] = []
        self.policy, self.block_size = policy, block_size

    def next_block(self) -> list[int]:
        """The next block; consecutive blocks share one token, so that every token is predicted once."""
        while len(self.buffer) <= self.block_size:
            self.buffer.extend(self._next_document())
        block = self.buffer[: self.block_size + 1]
        del self.buffer[: self.block_size]
        return block

    def epochs(self) -> list[int]:
        """Full passes over each corpus so far."""
        return [corpus.epoch for corpus in self.corpora]

    def cursor(self) -> dict[str, Any]:
        """What `seek` needs, in plain values."""
        return {
            "corpora": [corpus.cursor() for corpus in self.corpora],
            "drawn": list(self.drawn),
            "waiting": [[list(document) for document in documents] for documents in self.waiting],
            "buffer": list(self.buffer),
        }

    def seek(self, cursor: dict[str, Any]) -> None:
        for corpus, place in zip(self.corpora, cursor["corpora"], strict=True):
            corpus.seek(place)
        self.drawn, self.waiting = list(cursor["drawn"]), [list(documents) for documents in cursor["waiting"]]
        self.buffer = list(cursor["buffer"])

    def _next_document(self) -> list[int]:
        total = sum(self.drawn)
        behind = [share * total - drawn for share, drawn in zip(self.shares, self.drawn, strict=True)]
        source = behind.index(max(behind)) if total else 0
        if not self.waiting[source]:
            self.waiting[source] = self.policy.encode(self.corpora[source].documents(_ENCODE_AT_ONCE))
        document = [*self.waiting[source].pop(0), self.policy.tokenizer.eos_token_id]
        self.drawn[source] += len(document)
        return document


def tokenizer_texts(specs: Sequence[CorpusSpec], *, where: dict[str, set[str]], max_bytes: int) -> Iterator[str]:
    """Documents of the mix in turn, one from each corpus, about `max_bytes` in all."""
    corpora = [Corpus(spec.path, where=where, seed=0) for spec in specs]
    used = 0
    while used < max_bytes and any(corpus.epoch == 0 for corpus in corpora):
        for corpus in corpora:
            if corpus.epoch == 0:
                text = corpus.documents(1)[0]
                used += len(text.encode())
                yield text
