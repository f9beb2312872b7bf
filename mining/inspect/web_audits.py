"""The pages of a round that are worth auditing, and how far the audits have come."""

from mining.audits import COLLECTED_CUTS, LEFT_CUTS, StratumCount, is_held_out
from mining.errors import ConfigError
from mining.inspect.label_log import Standing
from mining.inspect.tables import Row, Run

_MOST_OF_A_STRATUM = 5000
"""Pages of a stratum that can be audited: more than anyone will."""


class AuditSample:
    """The stratified sample of one round; made when it is first asked for."""

    def __init__(self, run: Run, number: int) -> None:
        self.run, self.number = run, number
        self._strata: list[Row] | None = None

    def strata(self) -> list[Row]:
        """The round's strata, each with its bounds and its `pages` in audit order."""
        if self._strata is None:
            self._strata = _strata(self.run, self.number)
        return self._strata

    def page(self, page_id: str) -> Row | None:
        """The page of the sample that has this id."""
        pages = (page for stratum in self.strata() for page in stratum["pages"])
        return next((page for page in pages if page["page_id"] == page_id), None)

    def next_page(self, standing: Standing, annotator: str, *, second: bool = False) -> Row | None:
        """The page to audit next: the next in order of the stratum that has fewest audited pages; None at the end.

        `second`: of the pages that others have audited and this person has not.
        """
        best: tuple[int, Row] | None = None
        for stratum in self.strata():
            for done, page in enumerate(stratum["pages"]):
                is_new = standing.current(annotator, page["url"]) is None
                if is_new and bool(standing.labels(page["url"])) == second:
                    if best is None or done < best[0]:
                        best = (done, page)
                    break
        return best[1] if best else None

    def counts(self, standing: Standing) -> list[StratumCount]:
        """Of each stratum its held-out pages and, of those that came first in order, the audited ones.

        A page that everyone skipped is passed over; the count stops at the first page that nobody has seen, so that
        what is counted is a simple random sample.
        """
        table = standing.table()
        touched = {key for acts in standing.acts.values() for key, found in acts.items() if found}
        counts = []
        for stratum in self.strata():
            audited = math_pages = skipped = 0
            for page in stratum["pages"]:
                if not page["held_out"]:
                    continue
                if page["url"] not in touched:
                    break
                if page["url"] in table:
                    audited += 1
                    math_pages += table[page["url"]].label == "math"
                else:
                    skipped += 1
            pages = stratum["num_held_out"] - skipped
            counts.append(StratumCount(stratum["collected"], pages, audited, math_pages))
        return counts


def _strata(run: Run, number: int) -> list[Row]:
    """Pages of a round by stratum, each in the one random order that all rounds share."""
    scores, collected = run.relation("scores", number), run.relation("collected", number)
    hosts = [row["host"] for row in run.rows(f"SELECT DISTINCT host FROM {scores}")]
    if not hosts:
        raise ConfigError(f"{run.path}: round {number} has no scored page; there is nothing to audit")
    run.offer("host_fate", {"host": hosts, "held_out": [is_held_out(host) for host in hosts]})
    bounds = {True: COLLECTED_CUTS, False: LEFT_CUTS}
    place = {
        taken: " ".join(f"WHEN rank <= {cut} THEN {step}" for step, cut in enumerate(cuts))
        for taken, cuts in bounds.items()
    }
    run.rows(
        f"""CREATE OR REPLACE TEMP TABLE audit_pages AS
            SELECT page_id, url, host, score, collected, held_out,
                   CASE WHEN collected THEN (CASE {place[True]} END) ELSE (CASE {place[False]} END) END AS step
            FROM (SELECT s.page_id, s.url, s.host, s.score, c.page_id IS NOT NULL AS collected,
                         cume_dist() OVER (PARTITION BY c.page_id IS NOT NULL ORDER BY s.score DESC, s.page_id) AS rank
                  FROM {scores} s LEFT JOIN {collected} c USING (page_id)) JOIN host_fate USING (host)"""
    )
    strata = run.rows(
        """SELECT collected, step, min(score) AS low, max(score) AS high, count(*) AS num_pages,
                  count(*) FILTER (held_out) AS num_held_out
           FROM audit_pages GROUP BY ALL ORDER BY collected DESC, step"""
    )
    pages = run.rows(
        f"""SELECT * FROM audit_pages QUALIFY row_number()
               OVER (PARTITION BY collected, step ORDER BY md5('audit|' || url), page_id) <= {_MOST_OF_A_STRATUM}
           ORDER BY md5('audit|' || url), page_id"""
    )
    for stratum in strata:
        of = (stratum["collected"], stratum["step"])
        stratum["pages"] = [page for page in pages if (page["collected"], page["step"]) == of]
    return strata
