"""The grader on a table of hand-written verdicts, and the pool under jobs that hang, balloon and crash."""

import contextlib
import csv
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from rl import verifier as verifier_module
from rl.verifier import Grade, Verifier, grade_by_rules

TABLE = Path(__file__).parent / "fixtures" / "answers.tsv"
HANG = "\\boxed{9^{9^{9^9}}}"
DYING_WORKER = """
import os
import rl.symbolic
compare = rl.symbolic.compare
def dying(answer, gold, engine):
    if "balloon" in answer:
        bytearray(1 << 40)
    return os._exit(3) if "die" in answer else compare(answer, gold, engine)
rl.symbolic.compare = dying
rl.symbolic.serve()
"""


@pytest.fixture(scope="module")
def pool() -> Iterator[Verifier]:
    with Verifier(num_workers=2, timeout_s=20.0) as verifier:  # a limit for machines that are busy with other tests
        yield verifier


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def eventually_gone(pid: int) -> bool:
    for _ in range(300):
        if not is_running(pid):
            return True
        time.sleep(0.1)
    return False


def test_every_verdict_of_the_table(pool: Verifier) -> None:
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert len(rows) >= 500 and {row["right"] for row in rows} == {"0", "1"}
    texts = [row["answer"] if row["kind"] in ("completion", "boxed") else f"\\boxed{{{row['answer']}}}" for row in rows]
    grades = pool.grade_all(texts, [row["gold"] for row in rows])
    wrong = [
        f"{row['kind']}: gold {row['gold']!r}, answer {row['answer']!r}, right {row['right']}: {grade}"
        for row, grade in zip(rows, grades, strict=True)
        if grade.correct is not (row["right"] == "1")
    ]
    assert not wrong, "\n".join(wrong)


def test_boxed_only_refuses_an_answer_outside_the_box(pool: Verifier) -> None:
    assert pool.grade("The answer is 18.", "18", boxed_only=True) == Grade(False, None, "none")
    assert pool.grade("The answer is \\boxed{18}.", "18", boxed_only=True).correct is True
    assert pool.grade("\\boxed{}", "18", boxed_only=True) == Grade(False, None, "none")


def test_rules_decide_in_this_process_and_leave_algebra_to_the_workers() -> None:
    assert grade_by_rules("\\boxed{18元}", "18") == Grade(True, "18", "numeric")
    assert grade_by_rules("\\boxed{(1, x^2)}", "(1,x^2)") == Grade(True, "(1,x^2)", "exact")
    assert grade_by_rules("\\boxed{(x+1)^2}", "x^2+2x+1") is None
    program = (
        "import sys, rl.verifier; sys.exit(any(name in sys.modules for name in ('sympy', 'math_verify', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_long_answers_and_deep_nesting_do_no_harm(pool: Verifier) -> None:
    assert pool.grade("\\boxed{" + "1" * 5000 + "}", "1").correct is False
    assert pool.grade("\\boxed{" + "(" * 400 + "1" + ")" * 400 + "}", "x+1").correct is not True
    assert pool.grade("\\boxed{x+1}", "1+x").correct is True


def test_a_hanging_job_is_killed_and_the_others_are_unharmed() -> None:
    with Verifier(num_workers=2, timeout_s=1.0) as verifier:
        futures = [verifier.submit(HANG, "5")]
        futures += [verifier.submit(f"\\boxed{{{n}+x}}", f"x+{n}") for n in range(20)]
        grades = [future.result(timeout=120) for future in futures]
        assert grades[0].correct is None and grades[0].rule == "crash:TimeoutError"
        graded = [grade for grade in grades[1:] if grade.rule != "crash:TimeoutError"]  # a busy machine may be late
        assert len(graded) > 10 and all(grade.correct for grade in graded)


def test_a_job_over_the_memory_limit_gives_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier_module, "_WORKER", ["-c", DYING_WORKER])
    with Verifier(num_workers=1, timeout_s=20.0, max_memory_mb=256) as verifier:
        assert verifier.grade("\\boxed{balloon+1}", "1+x").rule == "crash:MemoryError"
        assert verifier.grade("\\boxed{2+x}", "x+2").correct is True


@pytest.mark.slow
def test_a_ballooning_answer_is_no_wrong_answer() -> None:
    with Verifier(num_workers=1, timeout_s=60.0, max_memory_mb=256) as verifier:
        grade = verifier.grade("\\boxed{2^{10^{11}}\\cdot\\sqrt{5}}", "\\sqrt{5}")  # 12 GB of digits
        assert grade.correct is None and grade.rule == "crash:MemoryError"
        assert verifier.grade("\\boxed{2+x}", "x+2").correct is True


