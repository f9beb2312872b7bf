import gzip
from pathlib import Path

import pytest

from rl.chat import completion, few_shot_prompt, prompt
from rl.errors import ConfigError
from rl.problems import Problem, benchmark_files, read_problems

LINE = '{"id": "a", "question": "1 + 1?", "answer": 2, "solution": "1 + 1 = 2", "language": "en", "split": "test"}\n'


def test_plain_and_gzipped_files_are_read_and_limited_each(tmp_path: Path) -> None:
    plain, zipped = tmp_path / "one.jsonl", tmp_path / "two.test.jsonl.gz"
    plain.write_text(LINE + "\n" + LINE)
    with gzip.open(zipped, "wt", encoding="utf-8") as file:
        file.write('{"question": "十加一？", "answer": "11", "language": "zh"}\n')
    problems = read_problems(f"{plain}, {zipped}", limit=1)
    assert problems == [
        Problem("a", "1 + 1?", "2", "1 + 1 = 2", "en", "one"),
        Problem("two/1", "十加一？", "11", "", "zh", "two"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no problems in it"),
        ("{oops\n", "x.jsonl:1: not JSON"),
        (LINE + '{"question": "?"}\n', "x.jsonl:2: no answer and no solution"),
        ("[1]\n", "x.jsonl:1: no question"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_problems(str(path), need_solution=True)


def test_prompt_forms() -> None:
    assert prompt("1 + 1?", template="plain") == "1 + 1?\n"
    assert prompt("1 + 1?", template="textbook") + completion("2.", template="textbook") == "1 + 1?\n\nSolution. 2."
    assert prompt("一加一？", template="textbook", language="zh") == "一加一？\n\n解："
    deepseek = "User: 1 + 1?\nPlease reason step by step, and put your final answer within \\boxed{}.\n\nAssistant:"
    assert prompt("1 + 1?", template="deepseek") == deepseek
    assert "请通过逐步推理" in prompt("一加一？", template="deepseek", language="zh")
    assert completion("so 2", template="deepseek") == " so 2"
    problem = Problem("a", "1 + 1?", "2", "It is 2.")
    assert few_shot_prompt(problem, [problem], template="plain") == "1 + 1?\nIt is 2.\n\n1 + 1?\n"


def gzipped(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("\n".join(lines))
    return path


def test_bare_names_are_the_test_sets_of_the_data_folder(tmp_path: Path) -> None:
    math = gzipped(tmp_path / "benchmarks/math.test.jsonl.gz", LINE)
    train = gzipped(tmp_path / "benchmarks/math.train.jsonl.gz", LINE)
    german = gzipped(tmp_path / "benchmarks/mgsm.test-de.jsonl.gz", LINE)
    own = gzipped(tmp_path / "own.jsonl.gz", LINE)
    names = f"math, {own},mgsm.de,math.train"
    for data_dir in (tmp_path, tmp_path / "benchmarks"):
        assert benchmark_files(names, str(data_dir)) == f"{math},{own},{german},{train}"
    assert [problem.source for problem in read_problems(f"{math},{german}")] == ["math", "mgsm.de"]
    with pytest.raises(ConfigError, match=r"maths: no such file.*did you mean math\?"):
        benchmark_files("maths", str(tmp_path))
    with pytest.raises(ConfigError, match=r"gsm8k: no such file.*--data_dir ''; there are none"):
        benchmark_files("gsm8k", "")


def test_problems_without_answer_are_left_out_where_that_is_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = gzipped(tmp_path / "holes.test.jsonl.gz", LINE, '{"question": "?", "answer": ""}', '{"question": "?"}')
    with pytest.raises(ConfigError, match=r"holes\.test\.jsonl\.gz:3: no answer"):
        read_problems(str(path))
    assert [problem.id for problem in read_problems(str(path), skip_unanswered=True)] == ["a"]
    assert "2 problems have no answer" in caplog.text


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ('["0", "4"]', "?\n(A) 0\n(B) 4"),
        ('["A)$61", "B)$65"]', "?\nA)$61\nB)$65"),
        ('["(A)2", "(B)4"]', "?\n(A)2\n(B)4"),
        ('"A) 1 B) 2"', "?\nA) 1 B) 2"),
        ("null", "?"),
    ],
)
def test_options_of_multiple_choice_are_part_of_the_question(tmp_path: Path, options: str, shown: str) -> None:
    path = gzipped(tmp_path / "x.jsonl.gz", f'{{"question": "?", "answer": "B", "options": {options}}}')
    assert read_problems(str(path))[0].question == shown
