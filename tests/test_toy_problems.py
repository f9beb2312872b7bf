import random
import re
from itertools import pairwise

import pytest
from toy_problems import word_problem
from toy_stories import CHINESE_STORIES, ENGLISH_STORIES

STEP = re.compile(r"(\d+) ([-+×]) (\d+) = (\d+)")
COMPUTE = {"+": int.__add__, "-": int.__sub__, "×": int.__mul__}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_step_is_right_each_goes_on_from_the_last_and_the_box_holds_the_answer(language: str) -> None:
    rng = random.Random(0)
    for _ in range(2000):
        problem = word_problem(rng, language)
        steps = [(int(a), sign, int(b), int(value)) for a, sign, b, value in STEP.findall(problem.solution)]
        assert 1 <= len(steps) <= 3
        assert all(COMPUTE[sign](a, b) == value for a, sign, b, value in steps)
        assert all(later[0] == earlier[3] for earlier, later in pairwise(steps))
        assert problem.solution.count("\\boxed{") == 1 and f"\\boxed{{{problem.answer}}}" in problem.solution
        assert int(problem.answer) == steps[-1][3] and 0 < int(problem.answer) < 60


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_question_gives_every_number_that_the_solution_brings_in(language: str) -> None:
    rng = random.Random(1)
    for _ in range(500):
        problem = word_problem(rng, language)
        steps = STEP.findall(problem.solution)
        brought_in = [steps[0][0], *(step[2] for step in steps)]
        assert set(brought_in) <= set(re.findall(r"\d+", problem.question))
        assert not re.search(r"[{}]", problem.question)


def test_problems_are_many_enough_to_keep_training_and_test_apart() -> None:
    rng = random.Random(2)
    questions = [word_problem(rng, "en").question for _ in range(20_000)]
    # N equally likely questions repeat about n^2 / 2N times: under 200 repeats in 20,000 draws means N > 10^6
    assert len(questions) - len(set(questions)) < 200
    assert len(ENGLISH_STORIES) >= 15 and len(CHINESE_STORIES) >= 15


def test_the_generator_fixes_the_problem_and_other_languages_are_refused() -> None:
    assert word_problem(random.Random(3), "zh") == word_problem(random.Random(3), "zh")
    with pytest.raises(ValueError, match="en and zh"):
        word_problem(random.Random(3), "fr")
