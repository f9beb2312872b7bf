"""One self-contained HTML file about a run: no request leaves it, and nothing a page wrote is obeyed in it."""

import base64
import hashlib
import importlib.resources
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from mining.errors import ConfigError
from mining.inspect import charts, formats, summaries
from mining.inspect.charts import Bar, Figure
from mining.inspect.contamination import not_sought, notes
from mining.inspect.tables import Row, Run, domains, prefixes

_MAX_REASONS = 14
_MAX_CLUSTERS = 8
_MAX_LEAKS = 12
_MAX_PREFIXES = 20
_MAX_LANGUAGES = 10
_MAX_NEW_HOSTS = 8
_MIN_MATH_PAGES = 5
"""A group with fewer has intervals from 0 to 1: it stands in the table alone."""


def write_report(run: Run, file: Path, *, num_domains: int = 40, evaluation: Mapping[str, Any] | None = None) -> Path:
    """`file`, replaced atomically by the report of the run as it stands."""
    html = render(run, num_domains=num_domains, evaluation=evaluation)
    partial = file.with_name(f"{file.name}.partial")
    try:
        partial.write_text(html, encoding="utf-8", errors="replace")
        os.replace(partial, file)
    except OSError as error:
        raise ConfigError(f"{file}: the report cannot be written there ({error}); give another --output") from error
    return file


def render(run: Run, *, num_domains: int = 40, evaluation: Mapping[str, Any] | None = None) -> str:
    """The report as HTML; `evaluation` is the answer of `mining.inspect.evaluate.evaluate`, where there is one."""
    folder = importlib.resources.files("mining.inspect").joinpath("templates")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.finalize = _finalize
    environment.filters.update(
        count=formats.count,
        compact=formats.compact,
        percent=formats.percent,
        signed=formats.signed,
        logit=formats.logit,
        number=formats.number,
        seconds=formats.seconds,
        rate=_rate,
    )
    style = folder.joinpath("report.css").read_text(encoding="utf-8")
    template = environment.from_string(folder.joinpath("report.html").read_text(encoding="utf-8"))
    return template.render(
        style=Markup(style),
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        name=run.path.resolve().name,
        created=run.manifest.get("created", ""),
        left=run.stages_left(),
        tiles=_tiles(run, evaluation),
        rounds=[_round(run, number, num_domains) for number in reversed(run.rounds)],
        metrics=[run.metrics[number] for number in run.rounds],
        round_charts=_round_charts(run),
        growth=_growth(run),
        content=_content(run),
        drops=_drops(run),
        duplicates=_duplicates(run),
        contamination=_contamination(run),
        stages=_stages(run),
        audits=_audits(run),
        evaluation=evaluation,
        evaluation_charts=_evaluation_charts(evaluation),
    )