def test_a_worker_that_dies_at_work_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier_module, "_WORKER", ["-c", DYING_WORKER])
    with Verifier(num_workers=1, timeout_s=20.0) as verifier:
        futures = [verifier.submit(f"\\boxed{{{answer}}}", "1+x") for answer in ("x+1", "die+1", "\\frac{x}{1}+1")]
        rules = [(future.result().correct, future.result().rule) for future in futures]
        assert rules == [(True, "math_verify"), (None, "crash:WorkerDied"), (True, "math_verify")]


def test_a_worker_killed_while_idle_costs_no_grade(pool: Verifier) -> None:
    pool.grade("\\boxed{x+3}", "3+x")
    for pid in pool.worker_pids():
        os.kill(pid, signal.SIGKILL)
        assert eventually_gone(pid) or pid in pool.worker_pids()
    assert [pool.grade(f"\\boxed{{x+{n}}}", f"{n}+x").correct for n in range(30, 34)] == [True] * 4


def test_a_worker_that_cannot_start_gives_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier_module, "_WORKER", ["-c", "raise SystemExit('no math-verify here')"])
    with Verifier(num_workers=1, timeout_s=5.0) as verifier:
        assert verifier.grade("\\boxed{x+1}", "1+x").rule == "crash:WorkerDied"
        assert verifier.grade("\\boxed{18}", "18").correct is True


def test_grades_from_many_threads(pool: Verifier) -> None:
    found: dict[int, list[bool | None]] = {}

    def work(number: int) -> None:
        texts = [f"\\boxed{{{n}+y}}" for n in range(8)]
        golds = [f"y+{n if n % 2 else n + 1}" for n in range(8)]
        found[number] = [grade.correct for grade in pool.grade_all(texts, golds)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: [False, True] * 4 for number in range(6)}


def test_equal_answers_to_one_gold_share_a_job_until_it_crashes() -> None:
    with Verifier(num_workers=1, timeout_s=0.5) as verifier:
        futures = [verifier.submit(text, "5") for text in (HANG, f"so {HANG}.", "it is \\boxed{8^{9^{9^9}}}")]
        assert futures[0] is futures[1] and futures[0] is not futures[2]
        assert [future.result().correct for future in futures] == [None] * 3
        assert verifier.submit(HANG, "5") is not futures[0]


def test_closing_leaves_no_process_and_cancels_what_waits() -> None:
    verifier = Verifier(num_workers=2, timeout_s=30.0)
    verifier.grade("\\boxed{x+1}", "1+x")
    futures = [verifier.submit(f"\\boxed{{{n}^{{9^{{9^9}}}}}}", "5") for n in range(6, 10)]
    while not any(future.running() for future in futures):
        time.sleep(0.01)
    pids = verifier.worker_pids()
    verifier.close()
    verifier.close()
    assert pids and not any(is_running(pid) for pid in pids) and verifier.worker_pids() == []
    for future in futures:
        with contextlib.suppress(CancelledError):
            assert future.result(timeout=30).correct is None
    with pytest.raises(RuntimeError, match="closed Verifier"):
        verifier.submit("\\boxed{x+2}", "2+x")


def test_a_forgotten_pool_ends_its_workers() -> None:
    verifier = Verifier(num_workers=1, timeout_s=20.0)
    verifier.grade("\\boxed{x+1}", "1+x")
    (pid,) = verifier.worker_pids()
    del verifier
    gc.collect()
    assert eventually_gone(pid)


def test_workers_end_with_a_killed_parent_even_in_the_middle_of_a_hang() -> None:
    program = f"""
import time
from rl.verifier import Verifier
verifier = Verifier(num_workers=2, timeout_s=2.0)
verifier.grade("\\\\boxed{{x+1}}", "1+x")
verifier.submit({HANG!r}, "5")
time.sleep(0.3)
print(*verifier.worker_pids(), flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert pids and all(eventually_gone(pid) for pid in pids)


def test_workers_do_not_load_torch(pool: Verifier) -> None:
    pool.grade("\\boxed{x+5}", "5+x")
    for pid in pool.worker_pids():
        assert "torch" not in Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.parametrize("setting", [{"num_workers": 0}, {"timeout_s": 0.0}, {"max_memory_mb": 64}])
def test_a_pool_that_could_not_work_is_refused(setting: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(setting))}={next(iter(setting.values()))}"):
        Verifier(**setting)  # type: ignore[arg-type]
