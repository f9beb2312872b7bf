"""What decontamination found and did not look for, from contaminated/."""

from collections import Counter
from typing import Any

from mining.errors import ConfigError
from mining.inspect.tables import Row, Run, read_object

_MAX_EXCERPT = 300
_MAX_SHOWN = 3


def leaked_items(run: Run, *, benchmark: str | None = None, limit: int | None = None) -> list[Row]:
    """Benchmark items found in collected pages, those with the longest agreeing run first.

    units: of the longest run, which stands in `text` as the page `url` has it; runs, pages and hosts of all of them;
    pages_gone: those removed as a whole. A benchmark that the run did not read raises ConfigError.
    """
    evidence = run.relation("contaminated")
    if benchmark is not None:
        known = sorted(not_sought(run)["benchmarks"])
        if benchmark not in known:
            raise ConfigError(f"--benchmark {benchmark}: {run.path} looked for {', '.join(known) or 'none'}")
    return run.rows(
        f"""WITH evidence AS (SELECT * FROM {evidence} WHERE ? IS NULL OR benchmark = ?),
            items AS (
                SELECT benchmark, item, count(*) AS runs, count(DISTINCT page_id) AS pages,
                       count(DISTINCT host) AS hosts, max(units) AS units,
                       count(DISTINCT page_id) FILTER (action = 'page') AS pages_gone
                FROM evidence JOIN {run.relation("pages")} USING (page_id) GROUP BY ALL
                ORDER BY units DESC, pages DESC, benchmark, item LIMIT ?),
            longest AS (
                SELECT DISTINCT ON (benchmark, item) benchmark, item, page_id, place, "end"
                FROM evidence SEMI JOIN items USING (benchmark, item)
                ORDER BY benchmark, item, units DESC, page_id, place)
            SELECT items.*, url, substring(text, place + 1, least("end" - place, ?)) AS text
            FROM items JOIN longest USING (benchmark, item) JOIN {run.relation("pages")} USING (page_id)
            ORDER BY units DESC, pages DESC, benchmark, item""",
        [benchmark, benchmark, limit, _MAX_EXCERPT],
    )


def not_sought(run: Run) -> dict[str, Any]:
    """contaminated/_benchmarks.json: what was looked for, texts that were not, common phrases; empty without it."""
    file = run.path / "contaminated" / "_benchmarks.json"
    empty: dict[str, Any] = {"benchmarks": {}, "not_sought": [], "common": [], "common_short_texts": []}
    return {**empty, **read_object(file)} if run.is_done("decontaminate") and file.is_file() else empty


def notes(report: dict[str, Any]) -> list[str]:
    """The report in a few lines: what nobody should take for searched."""
    lines = []
    if report["not_sought"]:
        reasons = Counter(text["reason"].replace("_", " ") for text in report["not_sought"])
        why = ", ".join(f"{number} {reason}" for reason, number in sorted(reasons.items()))
        some = "; ".join(" ".join(text["text"].split())[:40] for text in report["not_sought"][:_MAX_SHOWN])
        lines.append(f"Not looked for: {len(report['not_sought']):,} texts ({why}): {some} ...")
    answers = sum(one["short_answers_not_sought"] for one in report["benchmarks"].values())
    if answers:
        lines.append(
            f"Not looked for: {answers:,} answers and solutions shorter than a gram; "
            "--decontaminate.rule.short_answers true looks for them, and finds mostly innocents"
        )
    for one in report["common_short_texts"][:_MAX_SHOWN]:
        lines.append(f"Common short text, nothing removed: {one['benchmark']} {one['item']} on {one['hosts']:,} hosts")
    if report["common"]:
        some = "; ".join(f"{one['gram']} ({one['items']} items)" for one in report["common"][:_MAX_SHOWN])
        lines.append(f"Phrases that many items share: {some}")
    return lines
