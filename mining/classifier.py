"""The page classifier: the only importer of fastText.

Package: fasttext-community, a maintained build of the same library (same module, same file format); the 0.9.x builds
stop with "Encountered NaN" on about half of all small training sets and cannot predict under numpy 2.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mining import compiled
from mining.errors import ConfigError, ShardError

MATH = "math"
OTHER = "other"


@dataclass(frozen=True)
class ClassifierConfig:
    """How the fastText model of a round is trained (DeepSeekMath 2.1 gives dim, lr, word_ngrams, min_count, epoch)."""

    dim: int = 256
    """Size of the word vectors."""
    lr: float = 0.1
    """Learning rate at the first step; it falls linearly to zero."""
    word_ngrams: int = 3
    """Longest word n-gram that has a vector."""
    min_count: int = 3
    """A word seen less often than this has no vector of its own."""
    epoch: int = 3
    """Passes over the training documents."""
    min_updates: int = 30_000
    """Small training sets get more epochs, up to this many document updates: the paper's three are for a million
    documents, and leave a model of 2,000 documents at its random start. 0 turns this off."""
    max_model_mb: int = 200
    """Bound on the model in memory; the number of n-gram buckets follows from it and from the data (the paper leaves
    it open; fastText's default of 2,000,000 buckets makes a model of 2.2 GB)."""
    max_chars: int = 6000
    """Characters of a page that are read: this many from its start."""
    threads: int = 1
    """Training threads. With more than one, two trainings differ in the last digits and so may the rounds."""
    seed: int = 0
    """Seed of the model's random start."""


_DELIMITERS = re.compile(r"\$+|\\[\[\]()]|\\(?:begin|end)\{[^}]{0,30}\}|\\(?:label|tag|ref|eqref|cite)\{[^}]{0,60}\}")
_TOKEN = re.compile(
    r"\\[A-Za-z]+"  # a LaTeX command
    r"|[\u3040-\u30ff]"  # one kana
    r"|[\u3400-\u4dbf\u4e00-\u9fff]+"  # a run of ideographs
    r"|[0-9]+"
    r"|[^\W\d_\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+(?:['’][a-z]+)?"
    r"|[+\-*/=<>^±×÷≤≥≠≈∈∑∫√∞→⇒|%$€£{}_#@]"
)


def fasttext_line(text: str, *, max_chars: int = 6000) -> str:
    """One line of space-separated tokens, the same at training and prediction.

    Words are lower-cased, LaTeX commands are tokens, ideographs become the overlapping pairs of a run (as Lucene's CJK
    analyser cuts them), every number becomes its length in digits (<d2>): their values would be memorised. Formula
    delimiters go, so that a seed of LaTeX sources and pages with `$..$` meet on the formulas themselves.
    """
    lower = text[:max_chars].lower()
    return compiled.characters.line(lower) if compiled.characters else line_in_python(lower)


def line_in_python(lower: str) -> str:
    """The tokens of a text in lower case, joined by spaces: the rules of `fasttext_line`."""
    tokens: list[str] = []
    for token in _TOKEN.findall(_DELIMITERS.sub(" ", lower)):
        if token.isdecimal():
            tokens.append(f"<d{min(len(token), 5)}>")
        elif len(token) > 2 and "\u3400" <= token[0] <= "\u9fff":
            tokens += [token[place : place + 2] for place in range(len(token) - 1)]
        else:
            tokens.append(token)
    return " ".join(tokens)


def num_buckets(lines_tokens: int, num_words: int, cfg: ClassifierConfig) -> int:
    """N-gram buckets: one for every two training tokens, within the memory bound, from 10,000 to 2,000,000."""
    room = cfg.max_model_mb * 2**20 // (cfg.dim * 4) - num_words
    return int(max(10_000, min(2_000_000, lines_tokens // 2, room)))


@dataclass(frozen=True)
class Training:
    """What a training used and gave."""

    documents: int
    tokens: int
    words: int
    buckets: int
    epochs: int


def train(lines: Iterable[tuple[str, str]], model_path: Path, *, cfg: ClassifierConfig, work_dir: Path) -> Training:
    """Write a model trained on (label, fastText line) pairs, in the order given (shuffle before).

    Raises ShardError when one of the labels has no document.
    """
    import fasttext

    train_path = work_dir / "classifier.train.txt"
    counts: dict[str, int] = {}
    words: dict[str, int] = {}
    num_tokens = 0
    with open(train_path, "w", encoding="utf-8") as file:
        for label, line in lines:
            file.write(f"__label__{label} {line}\n")
            counts[label] = counts.get(label, 0) + 1
            tokens = line.split(" ")
            num_tokens += len(tokens)
            if len(words) < 5_000_000:
                for token in tokens:
                    words[token] = words.get(token, 0) + 1
    for label in (MATH, OTHER):
        if not counts.get(label):
            raise ShardError(f"classifier: no training document labelled {label!r}; look at the seed and the crawl")
    num_words = sum(count >= cfg.min_count for count in words.values())
    documents = sum(counts.values())
    epochs = max(cfg.epoch, -(-cfg.min_updates // documents))
    buckets = num_buckets(num_tokens, num_words, cfg)
    model = fasttext.train_supervised(
        str(train_path),
        dim=cfg.dim,
        lr=cfg.lr,
        wordNgrams=cfg.word_ngrams,
        minCount=cfg.min_count,
        epoch=epochs,
        bucket=buckets,
        thread=cfg.threads,
        seed=cfg.seed,
        loss="softmax",
        verbose=0,
    )
    partial = model_path.with_name(f"{model_path.name}.partial")
    model.save_model(str(partial))
    partial.replace(model_path)
    train_path.unlink()
    return Training(documents=documents, tokens=num_tokens, words=num_words, buckets=buckets, epochs=epochs)


class Classifier:
    """A trained model; `score` is the logit of P(math), which does not saturate as probabilities do."""

    def __init__(self, model_path: str | Path) -> None:
        import fasttext

        try:
            self._model = fasttext.load_model(str(model_path))
        except (ValueError, RuntimeError) as error:
            raise ConfigError(f"{model_path}: not a readable fastText model ({error})") from None
        labels = [label.removeprefix("__label__") for label in self._model.labels]
        if set(labels) != {MATH, OTHER}:
            raise ConfigError(f"{model_path}: labels {labels}, expected {MATH!r} and {OTHER!r}")
        output = self._model.get_output_matrix()  # (2, dim)
        self._direction = (output[labels.index(MATH)] - output[labels.index(OTHER)]).astype(np.float64)  # (dim,)
        args = self._model.f.getArgs()
        self._rows: tuple[Any, int, int, np.ndarray] | None = None
        # Parts of words have vectors of their own in models that somebody else trained with them: those are fastText's.
        if compiled.hidden and args.maxn == 0 and not self._model.is_quantized():
            matrix = np.array(self._model.f.getInputMatrix(), copy=False)  # (words + buckets, dim), the model's memory
            self._rows = compiled.hidden.vocabulary(self._model.words), args.wordNgrams, args.bucket, matrix

    def score(self, line: str) -> float:
        """Logit of P(math) of one line from `fasttext_line`; 0 says nothing is known of any of its words.

        For a supervised model the sentence vector is the hidden layer, so the two softmax logits differ by exactly
        this; `predict` adds 1e-5 to probabilities and ends at +-11.5, where a crawl's best pages all tie.
        """
        return float(self._direction @ self.hidden(line).astype(np.float64))

    def hidden(self, line: str) -> np.ndarray:
        """The hidden layer for one line, (dim,) of float32: the mean of the vectors of its words and their n-grams."""
        if self._rows is None or "\n" in line:  # fastText refuses several lines
            return self._model.get_sentence_vector(line)
        assert compiled.hidden
        out = np.empty(self._direction.shape, dtype=np.float32)
        vocabulary, longest, buckets, matrix = self._rows
        compiled.hidden.fill(vocabulary, line, longest, buckets, matrix, out)
        return out


@lru_cache(maxsize=2)
def open_classifier(model_path: str, version: str) -> Classifier:
    """The model, loaded once a process; `version` (a digest) keeps a retrained file from being taken for the old."""
    return Classifier(model_path)
