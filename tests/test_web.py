"""The labelling page over HTTP: what a person sees and changes, who is refused, and how long a view takes."""

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from labelling_run import write_run
from markupsafe import Markup
from starlette.testclient import TestClient

from mining.audits import is_held_out, read_audits
from mining.errors import ConfigError
from mining.inspect.cli import main
from mining.inspect.web import Settings, check_annotator, make_app, web_url
from mining.inspect.web_text import formula_markup, page_markup
from mining.prefixes import read_labels

PORT = 8765
ORIGIN = f"http://127.0.0.1:{PORT}"
HOSTILE = '"><script>window.hacked=1</script><img src=x onerror=alert(1)>'


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    hostile = ("https://bad.example/a%22b/" + HOSTILE, HOSTILE, f"{HOSTILE} $\\text{{{HOSTILE}}}$ \x1b[2J \u202e")
    return write_run(
        tmp_path / "a run's", hosts=30, more_pages=[hostile, ("javascript://bad.example/%0aalert(1)", "j", "x")]
    )


def open_site(run_dir: Path, annotator: str = "ada") -> TestClient:
    client = TestClient(
        make_app(Settings(run_dir, PORT, annotator)),
        base_url=ORIGIN,
        headers={"Origin": ORIGIN},
        follow_redirects=False,
    )
    client.token = re.search(r'name="token" value="([^"]+)"', client.get("/").text)[1]
    return client


@pytest.fixture
def site(run_dir: Path) -> Iterator[TestClient]:
    with open_site(run_dir) as client:
        yield client


def send(site: TestClient, path: str, **fields: str) -> str:
    """Where a change leads to."""
    answer = site.post(path, data={"token": site.token, "annotator": "ada", **fields})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def label(site: TestClient, prefix: str, word: str, **fields: str) -> str:
    return send(site, "/label", host=prefix.split("/")[0], target=quote(prefix, safe=""), label=word, **fields)


def labels_of(run_dir: Path) -> dict[str, str]:
    return {one.prefix: one.label for one in read_labels((run_dir / "labels.csv").read_text())}


def listed(site: TestClient, query: str = "") -> list[str]:
    return re.findall(r'class="row" href="/host/([^"?]+)', site.get(f"/{query}").text)


# -- the list and a host


def test_hosts_come_by_what_a_label_may_bring(site: TestClient) -> None:
    text = site.get("/").text
    rows = re.findall(r'class="row"[^>]*>([^<]+)</a></td>\s*<td class="strong">([\d.]+)(k?) tokens', text)
    brings = [float(number) * (1000 if unit else 1) for _, number, unit in rows]
    assert len(rows) == 20 and brings == sorted(brings, reverse=True) and brings[0] > 0
    assert len(listed(site, "?page=2")) == 10
    assert sorted(listed(site, "?q=SITE0001")) == [f"site0001{n}.example" for n in range(10)]
    assert listed(site, "?sort=host")[:2] == ["site00000.example", "site00001.example"]
    assert listed(site, "?show=labelled") == [] and len(listed(site, "?show=all&page=2")) == 11


def test_a_label_is_on_disk_and_its_effect_on_the_page_and_the_next_prefix_follows(
    site: TestClient, run_dir: Path
) -> None:
    host = "site00003.example"
    following = label(site, f"{host}/math/", "math")
    assert labels_of(run_dir) == {f"{host}/math/": "math"}
    assert following == f"/host/{host}?prefix={quote(f'{host}/notes/', safe='')}"
    text = site.get(following).text
    # 8 pages, of which 0, 3 and 6 were collected; n_tokens is 100 + (21 + k) % 50
    tokens = sum(100 + (21 + k) % 50 for k in (1, 2, 4, 5, 7))
    assert f"+5 pages, +{tokens} tokens" in text and f"math so far: +5 pages, +{tokens} tokens" in text
    assert "<b>1</b> of 60 prefixes decided" in text
    after = label(site, f"{host}/notes/", "not_math")
    assert after.startswith("/host/site000") and host not in after  # the host is done: on to the next
    assert host not in listed(site, "?sort=host") and listed(site, "?show=labelled") == [host]


