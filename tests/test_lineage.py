"""Which stages and steps a change of the config makes again, worked out without running any."""

import dataclasses
import os
from pathlib import Path

import pytest

from mining.annotate import LabelsConfig
from mining.config import DecontaminationConfig, ExportConfig, MineConfig, SeedConfig
from mining.errors import ConfigError
from mining.inputs import InputFile, find_files
from mining.lineage import LABELS_USED, STEPS, Inputs, Lineage, check_changes
from mining.prefixes import Label, write_labels
from mining.store import Addition, Store, digest

WARC = InputFile("/data/web/a.warc.gz", 100, "1")
SEED = InputFile("/data/seed/positive.jsonl.gz", 10, "1")
BENCHMARK = InputFile("/data/benchmarks/gsm8k.jsonl", 10, "1")
INPUTS = Inputs([WARC], [SEED], [], [BENCHMARK], [], [])
BASE = MineConfig(labels=LabelsConfig(annotator="rules"))
ALL = ["ingest", "dedup", "round-01", "round-02", "decontaminate", "export"]


def changed(section: str, **values: object) -> MineConfig:
    """The default config with other values in one section, or in `a.b` inside of one."""
    first, _, inner = section.partition(".")
    part = getattr(BASE, first)
    if inner:
        values = {inner: dataclasses.replace(getattr(part, inner), **values)}
    return dataclasses.replace(BASE, **{first: dataclasses.replace(part, **values)})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A run directory on which all stages and two rounds are done under the default config."""
    store = Store(tmp_path / "run")
    store.open()
    store.start(dataclasses.asdict(BASE))
    lineage = Lineage(store, BASE, INPUTS)
    for name in ALL:
        more = {}
        if name.startswith("round-"):
            steps = lineage.round_steps(int(name[6:]))
            inputs_hash, more = digest(steps), {"steps": steps}
            folder = store.round_dir(int(name[6:]))
            folder.mkdir(parents=True)
            (folder / "labels.csv").write_text(write_labels([Label("a.org/", "math", labelled_at=name)]))
        else:
            inputs_hash = {
                "ingest": lineage.ingest, "dedup": lineage.dedup, "decontaminate": lineage.decontaminate,
                "export": lineage.export,
            }[name]()  # fmt: skip
        store.finish(name, inputs_hash=inputs_hash, started="now", seconds=1.0, **more, **lineage.facts(name))
    return store


def first_step(store: Store, cfg: MineConfig, number: int, inputs: Inputs = INPUTS) -> str:
    """The first step of a round that another config makes again; "" where none is."""
    steps = Lineage(store, cfg, inputs).round_steps(number)
    made = (store.stage(f"round-{number:02d}") or {})["steps"]
    other = [step for step in STEPS if steps[step] != made[step]]
    assert other == list(STEPS[STEPS.index(other[0]) :]) if other else True  # all that follow are made again, too
    return other[0] if other else ""


@pytest.mark.parametrize(
    ("cfg", "step"),
    [
        (changed("seed", crawl_negatives=2.0), "seed"),
        (changed("classifier", max_chars=100), "seed"),
        (changed("classifier", lr=0.5), "train"),
        (changed("rounds", threshold=0.6), "collect"),
        (changed("domains", z=1.0), "domains"),
        (changed("prefixes", max_depth=2), "prefixes"),
        (changed("labels.rules", min_bound=0.3), "label"),
        (changed("rounds", max_rounds=9, stop_overlap=0.5), ""),
        (changed("rounds", token_budget=7, target_precision=0.5), ""),  # not what ends the list here
        (changed("rounds", max_positives_per_host=3), ""),  # the first round has no positives from prefixes
        (changed("decontaminate.rule", ngram=13), ""),
        (changed("export", jsonl=True), ""),
    ],
)
def test_a_setting_makes_a_round_again_from_the_first_step_that_it_touches(
    store: Store, cfg: MineConfig, step: str
) -> None:
    assert first_step(store, cfg, 1) == step


def test_positives_settings_touch_the_rounds_that_have_positives_from_prefixes(store: Store) -> None:
    assert first_step(store, changed("rounds", max_positives_per_host=3), 2) == "seed"


def test_a_round_whose_predecessor_comes_out_the_same_is_not_made_again(store: Store) -> None:
    cfg = changed("prefixes", max_depth=2)
    steps = Lineage(store, cfg, INPUTS).round_steps(1)
    store.finish("round-01", inputs_hash=digest(steps), started="now", seconds=1.0, steps=steps)
    assert first_step(store, cfg, 2) == "prefixes"  # its own setting, not the seed or the model
    (store.round_dir(1) / "labels.csv").write_text(write_labels([Label("a.org/", "math", labelled_at="later")]))
    assert first_step(store, BASE, 2) == ""  # when a label was given makes no difference
    (store.round_dir(1) / "labels.csv").write_text(write_labels([Label("b.org/", "math")]))
    assert first_step(store, BASE, 2) == "seed"


def test_a_label_that_was_taken_back_is_gone_for_the_next_round_and_stays_in_those_that_are_done(store: Store) -> None:
    first, second = store.round_dir(1), store.round_dir(2)
    both = [Label("a.org/", "math", "ada"), Label("b.org/", "math", "ada"), Label("c.org/", "math", "rules")]
    for file in (first / "labels.csv", second / LABELS_USED, second / "labels.csv"):
        file.write_text(write_labels(both))
    (store.path / "labels.csv").write_text(write_labels(both[1:2]))
    lineage = Lineage(store, changed("labels", annotator="file"), INPUTS)
    assert [label.prefix for label in lineage.labels(3)] == ["b.org/", "c.org/"]
    assert [label.prefix for label in lineage.labels(2)] == ["a.org/", "b.org/", "c.org/"]
    store.mark_stale(["round-02"])  # made again, it learns from what holds now
    assert [label.prefix for label in lineage.labels(2)] == ["b.org/", "c.org/"]
    by_rules = Lineage(store, BASE, INPUTS)
    assert [label.prefix for label in by_rules.labels(3)] == ["a.org/", "b.org/", "c.org/"]  # it asks nobody


@pytest.mark.parametrize(
    ("cfg", "stale", "words"),
    [
        (changed("ingest", min_chars=5), ALL, "ingest.min_chars: 100 -> 5"),
        (changed("dedup", min_jaccard=0.9), ALL[1:], "-> 0.9"),
        (changed("classifier", lr=0.5), ALL[2:], "classifier.lr: 0.1 -> 0.5"),
        (changed("decontaminate.rule", ngram=13), ALL[4:], "decontaminate.rule.ngram: 10 -> 13"),
        (changed("export", jsonl=True), ALL[5:], "export.jsonl: False -> True"),
    ],
)
def test_a_changed_config_is_refused_with_the_setting_and_what_depends_on_it(
    store: Store, cfg: MineConfig, stale: list[str], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_changes(Lineage(store, cfg, INPUTS))
    assert words in str(caught.value) and str(caught.value).endswith(f"in these stages: {', '.join(stale)}")
    lineage = Lineage(store, dataclasses.replace(cfg, rerun=True), INPUTS)
    assert check_changes(lineage) == stale
    assert [name for name in ALL if store.manifest["stages"][name]["state"] == "stale"] == stale


@pytest.mark.parametrize("cfg", [BASE, changed("rounds", max_rounds=9), dataclasses.replace(BASE, scale="cluster")])
def test_going_further_or_on_another_machine_is_no_change(store: Store, cfg: MineConfig) -> None:
    assert check_changes(Lineage(store, cfg, INPUTS)) == []


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (dataclasses.replace(INPUTS, warcs=[WARC, InputFile("/data/web/b.warc.gz", 1, "1")]), "new: b.warc.gz"),
        (dataclasses.replace(INPUTS, positive=[dataclasses.replace(SEED, version="2")]), "changed: positive.jsonl.gz"),
        (dataclasses.replace(INPUTS, benchmarks=[]), "gone: gsm8k.jsonl"),
    ],
)
def test_other_input_files_are_named(store: Store, inputs: Inputs, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_changes(Lineage(store, BASE, inputs))


def test_other_patterns_for_the_same_files_are_no_change(store: Store, tmp_path: Path) -> None:
    cfg = dataclasses.replace(
        changed("ingest", warcs=["b", "a"]),
        seed=SeedConfig(positive=["x"]),
        decontaminate=DecontaminationConfig(benchmarks=["y"]),
    )
    moved = [dataclasses.replace(file, uri=f"/elsewhere/{file.uri.rpartition('/')[2]}") for file in (WARC, SEED)]
    inputs = dataclasses.replace(INPUTS, warcs=[moved[0]], positive=[moved[1]])
    assert check_changes(Lineage(store, cfg, inputs)) == []
    for name in "ab":
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, ns=(1, 1))
    forth, back = (find_files(names, data_dir=str(tmp_path), field="x") for names in (["a", "b"], ["b", "a"]))
    assert forth == back


def test_a_stage_that_another_config_made_the_same_is_not_asked_about_again(store: Store) -> None:
    cfg = dataclasses.replace(BASE, rounds=changed("rounds", token_budget=7).rounds, export=ExportConfig(jsonl=True))
    lineage = Lineage(store, dataclasses.replace(cfg, rerun=True), INPUTS)
    assert check_changes(lineage) == ["export"]  # no step of a round depends on that budget
    assert lineage.is_done("round-01", str(lineage.expected("round-01")))
    only_export = dataclasses.replace(cfg, stages="export", export=BASE.export)
    with pytest.raises(ConfigError, match="token_budget"):  # round 2 was not looked at under it yet
        check_changes(Lineage(store, only_export, INPUTS))
    assert lineage.is_done("round-02", str(lineage.expected("round-02")))
    store.manifest["stages"]["export"]["state"] = "done"
    assert check_changes(Lineage(store, only_export, INPUTS)) == []
    assert store.manifest["stages"]["round-02"]["config"]["rounds"]["token_budget"] == 0  # what made it stays known


def added(store: Store, *, after_round: int, number: int = 1) -> None:
    """An addition whose dedup stage is done."""
    addition = Addition(number, store.addition_dir(number), after_round)
    own = Store(addition.path)
    own.open()
    own.finish("dedup", inputs_hash=f"addition {number}", started="now", seconds=1.0)
    store.add(addition, kept=10)


def test_an_addition_changes_the_rounds_after_it_and_no_others(store: Store) -> None:
    lineage = Lineage(store, BASE, INPUTS)
    before = {number: lineage.round_steps(number) for number in (1, 2, 3)}
    added(store, after_round=2)
    after = {number: lineage.round_steps(number) for number in (1, 2, 3)}
    assert after[1] == before[1] and after[2] == before[2]
    assert all(after[3][step] != before[3][step] for step in STEPS)
    assert check_changes(lineage) == []
    store.move_additions(1)
    assert lineage.round_steps(2) != before[2] and lineage.round_steps(1) == before[1]


def test_additions_are_kept_in_the_manifest_in_order(store: Store) -> None:
    added(store, after_round=2, number=2)
    added(store, after_round=2, number=1)
    again = Store(store.path)
    again.open()
    assert [(one.number, one.path.name, one.after_round) for one in again.additions()] == [(1, "01", 2), (2, "02", 2)]
    assert Lineage(again, BASE, INPUTS).additions(2) == []
    again.add(again.additions()[0], kept=11)
    assert [one.get("kept") for one in again.manifest["additions"]] == [11, 10]