def _finalize(value: object) -> object:
    """Text that pages wrote, made harmless to read; our own markup as it is."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return "" if value is None else value
    return formats.printable(value)


def _rate(value: float | None) -> str:
    """So many a second; `-` for none."""
    if value is None:
        return "-"
    return f"{value:.1f}/s" if value < 10 else f"{formats.compact(value)}/s"


def _tiles(run: Run, evaluation: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """The figures on top of the page: label, value, note."""
    found = [_tile("records read", formats.compact(run.stages.get("ingest", {}).get("in")))]
    if run.is_done("ingest"):
        total = run.row(f"SELECT count(*) AS pages, sum(n_tokens) AS tokens FROM {run.relation('pages')}") or {}
        found.append(_tile("pages", formats.compact(total["pages"]), f"{formats.compact(total['tokens'])} tokens"))
    if run.rounds:
        number, last = run.rounds[-1], run.metrics[run.rounds[-1]]
        note = f"of {formats.compact(last.get('pages'))} after dedup"
        found.append(_tile(f"collected in round {number}", formats.compact(last.get("collected")), note))
        if last.get("overlap_last") is not None:
            note = f"of it, in round {number - 1} already"
            found.append(_tile("saturation", formats.percent(last["overlap_last"]), note))
    if run.is_done("export"):
        corpus = run.relation("corpus")
        total = run.row(f"SELECT count(*) AS pages, sum(n_tokens) AS tokens FROM {corpus}") or {}
        note = f"{formats.count(total['pages'])} pages"
        found.append(_tile("tokens in the corpus", formats.compact(total["tokens"] or 0), note))
    judged = (evaluation or {}).get("corpus") or ((evaluation or {}).get("rounds") or [None])[-1]
    if judged:
        note = f"recall {formats.number(judged['recall'])}, {formats.count(judged['n'])} labelled pages"
        found.append(_tile("precision", formats.number(judged["precision"]), note))
    return found


def _tile(label: str, value: str, note: str = "") -> dict[str, str]:
    return {"label": label, "value": value, "note": note}


def _round_charts(run: Run) -> dict[str, Markup]:
    """Pages, tokens, saturation and positives over the rounds; no chart for what no round has."""
    if not run.rounds:
        return {}
    metrics = [run.metrics[number] for number in run.rounds]
    names = [f"round {number}" for number in run.rounds]
    pages = [
        Bar(name, m["collected"], formats.compact(m["collected"]), part=m["collected"] - (m.get("new_pages") or 0))
        for name, m in zip(names, metrics, strict=True)
    ]
    tokens = [
        Bar(name, m["collected_tokens"], formats.compact(m["collected_tokens"]))
        for name, m in zip(names, metrics, strict=True)
    ]
    found = {
        "pages": charts.column_chart(pages, name="Pages collected in each round"),
        "tokens": charts.column_chart(tokens, name="Tokens collected in each round"),
    }
    shares = [(n, m["overlap_last"]) for n, m in zip(names, metrics, strict=True) if m.get("overlap_last") is not None]
    if shares:
        target = run.manifest.get("config", {}).get("rounds", {}).get("stop_overlap", 0.98)
        title = "Share of each round's pages that the round before had"
        found["saturation"] = charts.share_line(shares, target=target, name=title)
    positives = [
        Bar(name, m["positives"], formats.compact(m["positives"]), part=m["positives_by_source"].get("seed", 0))
        for name, m in zip(names, metrics, strict=True)
        if m.get("positives_by_source")
    ]
    if positives:
        found["positives"] = charts.column_chart(positives, name="Positives that each round learned from")
    return found


def _evaluation_charts(evaluation: Mapping[str, Any] | None) -> list[tuple[str, Markup]]:
    """(title, chart) of precision, recall and F1 on the labelled pages: by round, and by group at the end."""
    if not evaluation or not evaluation["rounds"]:
        return []
    entries = [(f"round {entry['round']}", entry) for entry in evaluation["rounds"]]
    if evaluation.get("corpus"):
        entries.append(("corpus", evaluation["corpus"]))
    last_name, last = entries[-1]
    groups = [("all", last)]
    for key in ("by_language", "by_stratum", "by_borderline"):
        groups += [(name, part) for name, part in last[key].items() if part["n_math"] >= _MIN_MATH_PAGES]
    found = [("By round", _quality(entries, "Precision, recall and F1 by round"))]
    if len(groups) > 1:
        found.append((f"By kind of page, {last_name}", _quality(groups, "Precision, recall and F1 by kind of page")))
    return found


def _quality(entries: Sequence[tuple[str, Mapping[str, Any]]], name: str) -> Markup:
    series = [
        (title, [Figure(entry[key], entry.get(f"{key}_interval")) for _, entry in entries])
        for title, key in (("precision", "precision"), ("recall", "recall"), ("F1", "f1"))
    ]
    return charts.interval_chart([label for label, _ in entries], series, name=name)


def _audits(run: Run) -> dict[str, Any] | None:
    """Precision and recall of each round as estimated from audited pages; None where nobody has audited any."""
    rows = summaries.audit_estimates(run)
    if not rows:
        return None
    series = [(key, [Figure(row[key].value, row[key].interval) for row in rows]) for key in ("precision", "recall")]
    names = [f"round {row['round']}" for row in rows]
    chart = charts.interval_chart(names, series, name="Precision and recall by round, from audited pages")
    return {"rows": rows, "chart": chart}


def _growth(run: Run) -> list[dict[str, Any]]:
    """For each round the hosts that it reached first, as a chart."""
    found = []
    for number in run.rounds:
        rows = summaries.new_hosts(run, number, limit=_MAX_NEW_HOSTS)
        bars = [Bar(row["host"], row["collected"], f"{row['collected']:,} of {row['pages']:,}") for row in rows]
        name = f"Hosts that round {number} was the first to collect from"
        num_new = run.metrics[number].get("new_domains")
        found.append({"number": number, "num_new": num_new, "chart": bars and charts.row_chart(bars, name=name)})
    return found


def _round(run: Run, number: int, num_domains: int) -> dict[str, Any]:
    metrics = run.metrics[number]
    bins = metrics.get("histogram")
    labelled = [row for row in prefixes(run, number, sort="uncollected") if row["label"]]
    return {
        "number": number,
        "metrics": metrics,
        "histogram": bins
        and charts.histogram(
            bins["edges"],
            bins["pages"],
            bins["collected"],
            cut=metrics.get("cut", {}).get("threshold"),
            name=f"Pages by score in round {number}",
        ),
        "cuts": summaries.other_cuts(run, number) if number == run.rounds[-1] else [],
        "domains": domains(run, number, limit=num_domains),
        "num_domains": (run.row(f"SELECT count(*) AS n FROM {run.relation('domains', number)}") or {"n": 0})["n"],
        "prefixes": labelled[:_MAX_PREFIXES],
        "num_prefixes": len(labelled),
        "annotator": metrics.get("annotator") or {},
    }


def _content(run: Run) -> dict[str, Any] | None:
    """Languages and formulas of what the last round collected, beside what it left."""
    if not run.rounds:
        return None
    number = run.rounds[-1]
    rows = summaries.languages(run, number, limit=_MAX_LANGUAGES)
    bars = [
        Bar(
            row["language"],
            row["pages"],
            f"{formats.compact(row['collected'])} of {formats.compact(row['pages'])}",
            row["collected"],
        )
        for row in rows
    ]
    kinds = summaries.formula_kinds(run, number)
    return {
        "languages": rows,
        "language_chart": charts.row_chart(bars, name="Pages by language, collected ones stronger"),
        "formulas": summaries.formula_shares(run, number),
        "kinds": kinds,
        "kind_chart": kinds
        and charts.row_chart(
            [
                Bar(row["kind"].replace("_", " "), row["found"], formats.compact(row["found"]), row["kept"])
                for row in kinds
            ],
            name="Formulas by the markup they came in, kept ones stronger",
        ),
    }


def _top(rows: Sequence[Row], limit: int, key: str) -> list[Row]:
    """The first rows, the others summed up in one."""
    if len(rows) <= limit:
        return list(rows)
    rest = rows[limit - 1 :]
    return [*rows[: limit - 1], {key: f"{len(rest)} others", "n": sum(row["n"] for row in rest)}]


def _drops(run: Run) -> dict[str, Any]:
    rows = run.rows(
        f"SELECT reason, count(*) AS n FROM {run.relation('dropped')} GROUP BY reason ORDER BY n DESC, reason"
    )
    bars = [Bar(row["reason"], row["n"], formats.count(row["n"])) for row in _top(rows, _MAX_REASONS, "reason")]
    return {
        "total": sum(row["n"] for row in rows),
        "chart": charts.row_chart(bars, name="Records dropped, by reason") if bars else None,
    }


def _duplicates(run: Run) -> dict[str, Any]:
    duplicates = run.relation("duplicates")
    kinds = summaries.duplicate_kinds(run)
    clusters: list[Row] = []
    if kinds:
        clusters = run.rows(
            f"""SELECT p.url, c.n FROM (SELECT kept_id, count(*) AS n FROM {duplicates} GROUP BY kept_id
                                        ORDER BY n DESC, kept_id LIMIT ?) c
                JOIN {run.relation("pages")} p ON p.page_id = c.kept_id ORDER BY c.n DESC, p.url""",
            [_MAX_CLUSTERS],
        )
    edges, counts = summaries.jaccard_bars(run)
    bars = [
        Bar(f"{low:.2f}".removeprefix("0"), n, formats.compact(n) if n else "")
        for low, n in zip(edges, counts, strict=False)
    ]
    return {
        "total": sum(row["n"] for row in kinds),
        "kinds": kinds,
        "clusters": clusters,
        "jaccard_chart": charts.column_chart(bars, name="Near-duplicates by Jaccard similarity") if bars else None,
    }


def _contamination(run: Run) -> dict[str, Any]:
    contaminated = run.relation("contaminated")
    return {
        "done": run.is_done("decontaminate"),
        "facts": run.stages.get("decontaminate", {}),
        "notes": notes(not_sought(run)),
        "rows": run.rows(
            f"""SELECT benchmark, count(DISTINCT page_id) AS pages, count(DISTINCT item) AS items,
                       count(*) FILTER (action = 'segment') AS segments,
                       count(DISTINCT page_id) FILTER (action = 'page') AS whole_pages
                FROM {contaminated} GROUP BY benchmark ORDER BY pages DESC, benchmark"""
        ),
        "leaks": run.rows(
            f"""SELECT benchmark, item, count(DISTINCT page_id) AS pages,
                       left(arg_max(gram, (length(gram), gram)), 160) AS gram
                FROM {contaminated} GROUP BY benchmark, item
                ORDER BY max(length(gram)) DESC, pages DESC, benchmark, item LIMIT ?""",
            [_MAX_LEAKS],
        ),
    }


def _stages(run: Run) -> dict[str, Any]:
    """Seconds of each stage as a chart, what went in and came out, and the steps of the rounds."""
    rows = summaries.stages(run)
    bars = [
        Bar(row["name"], row["seconds"], formats.seconds(row["seconds"])) for row in rows if row["seconds"] is not None
    ]
    steps, rounds = summaries.round_steps(run)
    asked = [run.metrics[number]["annotator"] for number in run.rounds if run.metrics[number].get("annotator")]
    return {
        "rows": rows,
        "total": sum(row["seconds"] or 0 for row in rows),
        "chart": charts.row_chart(bars, name="Seconds of each stage") if bars else None,
        "steps": steps,
        "rounds": rounds,
        "asked": asked and {key: sum(one[key] for one in asked) for key in ("tokens_in", "tokens_out", "price")},
    }
