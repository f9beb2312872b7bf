"""What people say is kept: two annotators, undo, half-written logs, edits from outside, many writers at once."""

import subprocess
import sys
from pathlib import Path

import pytest

from mining.errors import ConfigError
from mining.inspect.label_log import PREFIXES, Act, Book, agreements, cohen_kappa
from mining.prefixes import Label, read_labels, write_labels


def book(folder: Path) -> Book:
    return Book(folder / "labels.csv", PREFIXES)


def said(annotator: str, target: str, label: str) -> Act:
    return Act("2024-06-01T10:00:00+00:00", annotator, "label" if label else "skip", target, label)


def undo(annotator: str) -> Act:
    return Act("2024-06-01T10:00:00+00:00", annotator, "undo", "")


def in_file(folder: Path) -> dict[str, tuple[str, str]]:
    labels = read_labels((folder / "labels.csv").read_text())
    return {one.prefix: (one.label, one.annotator) for one in labels}


def test_both_annotators_are_kept_and_the_newest_label_counts(tmp_path: Path) -> None:
    one = book(tmp_path)
    one.write([said("ada", "a.example/x/", "math")])
    one.write([said("bob", "a.example/x", "not_math")])  # the same folder, written otherwise
    assert list(in_file(tmp_path).values()) == [("not_math", "bob")]
    key = PREFIXES.key("a.example/x/")
    assert book(tmp_path).standing().labels(key) == {"ada": "math", "bob": "not_math"}
    one.write([undo("bob")])
    assert list(in_file(tmp_path).values()) == [("math", "ada")]


def test_undo_takes_back_the_own_newest_act_alone(tmp_path: Path) -> None:
    one = book(tmp_path)
    for act in (
        said("ada", "a.example/", "math"),
        said("ada", "a.example/", "not_math"),
        said("bob", "b.example/", "math"),
    ):
        one.write([act])
    one.write([undo("ada")])
    assert in_file(tmp_path) == {"a.example/": ("math", "ada"), "b.example/": ("math", "bob")}
    one.write([undo("ada")])
    assert in_file(tmp_path) == {"b.example/": ("math", "bob")}
    assert one.write([undo("ada")]) == []


def test_a_repeated_press_is_one_act_and_a_skip_takes_the_label_away(tmp_path: Path) -> None:
    one = book(tmp_path)
    assert len(one.write([said("ada", "a.example/", "math")])) == 1
    assert one.write([said("ada", "a.example/", "math")]) == []
    one.write([said("ada", "a.example/", "")])
    assert in_file(tmp_path) == {}
    one.write([undo("ada")])
    assert in_file(tmp_path) == {"a.example/": ("math", "ada")}


def test_an_edit_of_the_table_counts_and_is_not_overwritten(tmp_path: Path) -> None:
    one = book(tmp_path)
    for host in ("a", "b", "c"):
        one.write([said("ada", f"{host}.example/", "math")])
    edited = [
        Label("a.example/", "not_math", "eve"),
        Label("b.example/", "math", "ada"),
        Label("d.example/", "math", "eve"),
    ]
    (tmp_path / "labels.csv").write_text(write_labels(edited))
    one.write([said("ada", "e.example/", "math")])
    assert in_file(tmp_path) == {
        "a.example/": ("not_math", "eve"), "b.example/": ("math", "ada"),
        "d.example/": ("math", "eve"), "e.example/": ("math", "ada"),
    }  # fmt: skip
    one.write([undo("ada")])
    assert "e.example/" not in in_file(tmp_path) and len(in_file(tmp_path)) == 3


def test_a_table_that_is_gone_is_written_again(tmp_path: Path) -> None:
    one = book(tmp_path)
    one.write([said("ada", "a.example/", "math")])
    (tmp_path / "labels.csv").unlink()
    one.write([said("ada", "b.example/", "math")])
    assert set(in_file(tmp_path)) == {"a.example/", "b.example/"}


def test_a_half_written_line_is_no_act_and_the_table_stands_for_it(tmp_path: Path) -> None:
    one = book(tmp_path)
    one.write([said("ada", "a.example/", "math")])
    one.write([said("ada", "b.example/", "math")])
    log = tmp_path / "labels.log.csv"
    log.write_bytes(log.read_bytes()[:-20])  # killed between the table, written first, and the end of its line
    fresh = book(tmp_path)
    fresh.write([said("ada", "c.example/", "not_math")])
    assert set(in_file(tmp_path)) == {"a.example/", "b.example/", "c.example/"}
    assert [line.split(",")[2:4] for line in log.read_text().splitlines()[1:]] == [
        ["label", "a.example/"], ["file", "b.example/"], ["label", "c.example/"],
    ]  # fmt: skip


def test_a_damaged_table_or_log_is_refused_and_left_alone(tmp_path: Path) -> None:
    one = book(tmp_path)
    one.write([said("ada", "a.example/", "math")])
    (tmp_path / "labels.csv").write_text("prefix,label\na.example/,perhaps\n")
    with pytest.raises(ConfigError, match="label 'perhaps' is unknown"):
        one.write([said("ada", "b.example/", "math")])
    assert "perhaps" in (tmp_path / "labels.csv").read_text()
    (tmp_path / "labels.csv").unlink()
    with open(tmp_path / "labels.log.csv", "a") as log:
        log.write("x,y\n")
    with pytest.raises(ConfigError, match="row 3: no act of labelling"):
        one.write([said("ada", "b.example/", "math")])


def test_processes_that_label_at_once_lose_nothing(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from mining.inspect.label_log import *\n"
        "who = sys.argv[2]; book = Book(Path(sys.argv[1]) / 'labels.csv', PREFIXES)\n"
        "for n in range(20): book.write([Act('2024', who, 'label', f'{who}{n}.example/', 'math')])\n"
    )
    names = ("ada", "bob", "eve")
    running = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), name]) for name in names]
    assert [one.wait(timeout=120) for one in running] == [0, 0, 0]
    assert set(in_file(tmp_path)) == {f"{name}{n}.example/" for name in names for n in range(20)}
    assert len((tmp_path / "labels.log.csv").read_text().splitlines()) == 61


def test_kappa_by_hand() -> None:
    # 10 prefixes: both math 4, both not 3, ada alone 2, bob alone 1. Observed .7; by chance .6 * .5 + .4 * .5 = .5.
    pairs = (
        [("math", "math")] * 4 + [("not_math", "not_math")] * 3 + [("math", "not_math")] * 2 + [("not_math", "math")]
    )
    kappa, interval = cohen_kappa(pairs)
    assert kappa == pytest.approx(0.4)
    half = 1.96 * (0.7 * 0.3 / 10) ** 0.5 / 0.5
    assert interval == pytest.approx((0.4 - half, 0.4 + half))
    assert cohen_kappa([("math", "math")] * 3) == (None, None)


def test_agreement_is_of_first_labels_so_talking_it_over_does_not_raise_it(tmp_path: Path) -> None:
    one = book(tmp_path)
    for host, ada, bob in (("a", "math", "math"), ("b", "math", "not_math"), ("c", "not_math", "not_math")):
        one.write([said("ada", f"{host}.example/", ada)])
        one.write([said("bob", f"{host}.example/", bob)])
    before = agreements(one.standing())
    assert [(pair.both, pair.agreed) for pair in before] == [(3, 2)]
    one.write([said("bob", "b.example/", "math")])
    assert agreements(one.standing()) == before
