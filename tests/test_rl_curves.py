import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rl.curve_charts import Curve, axis_marks, curve_chart, label, smoothed, thinned
from rl.plot_curves import CurvesConfig, main
from rl.settings import launch

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE = '"><script>window.hacked=1</script><img src=x onerror="window.hacked=2">'


def write_run(folder: Path, *, steps: int, extra: dict[str, object] | None = None, completion: str = "") -> Path:
    folder.mkdir(parents=True)
    lines = [
        {"step": s, "reward": s / steps, "kl": None if s == 2 else 0.1, "sample_s": 2.0, "margin": -s, **(extra or {})}
        for s in range(1, steps + 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    if completion:
        sample = {
            "prompt": "1+1=?",
            "completion": completion,
            "answer": "2",
            "reward": 1.0,
            "solved": True,
            "tokens": 3,
        }
        (folder / "completions.jsonl").write_text(json.dumps({"step": steps, **sample}) + "\n", encoding="utf-8")
    return folder


class Balanced(HTMLParser):
    """Collects the elements and fails on one that is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    ("low", "high", "marks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.21, 0.58, [0.2, 0.3, 0.4, 0.5, 0.6]),
        (-3, 47, [-10, 0, 10, 20, 30, 40, 50]),
        (1, 250, [0, 50, 100, 150, 200, 250]),
        (0, 0, [0, 0.2, 0.4, 0.6, 0.8, 1]),
    ],
)
def test_axes_have_round_marks_that_enclose_the_values(low: float, high: float, marks: list[float]) -> None:
    assert axis_marks(low, high) == marks


@pytest.mark.parametrize(
    ("low", "high"),
    [(3.9e-7, 4.1e-7), (5, 5), (-2, -2), (1e8, 3e9), (-1e-9, 2e-9), (0.999, 1.001), (1 - 1e-7, 1 + 1e-7)],
)
def test_any_range_gets_few_marks_around_it(low: float, high: float) -> None:
    marks = axis_marks(low, high)
    assert 2 <= len(marks) <= 8 and marks == sorted(set(marks))
    assert marks[0] <= low and high <= marks[-1]
    assert len({label(mark) for mark in marks}) == len(marks)  # they can be told apart


def test_labels_are_short() -> None:
    assert [label(value) for value in (0, 0.25, 1234, 25_000, 2_500_000, 3e9)] == [
        "0",
        "0.25",
        "1234",
        "25k",
        "2.5M",
        "3G",
    ]


def test_smoothing_is_the_mean_of_the_last_values_and_thinning_keeps_the_mean() -> None:
    assert smoothed([(1, 2.0), (2, 4.0), (3, 9.0), (4, 2.0)], window=2) == [(1, 2.0), (2, 3.0), (3, 6.5), (4, 5.5)]
    points = [(float(step), float(step % 7)) for step in range(1, 1001)]
    few = thinned(points)
    assert len(few) == 250
    assert sum(value for _, value in few) / 250 == pytest.approx(sum(value for _, value in points) / 1000)


def test_a_spike_does_not_flatten_the_rest_and_stays_within_the_frame() -> None:
    points = [(step, 1.0 if step % 2 else 2.0) for step in range(200)] + [(200, 1e6)]
    chart = curve_chart("loss", [Curve("a", 0, points, smoothed(points[:-1], window=1))])
    drawn = re.search(r'class="smooth run0" points="([^"]*)"', chart)
    heights = [float(pair.split(",")[1]) for pair in drawn[1].split()]
    assert max(heights) - min(heights) > 100  # 1 and 2 lie far apart in a frame of 176
    every = [float(pair.split(",")[1]) for pair in re.findall(r"[\d.]+,[\d.]+", chart)]
    assert min(every) >= 0 and max(every) <= 210


def test_one_file_compares_runs_and_holds_no_script_and_no_address(tmp_path: Path) -> None:
    write_run(tmp_path / "grpo", steps=50, completion="so \\boxed{2}", extra={"odd_metric": 3})
    write_run(tmp_path / "ppo", steps=1, extra={"only_ppo": True})
    out = tmp_path / "curves.html"
    main(CurvesConfig(runs=f"{tmp_path}/grpo, second={tmp_path}/ppo", out=str(out)))
    text = out.read_text(encoding="utf-8")
    page = Balanced()
    page.feed(text)
    assert page.open == []
    assert not {"script", "link", "img", "iframe"} & set(page.seen) and "http" not in text and "url(" not in text
    captions = re.findall(r"<figcaption>([^<]*)", text)
    assert captions == ["reward", "margin", "kl", "sample_s", "odd_metric"]  # by group; true is no number
    assert "<h2>Reward</h2>" in text and "prefers-color-scheme: dark" in text and "@media print" in text
    assert text.count('class="smooth run0"') == 5 and text.count("<circle") == 4  # one step is a dot
    assert "so \\boxed{2}" in text and 'class="good">right' in text
    # the mean of steps 46 to 50 of 50
    assert re.search(r"<td>reward</td><td>0\.96</td><td>1</td>", text)
    assert "null" not in text and "nan" not in text.lower().replace("mean", "")


def test_names_and_texts_of_others_are_escaped(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", steps=3, completion=HOSTILE, extra={HOSTILE: 1.0})
    main(CurvesConfig(runs=f"<b onclick>={run}", out=str(tmp_path / "c.html")))
    page = Balanced()
    page.feed((tmp_path / "c.html").read_text(encoding="utf-8"))
    assert page.open == [] and not {"script", "img", "b"} & set(page.seen)


def test_what_cannot_be_shown_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", steps=2)
    (tmp_path / "empty").mkdir()
    for runs, message in (
        ("", "0 given"),
        (f"{tmp_path}/nowhere", "no such folder"),
        (f"{tmp_path}/empty", "no metrics.jsonl with a step"),
        (f"{run},{run}", "two runs called run; give NAME="),
        (",".join(f"{k}={run}" for k in range(9)), "9 given"),
    ):
        assert launch(main, CurvesConfig, argv=["--runs", runs, "--out", str(tmp_path / "c.html")]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "c.html").exists()


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; as root, bash pipelines/setup_browser.sh installs Debian's")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_browser_the_page_fits_every_run_is_visible_and_nothing_runs(
    tmp_path: Path, scheme: str, width: int
) -> None:
    from playwright.sync_api import sync_playwright

    runs = [write_run(tmp_path / f"run{k}", steps=40, completion=HOSTILE, extra={"long" * 30: 1.0}) for k in range(8)]
    out = tmp_path / "curves.html"
    main(CurvesConfig(runs=",".join(map(str, runs)), out=str(out)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page.goto(out.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("window.hacked") is None
        lines = "document.querySelector('figure').querySelectorAll('polyline.smooth')"
        colours = page.evaluate(f"[...{lines}].map(line => getComputedStyle(line).stroke)")
        paper = page.evaluate("getComputedStyle(document.querySelector('figure')).backgroundColor")
        browser.close()
    assert len(set(colours)) == 8 and "none" not in colours and paper not in colours
