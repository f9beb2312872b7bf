"""The classifier really trains; its lines and scores are what they claim."""

import math
import random
from pathlib import Path

import fasttext
import pytest

from mining.classifier import Classifier, ClassifierConfig, fasttext_line, num_buckets, train
from mining.errors import ConfigError, ShardError

SMALL = ClassifierConfig(dim=16, min_updates=4000, max_model_mb=8)


def documents(count: int, seed: int = 0) -> list[tuple[str, str]]:
    draw = random.Random(seed)
    words = {
        "math": ["lemma", "proof", "\\frac", "let", "group", "ring"],
        "other": ["soup", "salt", "goal", "team", "price", "oven"],
    }
    shared = ["the", "of", "a", "is", "and", "to", "in", "we"]
    labels = [draw.choice(["math", "other"]) for _ in range(count)]
    return [(label, " ".join(draw.choices(words[label] + shared, k=30))) for label in labels]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Let $x^2$ be\n\nPrime", "let x ^ <d1> be prime"),
        (r"\[ \frac{1}{12} \]", r"\frac { <d1> } { <d2> }"),
        ("设函数 f(x)=2024", "设函 函数 f x = <d4>"),
        ("在区间上，则 x の和", "在区 区间 间上 则 x の 和"),
        (r"\begin{align} a \label{eq:1} \end{align}", "a"),
        ("don't STOP, at £3.50!", "don't stop at £ <d1> <d2>"),
        ("", ""),
    ],
)
def test_line_is_made_of_the_tokens_that_classes_share(text: str, line: str) -> None:
    assert fasttext_line(text) == line


def test_only_the_first_characters_are_read() -> None:
    assert fasttext_line("abc def", max_chars=3) == "abc"


def test_model_separates_and_scores_are_the_unsaturated_logit(tmp_path: Path) -> None:
    result = train(documents(300), tmp_path / "m.bin", cfg=SMALL, work_dir=tmp_path)
    assert result.epochs == math.ceil(4000 / 300)  # small sets get more passes
    model = Classifier(tmp_path / "m.bin")
    held_out = documents(60, seed=1)
    assert all((model.score(line) > 0) == (label == "math") for label, line in held_out)
    # fastText's own probability, where it does not saturate, gives the same logit.
    raw = fasttext.load_model(str(tmp_path / "m.bin"))
    labels, probabilities = raw.predict("the lemma of soup and proof", k=2)
    by_label = dict(zip(labels, probabilities, strict=True))
    expected = math.log(by_label["__label__math"] / by_label["__label__other"])
    assert model.score("the lemma of soup and proof") == pytest.approx(expected, abs=0.02)


def test_training_is_exact_with_one_thread(tmp_path: Path) -> None:
    for name in ("a", "b"):
        train(documents(200), tmp_path / name, cfg=SMALL, work_dir=tmp_path)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_class_without_documents_is_named(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="'other'"):
        train([("math", "lemma")], tmp_path / "m.bin", cfg=SMALL, work_dir=tmp_path)


def test_buckets_follow_the_data_within_the_memory_bound() -> None:
    cfg = ClassifierConfig(dim=256, max_model_mb=100)
    assert num_buckets(1_000, 50, cfg) == 10_000
    assert num_buckets(100_000, 1_000, cfg) == 50_000
    assert num_buckets(10**9, 2_400, cfg) == 100 * 2**20 // 1024 - 2_400  # 102,400 vectors of 1 KiB less the words


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(b"no model")
    with pytest.raises(ConfigError, match=r"m\.bin"):
        Classifier(tmp_path / "m.bin")
