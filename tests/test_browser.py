"""The labelling page in a real headless Chromium, against the real server: keys, tabs, reloads, hostile pages."""

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from labelling_run import write_run

from mining.audits import read_audits
from mining.prefixes import read_labels

pytestmark = pytest.mark.browser
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HOSTILE = '"><script>window.hacked=1</script><img src=x onerror="window.hacked=2"><svg onload="window.hacked=3">'
PAGES = [
    (
        "https://bad.example/news/1",
        HOSTILE,
        f"{HOSTILE} $\\text{{{HOSTILE}}} \\href{{javascript:window.hacked=4}}{{x}}$",
    ),
    (f"https://bad.example/news/{HOSTILE}", "address", f"$$\\begin{{matrix}}{HOSTILE}\\end{{matrix}}$$"),
    (f"https://bad.example/{HOSTILE}/x", "folder", "</div></main><style>body{display:none}</style>"),
    ("javascript://bad.example/%0awindow.hacked=5", "scheme", "plain"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine; as root, bash pipelines/setup_browser.sh installs Debian's")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", hosts=12, more_pages=PAGES)


@pytest.fixture
def serve() -> Iterator[object]:
    """Starts servers on free ports; they end with the test."""
    running: list[subprocess.Popen[str]] = []

    def start(run_dir: Path, annotator: str = "ada") -> str:
        command = [sys.executable, "-m", "mining.inspect.cli", "annotate", str(run_dir), "--port", "0", "--no-browser"]
        running.append(subprocess.Popen([*command, "--annotator", annotator], stdout=subprocess.PIPE, text=True))
        return running[-1].stdout.readline().split()[0].rstrip("/")

    yield start
    for one in running:
        one.terminate()
        one.wait(timeout=20)
        one.stdout.close()


@pytest.fixture
def page(browser, serve) -> Iterator[object]:
    """A page that fails the test where its console or a script says an error, or where it asks another machine.

    It closes before the servers do: a page that is open asks for the state of the labels.
    """
    context = browser.new_context(viewport={"width": 1366, "height": 768})
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(f"dialog {dialog.message}"))
    page.on("request", lambda r: wrong.append(r.url) if not r.url.startswith("http://127.0.0.1:") else None)
    yield page
    context.close()
    assert wrong == []


def labels_in(run_dir: Path) -> dict[str, str]:
    file = run_dir / "labels.csv"
    return {one.prefix: one.label for one in read_labels(file.read_text())} if file.exists() else {}


def press(page, key: str) -> str:
    """Press a key that leads to another view; the prefix that was chosen before."""
    chosen = page.locator("tr.chosen .prefix a").get_attribute("title")
    with page.expect_navigation():
        page.keyboard.press(key)
    return chosen


def test_ten_prefixes_by_keyboard_one_undone_and_all_stands_after_a_reload(page, serve, run_dir: Path) -> None:
    page.goto(serve(run_dir))
    page.keyboard.press("j")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    given = {}
    for number in range(10):
        key, label = ("m", "math") if number % 2 == 0 else ("n", "not_math")
        prefix = press(page, key)
        given[prefix] = label
        assert labels_in(run_dir) == given, "on the disk when the next view shows"
    assert len(given) == 10
    with page.expect_navigation():
        page.keyboard.press("u")
    assert page.locator("tr.chosen .prefix a").get_attribute("title") == prefix
    del given[prefix]
    assert labels_in(run_dir) == given
    page.reload()
    assert "9 of 24 prefixes decided" in page.locator(".progress").inner_text()
    assert re.search(r"math so far: \+25 pages, \+\d", page.locator(".progress").inner_text())  # 5 prefixes of 5 pages


def test_moving_skipping_searching_and_the_note(page, serve, run_dir: Path) -> None:
    address = serve(run_dir)
    page.goto(f"{address}/host/site00003.example")
    first = press(page, "j")
    assert page.locator("tr.chosen .prefix a").get_attribute("title") != first
    press(page, "ArrowUp")
    assert page.locator("tr.chosen .prefix a").get_attribute("title") == first
    page.keyboard.press("e")
    page.keyboard.type("mainly lecture notes")  # has m, n, s and u in it
    page.keyboard.press("Enter")
    assert labels_in(run_dir) == {}
    assert press(page, "m") == "site00003.example/math/"
    assert read_labels((run_dir / "labels.csv").read_text())[0].note == "mainly lecture notes"
    press(page, "s")
    assert labels_in(run_dir) == {"site00003.example/math/": "math"}
    with page.expect_navigation():
        page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("site00007")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.locator("a.row").all_inner_texts() == ["site00007.example"]


def test_a_second_press_before_the_next_view_labels_nothing_more(page, serve, run_dir: Path) -> None:
    page.goto(f"{serve(run_dir)}/host/site00001.example")
    with page.expect_navigation():
        page.evaluate(
            "for (const key of 'mmn') document.body.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}))"
        )
    page.wait_for_load_state()
    assert labels_in(run_dir) == {"site00001.example/math/": "math"}


def test_two_tabs_and_two_servers_lose_nothing(page, serve, browser, run_dir: Path) -> None:
    page.goto(f"{serve(run_dir, 'ada')}/host/site00001.example")
    other_context = browser.new_context()
    other = other_context.new_page()
    other.goto(f"{serve(run_dir, 'bob')}/host/site00002.example")
    press(page, "m")
    press(other, "n")
    press(page, "m")
    assert labels_in(run_dir) == {
        "site00001.example/math/": "math", "site00002.example/math/": "not_math", "site00001.example/notes/": "math",
    }  # fmt: skip
    other.evaluate("window.dispatchEvent(new Event('focus'))")
    other.locator("#stale").wait_for(state="visible")
    with other.expect_navigation():
        other.click("#reload")
    assert "3 of 24 prefixes decided" in other.locator(".progress").inner_text()
    other_context.close()


def test_a_hostile_page_stays_text(page, serve, run_dir: Path) -> None:
    address = serve(run_dir)
    views = ["/?show=all&sort=host", "/host/bad.example?show=all", "/audit"]
    views += [f"/page/{number:032x}" for number in range(4)]
    page.goto(f"{address}/host/bad.example")
    hrefs = page.locator("td.prefix a").evaluate_all("found => found.map(one => one.getAttribute('href'))")
    for view in [*views, *hrefs]:
        page.goto(address + view)
        assert page.evaluate("window.hacked") is None, view
        assert page.locator("img, main style, main script, svg[onload]").count() == 0, view
        assert page.locator("main").is_visible()
        links = page.locator("a").evaluate_all("found => found.map(one => one.protocol)")
        assert set(links) <= {"http:", "https:"}
    page.goto(f"{address}/page/{0:032x}")
    assert HOSTILE in page.locator("h1").inner_text()
    assert page.locator("math").count() > 0
    page.goto(f"{address}/host/bad.example?prefix=bad.example/news/")
    outside = page.locator("article .url a").first
    assert outside.get_attribute("rel") == "noopener noreferrer"
    press(page, "m")
    assert labels_in(run_dir) == {"bad.example/news/": "math"}


def test_audits_by_keyboard_are_written_and_estimated(page, serve, run_dir: Path) -> None:
    page.goto(f"{serve(run_dir)}/audit")
    for _ in range(36):
        url = page.locator("article .url").inner_text()
        with page.expect_navigation():
            page.keyboard.press("m" if "/math/" in url else "n")
    audits = read_audits(run_dir / "audits.csv")
    assert len(audits) == 36
    assert all((one.label == "math") == ("/math/" in one.url) for one in audits)
    assert page.locator(".tile b").first.inner_text().endswith("%")
    with page.expect_navigation():
        page.keyboard.press("u")
    assert len(read_audits(run_dir / "audits.csv")) == 35


def test_another_name_signs_from_then_on(page, serve, run_dir: Path) -> None:
    address = serve(run_dir)
    page.goto(address)
    page.click(".who summary")
    page.fill(".who input[name=name]", "Émile B.")
    with page.expect_navigation():
        page.click(".who button")
    page.goto(f"{address}/host/site00001.example")
    press(page, "m")
    assert read_labels((run_dir / "labels.csv").read_text())[0].annotator == "Émile B."


def test_another_site_in_the_same_browser_cannot_label(browser, serve, run_dir: Path) -> None:
    address = serve(run_dir)
    form = (
        f"<form method=post action='{address}/label'><input name=target value='site00001.example/math/'>"
        "<input name=label value=math><input name=annotator value=ada><input name=token value=x></form>"
        f"<iframe src='{address}/'></iframe><script>fetch('{address}/labels.csv', {{mode: 'no-cors'}})"
        ".then(() => document.title = 'read', () => document.title = 'refused')"
        ".then(() => document.forms[0].submit())</script>"
    )

    class Evil(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(form.encode())

        def log_message(self, *args: object) -> None:
            pass

    evil = ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    threading.Thread(target=evil.serve_forever, daemon=True).start()
    context = browser.new_context()
    page = context.new_page()
    with page.expect_response(f"{address}/label") as answer:
        page.goto(f"http://localhost:{evil.server_port}/")
    assert answer.value.status == 403
    assert labels_in(run_dir) == {}
    context.close()
    evil.shutdown()
    evil.server_close()


@pytest.mark.slow
@pytest.mark.spark
def test_the_next_run_of_mine_uses_what_was_labelled(page, serve, mini_web: Path, tmp_path: Path) -> None:
    from run_tables import mine

    run_dir = tmp_path / "run"
    args = ["--data_dir", str(mini_web), "--run_dir", str(run_dir), "--labels.annotator", "file"]
    stopped = mine(*args)
    assert stopped.returncode == 3, stopped.stderr[-2000:]
    page.goto(serve(run_dir))
    with page.expect_navigation():
        page.locator("a.row").first.click()
    given = {}
    while page.locator("tr.chosen").count() and len(given) < 5:  # a web this small proposes only a few in round 1
        key = "m" if len(given) != 1 else "n"
        given[press(page, key)] = key
    assert "m" in given.values()
    assert labels_in(run_dir) == {prefix: {"m": "math", "n": "not_math"}[key] for prefix, key in given.items()}
    resumed = mine(*args)
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    taken = read_labels((run_dir / "rounds" / "01" / "labels.csv").read_text())
    assert {one.prefix: one.annotator for one in taken} == dict.fromkeys(given, "ada")
    metrics = json.loads((run_dir / "rounds" / "02" / "metrics.json").read_text())
    assert metrics["positives_by_source"]["prefix"] > 0
    page.reload()
    assert "round 2" in page.locator("main").inner_text()
