"""Labels from rules and from a table of hosts."""

from pathlib import Path

import pytest

from mining.annotate import LabelsConfig, RulesConfig, annotate, by_rules, merge, read_hosts_table, with_people
from mining.errors import ConfigError
from mining.prefixes import Label, PrefixProposal


def proposal(prefix: str, pages: int, collected: int, *, bound: float, proposed: bool = True) -> PrefixProposal:
    return PrefixProposal(
        prefix=prefix, depth=1, pages=pages, collected=collected, share=collected / pages, bound=bound,
        mean_score=0.0, uncollected_tokens=0, proposed=proposed,
    )  # fmt: skip


def labels(proposals: list[PrefixProposal], cfg: LabelsConfig, **more) -> dict[str, tuple[str, str]]:
    hosts = sorted({row.prefix.split("/")[0] for row in proposals})
    found = annotate(hosts, proposals, cfg=cfg, table=more.get("table"), labelled_at="2024-01-01")
    return {label.prefix: (label.label, label.annotator) for label in found}


def test_rules_accept_what_is_collected_enough_and_refuse_listings() -> None:
    cfg = RulesConfig(min_bound=0.25, min_pages=8)
    assert by_rules(proposal("x.org/notes/", 40, 20, bound=0.35), cfg)[0] == "math"
    assert by_rules(proposal("x.org/blog/", 40, 8, bound=0.10), cfg) is None
    assert by_rules(proposal("x.org/notes/", 5, 5, bound=0.57), cfg) is None  # too few pages
    assert by_rules(proposal("x.org/tags/", 40, 40, bound=0.91), cfg)[0] == "not_math"
    assert by_rules(proposal("stacks.org/tag/", 40, 40, bound=0.91), cfg)[0] == "math"


def test_a_poor_section_inside_an_accepted_prefix_is_cut_out_and_others_are_left_alone() -> None:
    rows = [
        proposal("x.org/", 40, 20, bound=0.35),
        proposal("x.org/shop/", 20, 0, bound=0.0, proposed=False),
        proposal("y.org/", 20, 0, bound=0.0, proposed=False),  # may hold kinds that are not known yet
    ]
    assert labels(rows, LabelsConfig(annotator="rules")) == {
        "x.org/": ("math", "rules"),
        "x.org/shop/": ("not_math", "rules"),
    }


def test_table_speaks_for_listed_hosts_and_rules_for_mixed_and_unknown_ones() -> None:
    table = {
        "a.org": [("/book/", "math"), ("/blog/", "nonmath")],
        "b.org": [("/", "mixed")],
        "never-a-candidate.org": [("/", "math")],
    }
    rows = [
        proposal("a.org/book/", 20, 2, bound=0.03, proposed=False),
        proposal("a.org/blog/", 20, 19, bound=0.76),
        proposal("b.org/math/", 20, 19, bound=0.76),
        proposal("c.org/", 20, 19, bound=0.76),
    ]
    assert labels(rows, LabelsConfig(annotator="hosts"), table=table) == {
        "a.org/book/": ("math", "hosts"),
        "a.org/blog/": ("not_math", "hosts"),
        "b.org/math/": ("math", "rules"),
        "c.org/": ("math", "rules"),
    }


def test_a_person_is_never_overruled_by_rules() -> None:
    person = Label("x.org/", "not_math", "ann", "2024-01-01", "")
    rules = Label("x.org/", "math", "rules", "2024-01-02", "")
    assert merge([person], [rules]) == [person]
    assert merge([rules], [person]) == [person]
    later = Label("x.org/", "not_math", "rules", "2024-01-03", "")
    assert merge([rules], [later]) == [later]
    model = Label("x.org/", "math", "llm:some/model:8b", "2024-01-04", "")
    assert merge([person], [model]) == [person]
    assert merge([rules], [model]) == [model]
    assert merge([model], [later]) == [later]


def test_hosts_table_without_a_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "hosts.tsv"
    path.write_text("host\tpath_prefix\tlabel\nx.org\t/\tmath\ny.org\t\tmath\n")
    with pytest.raises(ConfigError, match="line 3"):
        read_hosts_table(path)
    with pytest.raises(ConfigError, match="no such file"):
        read_hosts_table(tmp_path / "absent.tsv")


def test_what_people_no_longer_say_does_not_stand_and_what_rules_said_does() -> None:
    earlier = [Label("a.org/", "math", "ada"), Label("b.org/", "math", "llm:m"), Label("c.org/", "math", "rules")]
    now = [Label("c.org/", "not_math", "ada"), Label("d.org/", "math", "bob")]
    found = {one.prefix: one.label for one in with_people(earlier, now)}
    assert found == {"b.org/": "math", "c.org/": "not_math", "d.org/": "math"}
