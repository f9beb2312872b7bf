import gzip
import json
import math
from pathlib import Path

import pytest
import torch

from rl import run_eval
from rl.policy import TinyModelConfig, make_policy, save_policy, train_tokenizer
from rl.problems import Problem
from rl.run_eval import EvalConfig, Outcome, difference, of_samples, summarise
from rl.verifier import Grade

RIGHT, WRONG = Grade(True, "7", "numeric"), Grade(False, "8", "numeric")
SILENT, CRASHED = Grade(False, None, "none"), Grade(None, "9", "crash:TimeoutError")


def test_estimates_of_one_problems_samples_by_hand() -> None:
    assert of_samples([RIGHT, RIGHT, WRONG, WRONG]) == (0.5, 0.5, 1.0)  # the votes are tied
    assert of_samples([RIGHT, SILENT, SILENT, SILENT]) == (0.25, 1.0, 1.0)  # no answer casts no vote
    assert of_samples([RIGHT, WRONG, WRONG]) == pytest.approx((1 / 3, 0.0, 1.0))


def test_a_crashed_grade_is_left_out_and_never_wrong() -> None:
    assert of_samples([RIGHT, CRASHED, CRASHED]) == (1.0, 1.0, 1.0)
    assert all(map(math.isnan, of_samples([CRASHED])))


def test_models_are_compared_question_by_question() -> None:
    problem = Problem("a", "?", "1")

    def outcomes(greedy: list[float]) -> list[Outcome]:
        return [Outcome(problem, value, value, value, value, nll=float("nan"), num_bytes=1) for value in greedy]

    nan = float("nan")
    found = difference(outcomes([1, 1, 1, 0, nan]), outcomes([0, 0, 1, 0, 1]))
    assert found["questions"] == 4 and found["greedy"][0] == 0.5
    assert found["mcnemar_p"] == pytest.approx(0.5)  # 2 to 0: 2 C(2,0) / 2^2
    assert "bits_per_byte" not in found


def test_nothing_solved_has_an_upper_bound() -> None:
    outcomes = [Outcome(Problem("a", "?", "1"), 0.0, 0.0, 0.0, 0.0, nll=float("nan"), num_bytes=1)] * 10
    summary = summarise(outcomes, k=4)
    # Wilson at 0 of 10: z^2 / (n + z^2) = 3.8415 / 13.8415
    assert summary["pass@1"] == summary["greedy"] == pytest.approx([0.0, 0.0, 0.27754], abs=1e-4)


def test_benchmarks_are_found_by_name_and_graded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = train_tokenizer(["What is 1 + 1? The answer is 2."] * 3, vocab_size=300)
    tiny = TinyModelConfig(hidden_size=16, num_layers=1, num_heads=2, max_length=128)
    save_policy(make_policy(tiny, tokenizer, seed=0, device=torch.device("cpu")), tmp_path / "tiny/model")
    for name, language in (("gsm8k", "en"), ("cmath", "zh")):
        rows = [{"question": f"{n} + 1?", "answer": str(n + 1), "language": language} for n in range(3)]
        (tmp_path / "data/benchmarks").mkdir(parents=True, exist_ok=True)
        with gzip.open(tmp_path / f"data/benchmarks/{name}.test.jsonl.gz", "wt") as file:
            file.write("\n".join(json.dumps(row) for row in [*rows, {"question": "?", "answer": None}]))
    run_eval.main(
        EvalConfig(
            model=str(tmp_path / "tiny/model"),
            benchmarks="gsm8k,cmath",
            data_dir=str(tmp_path / "data"),
            k=3,
            max_new_tokens=6,
            out=str(tmp_path / "eval.json"),
        )
    )
    groups = json.loads((tmp_path / "eval.json").read_text())["models"][0]["groups"]
    assert {name: group["questions"] for name, group in groups.items()} == {"all": 6, "en": 3, "zh": 3}
    assert {"greedy", "pass@1", "maj@3", "pass@3"} <= set(groups["all"]) and groups["all"]["grades_missing"] == 0
    assert "maj@3" in capsys.readouterr().out