def test_undo_and_skip(site: TestClient, run_dir: Path) -> None:
    label(site, "site00001.example/math/", "math")
    label(site, "site00001.example/notes/", "skip")
    assert labels_of(run_dir) == {"site00001.example/math/": "math"}
    assert listed(site, "?show=skipped") == ["site00001.example"]
    assert send(site, "/undo", kind="prefix") == "/host/site00001.example?prefix=site00001.example%2Fnotes%2F"
    assert send(site, "/undo", kind="prefix") == "/host/site00001.example?prefix=site00001.example%2Fmath%2F"
    assert labels_of(run_dir) == {}


def test_a_label_on_the_host_decides_all_its_prefixes_and_a_longer_one_stands(site: TestClient, run_dir: Path) -> None:
    label(site, "site00002.example/", "math")
    assert "site00002.example" not in listed(site, "?show=todo&sort=host")
    assert "<b>2</b> of 60" in site.get("/").text
    # Its rows go along until they have labels of their own: 5 of 8 pages of math/, 7 of notes/, 8 of news/ are left.
    assert '<span class="good">+20 pages,' in site.get("/").text
    asked = site.get("/host/site00006.example?prefix=site00006.example/").text
    assert "+20 pages," in asked and "with 3 rows below that have no label yet" in asked
    label(site, "site00002.example/news/", "not_math")
    text = site.get("/host/site00002.example?prefix=site00002.example/").text
    assert text.count('class="text prefix') == 4
    assert "math so far: +12 pages" in text  # 16 pages without news, of which 3 math and 1 note were collected


def test_the_second_annotator_sees_no_verdict_before_giving_one(site: TestClient, run_dir: Path) -> None:
    label(site, "site00004.example/math/", "math")
    with open_site(run_dir, "bob") as other:
        assert listed(other, "?show=second") == ["site00004.example"]
        address = "/host/site00004.example?prefix=site00004.example/math/&show=second"
        assert "ada: math" not in other.get(address).text
        label(other, "site00004.example/math/", "not_math", annotator="bob", show="second")
        assert "ada: math" in other.get(address).text
        assert listed(other, "?show=disputed") == ["site00004.example"]
        assert labels_of(run_dir) == {"site00004.example/math/": "not_math"}
        text = other.get("/agreement").text
        assert "1 disputed" in text and "ada and bob" in text
    assert listed(site, "?show=disputed") == ["site00004.example"]  # the first server sees it without a restart


def test_a_finished_next_round_is_shown_without_a_restart(site: TestClient, run_dir: Path) -> None:
    assert "round 1 ·" in site.get("/").text
    manifest = (run_dir / "manifest.json").read_text()
    (run_dir / "rounds" / "01").rename(run_dir / "rounds" / "02")
    (run_dir / "rounds" / "01").symlink_to("02")
    (run_dir / "manifest.json").write_text(manifest.replace('"round-01"', '"round-02": {"state": "done"}, "round-01"'))
    assert "round 2 ·" in site.get("/").text


def test_import_and_export(site: TestClient, run_dir: Path) -> None:
    label(site, "site00005.example/math/", "math")
    header = "prefix,label,annotator,labelled_at,note"
    rows = f"{header}\nsite00006.example/math/,math,eve,2024,clear\nsite00005.example/math/,not_math,eve,,\n"
    assert send(site, "/import", csv=rows) == "/agreement?rows=2&new=2"
    assert labels_of(run_dir) == {"site00005.example/math/": "not_math", "site00006.example/math/": "math"}
    assert site.get("/labels.csv").text == (run_dir / "labels.csv").read_text()
    assert "attachment" in site.get("/labels.csv").headers["content-disposition"]
    answer = site.post(
        "/import", data={"token": site.token, "annotator": "ada", "csv": "prefix,label\nx.example/,perhaps\n"}
    )
    assert answer.status_code == 400 and "label &#39;perhaps&#39; is unknown" in answer.text


