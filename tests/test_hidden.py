"""The compiled hidden layer has fastText's own bits, whatever the line and the model."""

import random
from pathlib import Path

import fasttext
import numpy as np
import pytest

from mining import compiled
from mining.classifier import Classifier, ClassifierConfig, train

pytestmark = pytest.mark.skipif(compiled.hidden is None, reason="no compiled twin here")

WORDS = (*"=é𝒙", "lemma", "proof", "\\frac", "<d1>", "设函", "函数", "l’h", "the", "of", "soup", "salt", "x" * 300)
# What fastText reads in its own way, and words that no model has.
ODD = ("</s>", "__label__math", "__label__x", "__label", "s", "unknown", "未知", *"\x00\t\r\v\f \x1c", "")


def model_path(folder: Path, **settings: int) -> Path:
    draw = random.Random(0)
    lines = [(draw.choice(["math", "other"]), " ".join(draw.choices(WORDS, k=12))) for _ in range(200)]
    cfg = ClassifierConfig(**{"dim": 16, "min_updates": 400, "max_model_mb": 2, **settings})
    train(lines, folder / "model.bin", cfg=cfg, work_dir=folder)
    return folder / "model.bin"


@pytest.mark.parametrize("settings", [{"dim": 256}, {"dim": 7, "word_ngrams": 1}, {"dim": 33, "word_ngrams": 5}])
def test_bits_are_those_of_fasttext(tmp_path: Path, settings: dict[str, int]) -> None:
    path = model_path(tmp_path, **settings)
    model, raw = Classifier(path), fasttext.load_model(str(path))
    assert model._rows is not None
    draw = random.Random(1)
    lines = ["", " ", "lemma", " lemma  proof ", "lemma </s> soup", "a" * 5000, " ".join(WORDS * 50)]
    lines += [" ".join(draw.choices(WORDS + ODD, k=draw.randint(0, 40))) for _ in range(2_000)]
    lines += ["".join(draw.choices((*WORDS, *ODD, " "), k=draw.randint(0, 40))) for _ in range(1_000)]
    for line in lines:
        expected = raw.get_sentence_vector(line)
        assert model.hidden(line).tobytes() == expected.tobytes(), repr(line)
        assert model.score(line) == float(model._direction @ expected.astype(np.float64))


def test_several_lines_are_refused_as_by_fasttext(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one line at a time"):
        Classifier(model_path(tmp_path)).score("lemma\nproof")


def test_a_model_with_parts_of_words_is_read_by_fasttext(tmp_path: Path) -> None:
    text = tmp_path / "train.txt"
    text.write_text("__label__math lemma proof\n__label__other soup salt\n" * 40)
    raw = fasttext.train_supervised(str(text), dim=8, minn=2, maxn=3, bucket=500, thread=1, verbose=0)
    raw.save_model(str(tmp_path / "parts.bin"))
    model = Classifier(tmp_path / "parts.bin")
    assert model._rows is None
    assert model.hidden("lemmas").tobytes() == raw.get_sentence_vector("lemmas").tobytes()


def test_what_does_not_fit_the_model_is_refused(tmp_path: Path) -> None:
    model = Classifier(model_path(tmp_path))
    assert model._rows is not None and compiled.hidden is not None
    vocabulary, longest, buckets, matrix = model._rows
    fill, out = compiled.hidden.fill, np.empty(16, dtype=np.float32)
    for wrong in (
        (vocabulary, "lemma", longest, buckets + 1, matrix, out),
        (vocabulary, "lemma", longest, 0, matrix, out),
        (vocabulary, "lemma", longest, buckets, matrix[:-1], out),
        (vocabulary, "lemma", longest, buckets, matrix.astype(np.float64), out),
        (vocabulary, "lemma", longest, buckets, matrix.view(np.int32), out),
        (vocabulary, "lemma", longest, buckets, matrix, out[:8]),
        (vocabulary, "lemma", longest, buckets, matrix, out.astype(np.float64)),
        (object(), "lemma", longest, buckets, matrix, out),
        (vocabulary, "\ud800", longest, buckets, matrix, out),
    ):
        with pytest.raises(ValueError, match=r"float32|PyCapsule|surrogates"):
            fill(*wrong)
    with pytest.raises((ValueError, BufferError)):  # columns that do not lie side by side
        fill(vocabulary, "lemma", longest, buckets, np.asfortranarray(matrix), out)
    with pytest.raises(TypeError):
        compiled.hidden.vocabulary(("lemma",))
    with pytest.raises(TypeError):
        compiled.hidden.vocabulary([b"lemma"])
