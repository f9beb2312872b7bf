"""`motherlode classifier`: real trainings on small files, with hosts and with pages held out."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mining.classifier import Classifier, fasttext_line
from mining.errors import ConfigError
from mining.inspect.cli import main
from mining.inspect.documents import Document, group_of, page_of, read_corpus
from mining.inspect.evaluate import average_precision, best_f1, f1
from mining.inspect.held_out import MEASURES, figures, folds, measure, reliability

Captured = pytest.CaptureFixture[str]
FAST = (
    "--dim",
    "8",
    "--min_updates",
    "6000",
    "--max_model_mb",
    "2",
    "--word_ngrams",
    "1",
    "--seeds",
    "2",
    "--folds",
    "3",
)
SHARED = ["the", "of", "a", "is", "and", "to", "in", "we", "it", "be"]
SIGNAL = {"math": ["lemma", "proof", "ring"], "other": ["soup", "goal", "price"]}


def document(host: str, number: int, label: str, draw: random.Random) -> dict[str, str]:
    """A text whose host's own words say its label loudly, and whose subject says it once and not always."""
    menu = [f"{host}menu{i}" for i in range(4)]
    subject = draw.choices(SIGNAL[label] + SHARED, k=3)
    text = " ".join(draw.sample([*menu * 3, *subject, *draw.choices(SHARED, k=10)], k=25))
    return {"text": text, "url": f"https://{host}.example/{number}", "language": "en" if number % 2 else "zh"}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    draw = random.Random(0)
    rows = {
        label: [document(f"{label[0]}{host}", n, label, draw) for host in "abcdef" for n in range(20)]
        for label in SIGNAL
    }
    return write(tmp_path / "positive.jsonl.gz", rows["math"]), write(tmp_path / "negative.jsonl", rows["other"])


def call(files: tuple[Path, Path], *options: object) -> int:
    return main(["classifier", "--positive", str(files[0]), "--negative", str(files[1]), *FAST, *map(str, options)])


def test_words_of_a_host_flatter_pages_held_out_and_the_report_shows_it(
    files: tuple[Path, Path], capsys: Captured
) -> None:
    assert call(files, "--json") == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)["held_out"]
    hosts, pages = found["hosts"]["all"], found["pages"]["all"]
    assert pages["f1"]["mean"] > 0.97
    assert hosts["f1"]["mean"] < pages["f1"]["mean"] - 0.1
    assert hosts["f1"]["interval"][1] < pages["f1"]["interval"][0]
    assert hosts["calibration_error"]["mean"] > pages["calibration_error"]["mean"]
    assert (hosts["n"], hosts["n_math"], hosts["n_groups"], pages["n_groups"]) == (240, 120, 12, 240)
    assert found["hosts"]["zh"]["n"] == found["hosts"]["en"]["n"] == 120
    assert len(hosts["f1"]["per_seed"]) == 2 and hosts["f1"]["spread"] is not None
    assert sum(row["n"] for row in hosts["reliability"]) == 240
    assert "training 12 of 12: pages, seed 1, fold 3 of 3" in captured.err
    assert call(files) == 0
    table = capsys.readouterr().out
    gap = next(line.split() for line in table.splitlines() if line.split()[:1] == ["gap"])
    assert float(gap[3]) == pytest.approx(pages["f1"]["mean"] - hosts["f1"]["mean"], abs=6e-4)
    assert "Reliability, zh" in table