def test_a_broken_labels_file_is_said_and_kept(site: TestClient, run_dir: Path) -> None:
    (run_dir / "labels.csv").write_text("prefix,label\nx.example/,perhaps\n")
    assert site.get("/").status_code == 400 and "line 2" in site.get("/").text
    answer = site.post(
        "/label", data={"token": site.token, "annotator": "ada", "target": "x.example/a", "label": "math"}
    )
    assert answer.status_code == 400 and "perhaps" in (run_dir / "labels.csv").read_text()


# -- audits


def test_audited_pages_stand_in_the_file_and_give_estimates(site: TestClient, run_dir: Path) -> None:
    assert "audit a page of each stratum" in site.get("/audit").text
    truth = {}
    for _ in range(150):
        text = site.get("/audit").text
        page_id = re.search(r'name="page_id" value="([^"]+)"', text)[1]
        url = re.search(r'rel="noopener noreferrer" target="_blank">([^<]+)</a>', text)
        word = "math" if url and "/math/" in url[1] else "not_math"
        assert "score" not in text.partition("<article")[2].partition("</article>")[0]
        assert send(site, "/audit", page_id=page_id, label=word) == "/audit"
        truth[page_id] = word
    audits = read_audits(run_dir / "audits.csv")
    assert len(audits) == len(truth) == 150
    assert {one.held_out for one in audits} == {True, False}
    assert all(one.held_out == is_held_out(one.url.split("/")[2]) and one.round == 1 for one in audits)
    shown = re.findall(r'<span class="soft">(precision|recall)</span><b>([\d.]+)%</b>', site.get("/audit").text)
    found = {name: float(value) / 100 for name, value in shown}
    # Collected are 3 math pages and 1 note of each host, so precision is .75; 3 of 8 math pages, so recall is .375.
    assert abs(found["precision"] - 0.75) < 0.2 and abs(found["recall"] - 0.375) < 0.2
    send(site, "/undo", kind="page")
    assert len(read_audits(run_dir / "audits.csv")) == 149


def test_a_second_person_audits_the_same_pages_unseen(site: TestClient, run_dir: Path) -> None:
    first = re.search(r'name="page_id" value="([^"]+)"', site.get("/audit").text)[1]
    send(site, "/audit", page_id=first, label="math")
    with open_site(run_dir, "bob") as other:
        assert f'value="{first}"' not in other.get("/audit").text
        text = other.get("/audit?show=second").text
        assert f'value="{first}"' in text and 'class="chip math"' not in text
        fields = {"page_id": first, "label": "not_math", "annotator": "bob", "show": "second"}
        assert send(other, "/audit", **fields) == "/audit?show=second"
        assert "every page that others audited" in other.get("/audit?show=second").text
        assert "ada and bob" in other.get("/agreement").text
    assert [one.label for one in read_audits(run_dir / "audits.csv")] == ["not_math"]


def test_an_audit_needs_a_page_of_the_sample(site: TestClient) -> None:
    answer = site.post("/audit", data={"token": site.token, "annotator": "ada", "page_id": "nope", "label": "math"})
    assert answer.status_code == 400 and "not a page" in answer.text


# -- who is refused


def test_every_answer_carries_the_policy(site: TestClient) -> None:
    for path in ("/", "/audit", "/agreement", "/nothing", "/static/annotate.js", "/labels.csv"):
        headers = site.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';") and "unsafe" not in policy
        assert headers["x-frame-options"] == "DENY" and headers["x-content-type-options"] == "nosniff"
    assert site.get("/docs").status_code == 404 and site.get("/openapi.json").status_code == 404


