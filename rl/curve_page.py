"""The page around the charts of curves; whatever comes from a run's files is escaped."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_STYLE = """
:root {
  color-scheme: light dark;
  --paper: #f7f7f5; --card: #ffffff; --ink: #1d2126; --soft: #626b75; --rule: #e1e3e0; --good: #1a6e42; --bad: #a5342c;
  --run0: #245a9c; --run1: #b4500f; --run2: #1a7a4c; --run3: #8a3a9c; --run4: #a5342c; --run5: #0f7c86;
  --run6: #7a6410; --run7: #5b6470;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --paper: #14171b; --card: #1b1f25; --ink: #e4e7ea; --soft: #9aa4af; --rule: #2e343c;
    --good: #6fc997; --bad: #ef8d83;
    --run0: #79aef0; --run1: #f09a5b; --run2: #6fc997; --run3: #cf8fe0; --run4: #ef8d83; --run5: #5cc7d1;
    --run6: #d3b94e; --run7: #a9b2bc;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1360px; padding: 18px; background: var(--paper); color: var(--ink);
  font: 14px/1.45 system-ui, "Segoe UI", Roboto, "Noto Sans", "Noto Sans CJK SC", sans-serif; }
h1 { font-size: 18px; margin: 0 0 10px; }
h2 { font-size: 15px; margin: 22px 0 8px; }
.legend { position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: 4px 18px; padding: 6px 0;
  background: var(--paper); border-bottom: 1px solid var(--rule); }
.legend span { overflow-wrap: anywhere; }
.legend i { display: inline-block; width: 18px; height: 3px; margin-right: 6px; vertical-align: middle; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(380px, 100%), 1fr)); gap: 12px; }
figure { margin: 0; padding: 8px 10px 4px; background: var(--card); border: 1px solid var(--rule); border-radius: 6px;
  break-inside: avoid; }
figcaption { font: 600 12.5px ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: auto; }
svg text { font-size: 11px; fill: var(--soft); }
.grid { stroke: var(--rule); }
.raw { fill: none; stroke-width: 1; opacity: .28; }
.smooth { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; background: var(--card); font-size: 13px; }
th, td { padding: 4px 10px; border: 1px solid var(--rule); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
td small, .soft { color: var(--soft); }
article { background: var(--card); border: 1px solid var(--rule); border-radius: 6px; padding: 8px 12px;
  margin: 0 0 10px; break-inside: avoid; }
pre { margin: 4px 0; white-space: pre-wrap; overflow-wrap: anywhere;
  font: 12.5px ui-monospace, "DejaVu Sans Mono", monospace; }
.good { color: var(--good); } .bad { color: var(--bad); }
@media print { body { max-width: none; padding: 0; } .legend { position: static; }
  .charts { grid-template-columns: 1fr 1fr; } .scroll { overflow: visible; } td, th { white-space: normal; } }
"""
_COLOURS = "".join(
    f".run{k} {{ stroke: var(--run{k}); }} circle.run{k} {{ fill: var(--run{k}); }} "
    f"i.run{k} {{ background: var(--run{k}); }}\n"
    for k in range(8)
)


def page(
    charts: Mapping[str, Sequence[str]],
    *,
    rows: Sequence[tuple[str, str, int, Mapping[str, str]]],
    completions: Mapping[str, Sequence[Mapping[str, Any]]],
) -> str:
    """The whole page. `charts` are figures by group; `rows`: name, folder, steps and last values of each run."""
    names = [name for name, *_ in rows]
    legend = "".join(f'<span><i class="run{place}"></i>{escape(name)}</span>' for place, name in enumerate(names))
    sections = "".join(
        f'<section><h2>{escape(group)}</h2><div class="charts">{"".join(figures)}</div></section>'
        for group, figures in charts.items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(', '.join(names))}</title><style>{_STYLE}{_COLOURS}</style></head><body>"
        f'<h1>Training curves</h1><div class="legend">{legend}</div>'
        f"{sections}<section><h2>Mean of the last tenth</h2>{_table(rows)}</section>{_completions(completions)}"
        "</body></html>\n"
    )


def _table(rows: Sequence[tuple[str, str, int, Mapping[str, str]]]) -> str:
    """Metrics down, runs across: more metrics than runs fit a line."""
    heads = "".join(f"<th>{escape(name)}<br><small>{escape(folder)}</small></th>" for name, folder, *_ in rows)
    lines = [f"<tr><td>steps</td>{''.join(f'<td>{steps}</td>' for _, _, steps, _ in rows)}</tr>"]
    for metric in rows[0][3]:
        cells = "".join(f"<td>{escape(means[metric])}</td>" for *_, means in rows)
        lines.append(f"<tr><td>{escape(metric)}</td>{cells}</tr>")
    return f'<div class="scroll"><table><tr><th></th>{heads}</tr>{"".join(lines)}</table></div>'


def _completions(completions: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    parts = []
    for run, samples in completions.items():
        for sample in samples:
            solved = sample.get("solved")
            css = {True: "good", False: "bad"}.get(solved, "soft")  # type: ignore[arg-type]
            verdict = {True: "right", False: "wrong"}.get(solved, "not graded")  # type: ignore[arg-type]
            cut = ", cut" if sample.get("truncated") else ""
            facts = f"reward {sample.get('reward')}, {sample.get('tokens')} tokens{cut}, answer {sample.get('answer')}"
            parts.append(
                f'<article><div class="soft">{escape(run)}, step {escape(str(sample.get("step")))}: '
                f'<span class="{css}">{verdict}</span>; {escape(facts)}</div>'
                f'<pre class="soft">{escape(str(sample.get("prompt")))}</pre>'
                f"<pre>{escape(str(sample.get('completion')))}</pre></article>"
            )
    return f"<section><h2>What they wrote last</h2>{''.join(parts)}</section>" if parts else ""
