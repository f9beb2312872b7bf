"""Configuration: defaults, YAML, command line, and messages that name the nearest option."""

from pathlib import Path

import pytest

from mining.config import MineConfig, load_config, option_names, stage_names
from mining.errors import ConfigError

CONFIGS = Path(__file__).resolve().parent.parent / "configs" / "mine"


def refused(args: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        load_config(args)
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_command_line_wins_over_yaml_and_yaml_over_defaults(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("classifier: {lr: 1e-6, epoch: 7}\nrounds: {max_rounds: 2}\n")
    config = load_config(["--config", str(path), "--rounds.max_rounds", "5"])
    assert config.classifier.lr == 1e-6  # PyYAML alone reads 1e-6 as a string
    assert (config.classifier.epoch, config.rounds.max_rounds) == (7, 5)
    assert config.classifier.dim == MineConfig().classifier.dim == 256


def test_an_unknown_option_gets_its_nearest_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean 'rounds.max_rounds'" in refused(["--rounds.max_round", "3"], capsys)


def test_an_unknown_key_in_yaml_gets_its_nearest_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("rounds: {max_runds: 3}\n")
    assert "did you mean 'rounds.max_rounds'" in refused(["--config", str(path)], capsys)
    path.write_text("round: {max_rounds: 3}\n")
    assert "did you mean 'rounds.max_rounds'" in refused(["--config", str(path)], capsys)


def test_a_missing_config_and_a_wrong_type_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "absent.yaml" in refused(["--config", "absent.yaml"], capsys)
    message = refused(["--classifier.lr", "fast"], capsys)
    assert "classifier.lr" in message and "fast" in message


def test_a_wrong_stage_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="did you mean 'dedup'"):
        load_config(["--stages", "ingest,deduup"])
    assert stage_names(MineConfig(stages="export, ingest")) == ["ingest", "export"]  # running order


def test_help_says_what_every_option_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        load_config(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for words in (
        "running the same line again goes on",
        "Rounds at most",
        "Bound on the model in memory",
        "Lowest P(math)",
    ):
        assert words in text


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_config_loads(path: Path) -> None:
    assert load_config(["--config", str(path)]).ingest.warcs


def test_option_names_are_dotted_to_the_leaves() -> None:
    names = option_names(MineConfig)
    assert "labels.rules.min_bound" in names
    assert "decontaminate.rule.ngram" in names