@pytest.mark.parametrize(
    "host", ["evil.example:8765", "127.0.0.1:9999", "127.0.0.1.evil.example:8765", "", "0.0.0.0:8765"]
)
def test_another_host_name_is_refused(site: TestClient, host: str) -> None:
    answer = site.get("/", headers={"Host": host})
    assert answer.status_code == 403 and "site0" not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "same-site"},
    ],
)
def test_changes_from_elsewhere_are_refused(site: TestClient, run_dir: Path, headers: dict[str, str]) -> None:
    fields = {"token": site.token, "annotator": "ada", "target": "site00001.example/math/", "label": "math"}
    assert site.post("/label", data=fields, headers=headers).status_code == 403
    assert not (run_dir / "labels.csv").exists()


def test_a_change_needs_origin_and_token(site: TestClient, run_dir: Path) -> None:
    fields = {"annotator": "ada", "target": "site00001.example/math/", "label": "math"}
    for token in ("", "wrong", site.token[:-1], "é"):
        assert site.post("/label", data={**fields, "token": token}).status_code == 403
    del site.headers["Origin"]
    assert site.post("/label", data={**fields, "token": site.token}).status_code == 403
    assert site.post("/label", json=fields, headers={"Origin": ORIGIN}).status_code == 403
    assert not (run_dir / "labels.csv").exists()


def test_foreign_pages_may_link_here_but_neither_frame_nor_fetch(site: TestClient) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert site.get("/", headers=link).status_code == 200
    assert site.get("/", headers={**link, "Sec-Fetch-Dest": "iframe"}).status_code == 403
    assert site.get("/labels.csv", headers={**link, "Sec-Fetch-Mode": "no-cors"}).status_code == 403


@pytest.mark.parametrize("target", ["", "/path/only", "x.example/a\nb", "x.example/" + "a" * 3000])
def test_what_is_no_prefix_is_refused(site: TestClient, run_dir: Path, target: str) -> None:
    fields = {"token": site.token, "annotator": "ada", "target": quote(target), "label": "math"}
    assert site.post("/label", data=fields).status_code == 400
    assert not (run_dir / "labels.csv").exists()


@pytest.mark.parametrize("name", ["", "rules", "LLM", "<b>", "a\nb", "x" * 41])
def test_names_that_cannot_sign(name: str) -> None:
    with pytest.raises(ConfigError, match="annotator"):
        check_annotator(name)


