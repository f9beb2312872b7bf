from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rl.errors import ConfigError
from rl.run_eval import EvalConfig
from rl.schedule import OptimConfig
from rl.settings import as_dict, launch, read_settings
from rl.train_cpt import CptConfig
from rl.train_dpo import DpoConfig
from rl.train_grpo import GrpoConfig
from rl.train_ppo import PpoConfig
from rl.train_reward import RewardConfig
from rl.train_rft import RftConfig
from rl.train_sft import SftConfig

CONFIGS = Path(__file__).parents[1] / "configs" / "rl"


@dataclass(frozen=True)
class Settings:
    """Small."""

    num_steps: int = 4
    """Steps."""
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=2e-3))
    """Optimiser."""


def test_command_line_over_yaml_over_defaults(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("num_steps: 7\noptim:\n  lr: 1e-6\n  warmup_steps: 9\n")
    settings = read_settings(Settings, ["--config", str(path), "--optim.warmup_steps", "3"])
    # 1e-6 is a string to PyYAML
    assert settings == Settings(7, OptimConfig(lr=1e-6, warmup_steps=3))
    assert read_settings(Settings, ["--optim.beta1=0.8"]).optim == OptimConfig(lr=2e-3, beta1=0.8)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--num_stepz", "3"], "--num_stepz: no such setting; did you mean num_steps?"),
        (["--lr", "3"], "--lr: no such setting; did you mean optim.lr?"),
        (["--zzz", "3"], "--zzz: no such setting; see --help"),
        (["--num_steps", "many"], "num_steps"),
        (["--config", "nowhere.yaml"], "--config nowhere.yaml: no such file"),
    ],
)
def test_a_bad_argument_is_refused_with_its_name(argv: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings(Settings, argv)
    assert message in str(caught.value)


def test_an_unknown_yaml_key_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("optim:\n  warmup_step: 9\n")
    with pytest.raises(ConfigError, match=r"optim.warmup_step: no such setting; did you mean optim.warmup_steps\?"):
        read_settings(Settings, ["--config", str(path)])


def main(settings: Settings) -> None:
    if settings.num_steps == 0:
        raise ConfigError("num_steps=0: nothing to do")


def test_exit_code_is_2_with_a_message_and_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert launch(main, Settings, argv=["--num_steps", "0"]) == 2
    assert capsys.readouterr().err == "error: num_steps=0: nothing to do\n"
    assert launch(main, Settings, argv=[]) == 0


@pytest.mark.parametrize(
    ("name", "config_class"),
    [
        ("cpt", CptConfig),
        ("sft", SftConfig),
        ("grpo", GrpoConfig),
        ("ppo", PpoConfig),
        ("rft", RftConfig),
        ("dpo", DpoConfig),
        ("reward", RewardConfig),
        ("eval", EvalConfig),
    ],
)
def test_each_yaml_names_every_setting_and_repeats_the_defaults(name: str, config_class: type) -> None:
    read = read_settings(config_class, ["--config", str(CONFIGS / f"{name}.yaml")])
    assert as_dict(read) == as_dict(config_class())
    written = (CONFIGS / f"{name}.yaml").read_text()
    assert [key for key in as_dict(read) if f"\n{key}:" not in written] == []