def test_model_is_written_with_its_figures_and_judged_on_a_labelled_file(
    files: tuple[Path, Path], tmp_path: Path, capsys: Captured
) -> None:
    rows = [{"text": f"{' '.join(words)} the of", "url": f"https://new.example/{label}", "label": label}
            for label, words in (("math", SIGNAL["math"]), ("nonmath", SIGNAL["other"]))]  # fmt: skip
    known = json.loads(gzip.decompress(files[0].read_bytes()).splitlines()[0])
    rows += [{**known, "text": f"{known['text']} proof", "label": "math"}, {**known, "label": "math"}]
    test, out = write(tmp_path / "test.jsonl", rows), tmp_path / "model.bin"
    assert call(files, "--folds", 0, "--test", test, "--out", out, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((tmp_path / "model.bin.json").read_text())
    assert report["held_out"] is None
    assert report["model"]["documents"] == 240
    assert report["settings"]["dim"] == 8 and report["settings"]["seeds"] == 2
    assert report["documents"]["groups"] == {"host": {"math": 6, "other": 6}}
    tested = report["test"]
    assert tested["n_unseen"] == 2
    assert tested["in_training"] == 1  # the very text of a training document is not judged
    assert (tested["test"]["all"]["n"], tested["unseen hosts"]["all"]["n"]) == (3, 2)
    assert tested["unseen hosts"]["all"]["f1"]["mean"] == 1.0
    assert tested["unseen hosts"]["all"]["f1"]["interval"] is None  # one host says nothing of others
    model = Classifier(out)
    assert model.score(fasttext_line(rows[0]["text"])) > 0 > model.score(fasttext_line(rows[1]["text"]))
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    ("url", "group"),
    [
        ("https://www.ex.org/a/b", ("host", "ex.org")),
        ("ex.org/a/b", ("host", "ex.org")),
        ("https://raw.githubusercontent.com/a/book/main/tex/x.tex", ("repository", "raw.githubusercontent.com/a/book")),
        ("books/algebra/chapter1.tex", ("folder", "books/algebra")),
        ("file:///books/a.tex", ("folder", "file:///books")),
    ],
)
def test_what_stands_for_a_host(url: str, group: tuple[str, str]) -> None:
    assert group_of(url, "line") == group


def test_documents_without_address_are_held_out_one_by_one_and_sections_of_a_page_together() -> None:
    assert group_of("", "a b")[0] == group_of("", "c")[0] == "text"
    assert group_of("", "a b") != group_of("", "c")
    assert page_of("https://ex.org/ch1#s1", "a") == page_of("https://ex.org/ch1#s2", "b") != page_of("", "b")


def plain(label: bool, group: str) -> Document:
    return Document(line="x", is_math=label, language="en", group=("host", group), page=group)


def test_folds_keep_a_host_whole_and_follow_the_seed() -> None:
    documents = [plain(number % 2 == 0, f"h{number}") for number in range(12) for _ in range(number + 1)]
    names = [document.group for document in documents]
    fold_of = folds(documents, names, 3, seed=0)
    assert all(len({f for f, one in zip(fold_of, names, strict=True) if one == name}) == 1 for name in names)
    assert set(fold_of) == {0, 1, 2}
    assert fold_of == folds(documents, names, 3, seed=0) != folds(documents, names, 3, seed=1)


def test_one_host_of_a_label_cannot_be_held_out() -> None:
    documents = [plain(True, "only"), *(plain(False, f"h{number}") for number in range(4))]
    with pytest.raises(ConfigError, match="'math' would be held out at once"):
        folds(documents, [document.group for document in documents], 2, seed=0)


def test_measures_by_hand_and_as_evaluate_has_them() -> None:
    scores, truth = np.array([2.0, 1.0, 1.0, 0.5, -1.0, -3.0]), np.array([1.0, 0.0, 1.0, 1.0, 1.0, 0.0])
    found = dict(zip(MEASURES, measure(scores, truth, np.ones(6)), strict=True))
    pairs = [(float(score), bool(label)) for score, label in zip(scores, truth, strict=True)]
    assert found["precision"] == 3 / 4 and found["recall"] == 3 / 4
    assert found["f1"] == f1(3, 1, 1)
    assert found["average_precision"] == pytest.approx(average_precision(pairs))
    assert found["best_f1"] == best_f1(pairs)[0] == 8 / 9  # all above -1: 4 of 5 math, none missed
    # Counting a document twice is having it twice.
    weights = np.array([1.0, 2.0, 0.0, 3.0, 1.0, 1.0])
    repeated = np.repeat(np.arange(6), weights.astype(int))
    assert measure(scores, truth, weights) == pytest.approx(
        measure(scores[repeated], truth[repeated], np.ones(len(repeated)))
    )


def test_brier_and_calibration_error_by_hand() -> None:
    logit = np.log(0.8 / 0.2)
    # Ten documents at P = .8, five of them math: each errs by (.2)^2 or (.8)^2, the bin by .8 - .5.
    scores, truth = np.full(10, logit), np.array([1.0] * 5 + [0.0] * 5)
    found = dict(zip(MEASURES, measure(scores, truth, np.ones(10)), strict=True))
    assert found["brier"] == pytest.approx((5 * 0.04 + 5 * 0.64) / 10)
    assert found["calibration_error"] == pytest.approx(0.3)
    filled = [row for row in reliability(scores[None], truth) if row["n"]]
    assert len(filled) == 1
    assert filled[0]["math_share"] == 0.5 and filled[0]["mean_probability"] == pytest.approx(0.8)


