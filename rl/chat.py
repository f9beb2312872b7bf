"""Questions as prompts."""

from collections.abc import Sequence

from rl.errors import ConfigError
from rl.problems import Problem

# The paper's own evaluation prompts (deepseek-ai/DeepSeek-Math, evaluation/), without a system prompt.
_INSTRUCTIONS = {
    "en": "Please reason step by step, and put your final answer within \\boxed{}.",
    "zh": "请通过逐步推理来解答问题，并把最终答案放置于\\boxed{}中。",
}
_WORKED = {"en": "Solution.", "zh": "解："}
TEMPLATES = ("textbook", "plain", "deepseek")


def check_template(template: str) -> None:
    """Raises ConfigError for an unknown template."""
    if template not in TEMPLATES:
        raise ConfigError(f"template={template}: choose one of {', '.join(TEMPLATES)}")


def prompt(question: str, *, template: str, language: str = "en") -> str:
    """The text before the completion.

    textbook: the question and, in its language, the word "Solution": what worked problems look like on web pages, so
    that a base model can answer without fine-tuning. plain: the question and a line break.
    deepseek: the paper's chat form with its step-by-step instruction in the question's language.
    """
    if template == "plain":
        return f"{question}\n"
    if template == "textbook":
        return f"{question}\n\n{_WORKED.get(language, _WORKED['en'])}"
    instruction = _INSTRUCTIONS.get(language, _INSTRUCTIONS["en"])
    return f"User: {question}\n{instruction}\n\nAssistant:"


def completion(solution: str, *, template: str) -> str:
    """The text of a demonstration after its prompt, without the end token."""
    return solution if template == "plain" else f" {solution}"


def few_shot_prompt(problem: Problem, examples: Sequence[Problem], *, template: str) -> str:
    """The prompt with solved examples before it, in the same form."""
    shots = [
        prompt(example.question, template=template, language=example.language)
        + completion(example.solution, template=template)
        for example in examples
    ]
    return "\n\n".join([*shots, prompt(problem.question, template=template, language=problem.language)])
