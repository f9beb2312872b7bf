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
from mining.inspect import charts, formats
from mining.inspect.charts import Bar
from mining.inspect.tables import FIXED_STAGES, Row, Run, domains, prefixes

_MAX_REASONS = 14
_MAX_CLUSTERS = 8
_MAX_LEAKS = 12
_MAX_PREFIXES = 20
_MAX_LANGUAGES = 10


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
    )
    style = folder.joinpath("report.css").read_text(encoding="utf-8")
    template = environment.from_string(folder.joinpath("report.html").read_text(encoding="utf-8"))
    return template.render(
        style=Markup(style),
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        name=run.path.resolve().name,
        created=run.manifest.get("created", ""),
        left=run.stages_left(),
        tiles=_tiles(run),
        rounds=[_round(run, number, num_domains) for number in reversed(run.rounds)],
        metrics=[run.metrics[number] for number in run.rounds],
        round_charts=_round_charts(run),
        drops=_drops(run),
        duplicates=_duplicates(run),
        contamination=_contamination(run),
        languages=_languages(run),
        stages=_stages(run),
        evaluation=evaluation,
    )


def _finalize(value: object) -> object:
    """Text that pages wrote, made harmless to read; our own markup as it is."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return "" if value is None else value
    return formats.printable(value)


def _tiles(run: Run) -> list[dict[str, str]]:
    """The figures on top of the page: label, value, note."""
    entries = run.stages
    found = [{"label": "records read", "value": formats.compact(entries.get("ingest", {}).get("in")), "note": ""}]
    if run.is_done("ingest"):
        total = run.row(f"SELECT count(*) AS pages, sum(n_tokens) AS tokens FROM {run.relation('pages')}") or {}
        note = f"{formats.compact(total['tokens'])} tokens"
        found.append({"label": "pages", "value": formats.compact(total["pages"]), "note": note})
    if run.rounds:
        last = run.metrics[run.rounds[-1]]
        found.append(
            {
                "label": f"collected in round {run.rounds[-1]}",
                "value": formats.compact(last.get("collected")),
                "note": f"of {formats.compact(last.get('pages'))} after dedup",
            }
        )
        if last.get("overlap_last") is not None:
            note = f"of it, in round {run.rounds[-1] - 1} already"
            found.append({"label": "saturation", "value": formats.percent(last["overlap_last"]), "note": note})
    if run.is_done("export"):
        corpus = run.relation("corpus")
        total = run.row(f"SELECT count(*) AS pages, sum(n_tokens) AS tokens FROM {corpus}") or {}
        note = f"{formats.count(total['pages'])} pages"
        found.append({"label": "tokens in the corpus", "value": formats.compact(total["tokens"] or 0), "note": note})
    return found


def _round_charts(run: Run) -> dict[str, Markup]:
    """Pages, tokens and saturation over the rounds; no chart for what no round has."""
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
        "domains": domains(run, number, limit=num_domains),
        "num_domains": (run.row(f"SELECT count(*) AS n FROM {run.relation('domains', number)}") or {"n": 0})["n"],
        "prefixes": labelled[:_MAX_PREFIXES],
        "num_prefixes": len(labelled),
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
    kinds = run.rows(f"SELECT kind, count(*) AS n FROM {duplicates} GROUP BY kind ORDER BY n DESC, kind")
    clusters: list[Row] = []
    if kinds:
        clusters = run.rows(
            f"""SELECT p.url, c.n FROM (SELECT kept_id, count(*) AS n FROM {duplicates} GROUP BY kept_id
                                        ORDER BY n DESC, kept_id LIMIT ?) c
                JOIN {run.relation("pages")} p ON p.page_id = c.kept_id ORDER BY c.n DESC, p.url""",
            [_MAX_CLUSTERS],
        )
    bars = [Bar(row["kind"], row["n"], formats.count(row["n"])) for row in kinds]
    return {
        "total": sum(row["n"] for row in kinds),
        "chart": charts.row_chart(bars, name="Pages removed as duplicates, by kind") if bars else None,
        "clusters": clusters,
    }


def _contamination(run: Run) -> dict[str, Any]:
    contaminated = run.relation("contaminated")
    return {
        "done": run.is_done("decontaminate"),
        "rows": run.rows(
            f"""SELECT benchmark, count(DISTINCT page_id) AS pages, count(DISTINCT item) AS items,
                       count(*) FILTER (action = 'segment') AS segments,
                       count(DISTINCT page_id) FILTER (action = 'page') AS whole_pages
                FROM {contaminated} GROUP BY benchmark ORDER BY pages DESC, benchmark"""
        ),
        "leaks": run.rows(
            f"""SELECT benchmark, item, count(DISTINCT page_id) AS pages, left(min(gram), 160) AS gram
                FROM {contaminated} GROUP BY benchmark, item ORDER BY pages DESC, benchmark, item LIMIT ?""",
            [_MAX_LEAKS],
        ),
    }


def _languages(run: Run) -> Markup | None:
    """Pages of each language after dedup, the part that the last round collected stronger."""
    if not run.rounds:
        return None
    rows = run.rows(
        f"""SELECT p.language AS language, count(*) AS n, count(c.page_id) AS collected
            FROM {run.relation("pages")} p ANTI JOIN {run.relation("duplicates")} d USING (page_id)
            LEFT JOIN {run.relation("collected", run.rounds[-1])} c USING (page_id)
            GROUP BY ALL ORDER BY n DESC, language LIMIT ?""",
        [_MAX_LANGUAGES],
    )
    bars = [
        Bar(
            row["language"],
            row["n"],
            f"{formats.compact(row['collected'])} of {formats.compact(row['n'])}",
            row["collected"],
        )
        for row in rows
    ]
    return charts.row_chart(bars, name="Pages by language, collected ones stronger")


def _stages(run: Run) -> dict[str, Any]:
    """Seconds of each stage as a chart, and what went in and came out as rows."""
    rows = []
    for name in [*FIXED_STAGES[:2], *(s for s in run.stages if s not in FIXED_STAGES), *FIXED_STAGES[2:]]:
        entry = run.stages.get(name)
        if entry:
            dropped = sum((entry.get("dropped") or {}).values())
            rows.append(
                {
                    "name": name,
                    "state": entry.get("state"),
                    "seconds": entry.get("seconds"),
                    "in": entry.get("in"),
                    "kept": entry.get("kept"),
                    "dropped": dropped,
                }
            )
    bars = [
        Bar(row["name"], row["seconds"], formats.seconds(row["seconds"])) for row in rows if row["seconds"] is not None
    ]
    return {"rows": rows, "chart": charts.row_chart(bars, name="Seconds of each stage") if bars else None}