def test_interval_draws_hosts_not_documents() -> None:
    # Of ten hosts one is wholly wrong: by documents 90% of 1,000 is sure, by hosts it is not.
    truth = np.array([True, False] * 500)
    hosts = [number // 100 for number in range(1000)]
    scores = np.where(truth, 1.0, -1.0) * np.where(np.array(hosts) == 0, -1, 1)
    by_host = figures(scores[None], truth, hosts)["recall"]
    by_document = figures(scores[None], truth, list(range(1000)))["recall"]
    assert by_host["mean"] == by_document["mean"] == 0.9
    assert by_host["interval"][0] < 0.8 < 0.85 < by_document["interval"][0]
    assert by_host["spread"] is None  # one seed
    perfect = figures(np.where(truth, 1.0, -1.0)[None], truth, hosts)["recall"]
    assert perfect["interval"][0] == pytest.approx(0.722, abs=1e-3)  # Wilson, 10 of 10 hosts: 10 / (10 + 1.96^2)


def test_texts_count_once_and_contradictions_not_at_all(tmp_path: Path) -> None:
    positive = write(tmp_path / "p.jsonl", [{"text": text} for text in ("a b", "A  b", "both", "...", "c")])
    negative = write(tmp_path / "n.jsonl", [{"text": text} for text in ("both", "soup")])
    corpus = read_corpus([str(positive)], [str(negative)], max_chars=100)
    assert [(document.line, document.is_math) for document in corpus.documents] == [
        ("a b", True), ("c", True), ("soup", False),
    ]  # fmt: skip
    assert corpus.facts()["left_out"] == {"empty": 1, "repeated": 1, "contradictory": 1}
    assert [note.split(":")[0] for note in corpus.notes()] == [
        "documents left out",
        "3 of 3 documents have neither host nor folder in `url`",
    ]


def test_half_a_character_ends_nothing(files: tuple[Path, Path], tmp_path: Path, capsys: Captured) -> None:
    rows = [
        {"text": "lemma \ud800 ring", "url": f"https://h{n}.example/\ud800", "language": "\ud800"} for n in range(2)
    ]
    positive = write(
        tmp_path / "odd.jsonl", [{**row, "text": f"{row['text']} {n * 'x'}"} for n, row in enumerate(rows)]
    )
    assert call((positive, files[1]), "--out", tmp_path / "m.bin", "--folds", 2, "--seeds", 1) == 0
    assert "?" in json.loads((tmp_path / "m.bin.json").read_text())["held_out"]["hosts"]
    assert "2 math" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no document in it"),
        ('{"text": "a"}\n{"text": \n', "line 2: broken JSON at column"),
        ('{"text": "a"}\n\n{"body": "a"}\n', "line 3: no text in it"),
        ('{"text": "a", "url": 3}\n', "line 1: url 3 is no text"),
        ('{"text": "..."}\n', "--positive: no usable document of this label: 1 are empty"),
    ],
)
def test_bad_files_end_with_place_and_remedy(
    files: tuple[Path, Path], tmp_path: Path, content: str, message: str, capsys: Captured
) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text(content)
    assert call((bad, files[1])) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--folds", 1), "--folds 1: give 2 or more"),
        (("--folds", 0), "nothing is left to do"),
        (("--dim", 0), "--dim 0: give 1 or more"),
        (("--lr", 0), "--lr 0.0: give a number above 0"),
        (("--lr", 1000), "fastText stopped"),
        (("--out", "absent/model.bin"), "no directory absent"),
        (("--test", "{one_label}"), "only one label"),
        (("--test", "{no_label}"), "line 1: label None"),
        (("--test", "{cut}"), "cannot be read"),
    ],
)
def test_wrong_options_are_exit_2(
    files: tuple[Path, Path], tmp_path: Path, options: tuple[object, ...], message: str, capsys: Captured
) -> None:
    names = {
        "one_label": write(tmp_path / "one.jsonl", [{"text": "unseen", "label": "math"}]),
        "no_label": write(tmp_path / "none.jsonl", [{"text": "unseen"}]),
        "cut": tmp_path / "cut.jsonl.gz",
    }
    names["cut"].write_bytes(files[0].read_bytes()[:40])
    assert call(files, *(str(option).format(**names) for option in options)) == 2
    assert message in capsys.readouterr().err
