import pytest

from rl.policy import train_tokenizer
from rl.solution_steps import split_steps, step_ends

CASES = [
    (
        "We have 15 - 6 = 9 pencils. Next, 9 × 2 = 18. The answer is \\boxed{18}.",
        ["We have 15 - 6 = 9 pencils.", "Next, 9 × 2 = 18.", "The answer is \\boxed{18}."],
    ),
    (
        "先算3 × 2 = 6(山路)。接着6 - 3 = 3。答案是\\boxed{3}。",
        ["先算3 × 2 = 6(山路)。", "接着6 - 3 = 3。", "答案是\\boxed{3}。"],
    ),
    ("x = 3.5 holds\nso 2x = 7\n\nDone", ["x = 3.5 holds", "so 2x = 7", "Done"]),
    ("设x=1.5。则$y=2。$故选B", ["设x=1.5。", "则$y=2。$故选B"]),
    ("1. First, add.\n2. Then $a. b$ is 4.", ["1. First, add.", "2. Then $a. b$ is 4."]),
    ("So \\[ x = 1. \\] holds. Is it 2? No! It is 1", ["So \\[ x = 1. \\] holds.", "Is it 2?", "No!", "It is 1"]),
    ("By Eq. (3), e.g. Mr. Li has No. 4. Let B be it.", ["By Eq. (3), e.g. Mr. Li has No. 4.", "Let B be it."]),
    ('He said "stop." Then he left.', ['He said "stop."', "Then he left."]),
    ("他说：“好。”然后走了。", ["他说：“好。”", "然后走了。"]),
    ("one\n---\n\ntwo\n", ["one\n---", "two"]),
    ("No full stop at all", ["No full stop at all"]),
    ("...", []),
    ("", []),
]


@pytest.mark.parametrize(("text", "steps"), CASES)
def test_steps_are_lines_and_sentences_of_both_languages(text: str, steps: list[str]) -> None:
    ends = split_steps(text)
    assert [text[start:end].strip() for start, end in zip([0, *ends], ends, strict=False)] == steps


@pytest.mark.parametrize(("text", "steps"), [case for case in CASES if case[1]])
@pytest.mark.parametrize("vocab_size", [258, 320])
def test_token_places_decode_to_the_steps(text: str, steps: list[str], vocab_size: int) -> None:
    # 258: single bytes, so that a Chinese full stop is three tokens; 320 joins some
    tokenizer = train_tokenizer([text for text, _ in CASES] * 3, vocab_size=vocab_size)
    ids = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]

    def decode(ids: list[int]) -> str:
        return tokenizer.decode(ids, skip_special_tokens=True)

    ends = step_ends(ids, decode)
    assert ends[-1] == len(ids) - 1 and ends == sorted(set(ends))
    parts = [decode(ids[start : end + 1]) for start, end in zip([0, *(end + 1 for end in ends)], ends, strict=False)]
    assert [part.strip() for part in parts] == steps


def test_a_completion_without_any_step_is_one() -> None:
    tokenizer = train_tokenizer(["a b c"], vocab_size=300)
    assert step_ends([tokenizer.eos_token_id], tokenizer.decode) == [0]
    assert step_ends(tokenizer("...")["input_ids"], tokenizer.decode)[-1] == len(tokenizer("...")["input_ids"]) - 1
    assert step_ends([], tokenizer.decode) == []


def test_steps_inside_one_token_are_joined() -> None:
    # a vocabulary in which "b.\nc" is one token: the line break inside it cannot be pointed at
    pieces = ["a ", "b.\nc", " d"]

    def decode(ids: list[int]) -> str:
        return "".join(pieces[i] for i in ids)

    assert split_steps("a b.\nc d") == [4, 8]
    assert step_ends([0, 1, 2], decode) == [1, 2]
