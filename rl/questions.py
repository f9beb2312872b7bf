"""Problems as prompts for a model, and the settings of everything that samples answers to them."""

import logging
from dataclasses import dataclass

from rl.chat import check_template, prompt
from rl.errors import ConfigError
from rl.policy import Policy
from rl.problems import Problem, read_problems
from rl.training_run import RunConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SamplingConfig(RunConfig):
    """Settings of every training entry that samples answers."""

    model: str = "models/sft/model"
    """Hugging Face folder to start from."""
    problems: str = ""
    """FILE[,FILE] of JSON lines with question, answer and language."""
    template: str = "textbook"
    """textbook, plain or deepseek: the form the model was fine-tuned with."""
    group_size: int = 8
    """Samples a prompt, G (the paper: 64)."""
    max_new_tokens: int = 96
    """Longest completion in tokens; a longer one is cut and graded as it stands (the paper: 1024)."""
    temperature: float = 1.0
    """Of sampling, and of the log-probabilities trained on (not stated in the paper)."""
    sampler: str = "native"
    """native (transformers, any device) or vllm (in this process; its own environment, see `make setup-vllm`)."""
    rollout_rows: int = 256
    """Most rows decoded at once; changes memory and speed."""
    boxed_only: bool = True
    """Right is only an answer inside \\boxed{}; otherwise the last stated answer or number counts."""
    grade_timeout_s: float = 1.5
    """Limit of one symbolic comparison; what takes longer is killed and left out, never counted as wrong."""
    num_graders: int = 2
    """Processes that compare answers symbolically; they start when the first such comparison is due."""


@dataclass(frozen=True)
class Questions:
    """Problems and their prompts as tokens."""

    problems: list[Problem]
    prompts: list[list[int]]


def encode_questions(policy: Policy, settings: SamplingConfig) -> Questions:
    """The problems whose prompt leaves room for max_new_tokens; raises ConfigError where none does."""
    problems = read_problems(settings.problems)
    prompts = policy.encode([prompt(p.question, template=settings.template, language=p.language) for p in problems])
    fitting = [i for i, ids in enumerate(prompts) if len(ids) + settings.max_new_tokens <= policy.max_length]
    if not fitting:
        raise ConfigError(f"max_new_tokens={settings.max_new_tokens}: no prompt leaves room in {policy.max_length}")
    logger.info("%d prompts, %d left out as too long", len(fitting), len(problems) - len(fitting))
    return Questions([problems[i] for i in fitting], [prompts[i] for i in fitting])


def check_sampling(settings: SamplingConfig) -> None:
    """Raises ConfigError where the settings cannot be meant."""
    check_template(settings.template)
    if settings.temperature <= 0:
        raise ConfigError(f"temperature={settings.temperature}: samples of a prompt must differ; use a value above 0")
    for name in ("group_size", "max_new_tokens", "rollout_rows", "num_graders"):
        if getattr(settings, name) < 1:
            raise ConfigError(f"{name}={getattr(settings, name)}: at least 1")