def test_the_command_says_what_is_wrong_and_starts_nothing(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for arguments, words in (
            ([str(tmp_path / "absent")], "no such directory"),
            ([str(run_dir), "--port", "70000"], "--port 70000: give 0 to 65535"),
            ([str(run_dir), "--annotator", "rules"], "mine.py signs its own labels so"),
            ([str(run_dir), "--port", port], f"--port {port}: cannot be had"),
        ):
            assert main(["annotate", *arguments, "--no-browser"]) == 2
            said = capsys.readouterr()
            assert words in said.err and said.err.count("\n") == 1 and said.out == ""


def test_another_labels_file_is_written_where_it_is_asked_for(run_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "shared" / "ours.csv"
    site = TestClient(make_app(Settings(run_dir, PORT, "ada", file)), base_url=ORIGIN, headers={"Origin": ORIGIN})
    site.token = re.search(r'name="token" value="([^"]+)"', site.get("/").text)[1]
    fields = {"token": site.token, "annotator": "ada", "target": "site00001.example/math/", "label": "math"}
    assert site.post("/label", data=fields).status_code == 200
    assert file.exists() and (tmp_path / "shared" / "ours.log.csv").exists()
    assert not (run_dir / "labels.csv").exists()


# -- hostile pages


def test_what_a_page_wrote_stays_text(site: TestClient) -> None:
    host = site.get("/host/bad.example").text
    page = site.get(f"/page/{0:032x}").text
    for text in (host, page):
        assert "&lt;script&gt;" in text and "<script>window" not in text and "<img" not in text
        assert "\x1b" not in text and "\u202e" not in text
        assert 'href="javascript:' not in text
    asked = site.get("/host/bad.example", params={"prefix": f"bad.example/{HOSTILE}/"}).text
    assert "<script>window" not in asked and "<img" not in asked and "&lt;script&gt;" in asked
    assert "javascript://" in host  # its address is shown, and is no link


def test_only_web_addresses_become_links() -> None:
    assert web_url("https://a.example/x") == "https://a.example/x"
    for url in (
        "javascript:alert(1)",
        "data:text/html,x",
        " https://a.example",
        "https:",
        "//a.example",
        "file:///etc",
    ):
        assert web_url(url) == ""


@pytest.mark.parametrize(
    ("latex", "inside"),
    [
        (r"x^2", "<msup><mi>x</mi><mn>2</mn></msup>"),
        (r"\frac{a}{b}", "<mfrac>"),
        (r"\mathbb{R}^n", "<mi>ℝ</mi>"),
        (r"\sum_{i=1}^n i", "∑"),
        (r"a < b \& c", "&lt;"),
        (r"\text{<img src=x onerror=alert(1)>}", "&lt;img"),
    ],
)
def test_formulas_become_mathml(latex: str, inside: str) -> None:
    markup = formula_markup(latex, display=False)
    assert markup.startswith("<math") and inside in markup


@pytest.mark.parametrize(
    "latex",
    [
        r"\href{javascript:alert(1)}{x}",
        r"\style{background:url(http://x)}{x}",
        r"\class{a}{x}",
        r'\color{red" onload="x}{b}',
    ],
)
def test_nothing_but_listed_attributes_comes_out_of_a_formula(latex: str) -> None:
    markup = formula_markup(latex, display=True)
    for name in re.findall(r'<[^>]* (\w+)="', markup):
        assert name in ("display", "displaystyle", "class")
    assert not re.search(r"<[^>]*(javascript|onload|style=|href)", markup)


@pytest.mark.parametrize(
    "latex", ["{" * 500, r"\frac" * 400, "x_{" * 400, r"\newcommand{\a}{\a\a}\a", r"\left(" * 200, "a" * 1600]
)
def test_a_formula_that_cannot_be_read_is_shown_as_it_is_written_and_soon(latex: str) -> None:
    start = time.perf_counter()
    markup = formula_markup(latex, display=False)
    assert time.perf_counter() - start < 2
    assert isinstance(markup, Markup) and markup.startswith('<code class="latex">')


def test_prices_are_no_formulas_and_a_cut_halves_none() -> None:
    assert page_markup(r"It costs \$5 & \$6.", max_chars=100) == "It costs $5 &amp; $6."
    cut = page_markup("Let $x = 1$ and $y = 2$ hold.", max_chars=20)
    assert cut.count("<math") == 1 and "$" not in cut and cut.endswith("…")


# -- many hosts


@pytest.mark.slow
def test_every_view_of_ten_thousand_hosts_takes_less_than_200_ms(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "run", hosts=10_000)  # 240,000 pages
    with open_site(run_dir) as site:
        label(site, "site00077.example/math/", "math")
        views = ("/", "/?page=200", "/?show=all&sort=share&q=7", "/host/site04242.example", "/audit", "/agreement")
        taken = {}
        for view in views:
            site.get(view)  # DuckDB reads the footers of the files once
            times = []
            for _ in range(7):
                start = time.perf_counter()
                assert site.get(view).status_code == 200
                times.append(1000 * (time.perf_counter() - start))
            taken[view] = sorted(times)[3]
        times = []
        for number in range(7):
            start = time.perf_counter()
            following = label(site, f"site{number:05d}.example/math/", "math")
            site.get(following)
            times.append(1000 * (time.perf_counter() - start))
        taken["a label and the next view"] = sorted(times)[3]
        print({view: round(ms) for view, ms in taken.items()})
        assert max(taken.values()) < 200, taken
