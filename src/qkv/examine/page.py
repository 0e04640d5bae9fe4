"""The report as one page that needs nothing else, and may load nothing."""

from __future__ import annotations

from html import escape

from qkv.examine.charts import by_sharpness, histogram
from qkv.examine.report import HEAD, Report, title
from qkv.explain.faithfulness import TESTS
from qkv.explain.faithfulness.finding import Finding
from qkv.explain.faithfulness.verdict import CAUTION
from qkv.view.document import document, hashed, part


def page(report: Report) -> str:
    """Return the verdict, the table, and the distributions behind each finding."""
    style = part("panels.css")
    policy = f"default-src 'none'; style-src {hashed(style)}; base-uri 'none'; form-action 'none'"
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in HEAD)
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in report.rows()
    )
    body = f"""<h1>{escape(title(report.about))}</h1>
<p><strong>{escape(report.verdict.says)}</strong></p>
<p>{escape(CAUTION)}</p>
<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead>
<tbody>{rows}</tbody></table></div>
<p>In the figures, bars are the share of the examples with a value; the line is the baseline.</p>
{"".join(map(_section, report.findings))}"""
    return document(title(report.about), style, body, policy)


def _section(finding: Finding) -> str:
    boxes = by_sharpness(finding)
    beside = (
        f"<article><h3>By the largest weight: median and quartiles</h3>\n{boxes}</article>"
        if boxes
        else ""
    )
    asks = TESTS[finding.test].asks
    return f"""<section><h2>{escape(finding.test)}: {escape(asks)}</h2>
<p>{escape(finding.says)}</p>
<div class="strip" tabindex="0"><article><h3>{escape(finding.measure)}</h3>
{histogram(finding)}<p>line: {escape(finding.chance)}</p></article>
{beside}</div></section>
"""
