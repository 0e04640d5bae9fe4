"""What a benchmark leaves: a file of JSON for machines, and docs/benchmarks.md with charts.

    python benchmarks/report.py    writes docs/benchmarks.md from benchmarks/results/*.json

A result is {"title", "command", "machine", "limits", "skipped", "rows"}; a row has "task" (rows of
one task are compared), "way", "unit", "median", "least", "most", and may have "megabytes", "limit"
(the same work at the machine's own rate, in the same unit) and "bound" (which rate that is).
"""

from __future__ import annotations

import json
import math
import os
import platform
from datetime import UTC, datetime
from html import escape
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "results", HERE.parent / "docs/benchmarks.md"
PACKAGES = ("torch", "numpy", "numba", "entmax", "local-attention", "ctranslate2", "triton")


def machine(threads: int) -> dict:
    """Describe where this was measured; no name of a host, no path."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if platform.system() == "Linux" else []
    model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "")
    flags = next((x.split(":")[1].split() for x in lines if x.startswith("flags")), [])
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": model or platform.processor(),
        "has": [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in flags],
        "cores": os.cpu_count(),
        "threads": threads,
        "gibibytes": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "versions": versions,
        "load": [round(one, 2) for one in os.getloadavg()],
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def save(name: str, result: dict) -> Path:
    """Write a result."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    return path


def tasks(result: dict) -> dict[str, list[dict]]:
    """Return the rows by task, in order."""
    found: dict[str, list[dict]] = {}
    for row in result["rows"]:
        found.setdefault(row["task"], []).append(row)
    return found


def is_rate(row: dict) -> bool:
    """Whether more is better."""
    return row["unit"].endswith("/s")


def times(row: dict, other: dict) -> float:
    """Say how many times faster a row is than another."""
    ratio = row["median"] / other["median"]
    return ratio if is_rate(row) else 1 / ratio


def table(result: dict) -> str:
    """Markdown; 'times' is against the first way of the task."""
    lines = [
        "| task | way | median | least to most | times the first | MiB | of the limit |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for task, rows in tasks(result).items():
        for row in rows:
            memory = f"{row['megabytes']:,.0f}" if row.get("megabytes") is not None else ""
            lines.append(
                f"| {task} | {row['way']} | {number(row['median'])} {row['unit']} "
                f"| {number(row['least'])} to {number(row['most'])} "
                f"| {times(row, rows[0]):.2f} | {memory} | {of_limit(row)} |"
            )
    return "\n".join(lines)


def of_limit(row: dict) -> str:
    """Say how near a row is to what the machine can do, and which rate binds."""
    if not row.get("limit"):
        return ""
    share = row["median"] / row["limit"]
    return f"{(share if is_rate(row) else 1 / share):.0%} ({row['bound']})"


def number(value: float) -> str:
    """Three digits that matter."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def chart(result: dict) -> str:
    """Draw a bar a way, its length how many times faster than the task's first; log scale."""
    bars = [
        (task, row["way"], times(row, rows[0]))
        for task, rows in tasks(result).items()
        for row in rows
    ]
    span = max([abs(math.log10(max(value, 1e-3))) for *_, value in bars] + [0.3])
    height, left, middle, half = 20, 430, 640, 200
    parts = [f'<line x1="{middle}" x2="{middle}" y1="0" y2="{height * len(bars)}" stroke="#888"/>']
    for index, (task, way, value) in enumerate(bars):
        y, length = index * height, half * math.log10(max(value, 1e-3)) / span
        colour = "#2a6f97" if way.startswith("qkv") else "#b8b8b8"
        parts.append(
            f'<text x="{left}" y="{y + 14}" text-anchor="end">{escape(f"{task}: {way}")}</text>'
            f'<rect x="{middle + min(length, 0):.1f}" y="{y + 3}" width="{abs(length):.1f}" '
            f'height="{height - 6}" fill="{colour}"/>'
            f'<text x="{middle + half + 12}" y="{y + 14}">{value:.2f}</text>'
        )
    size = f'width="{middle + half + 70}" height="{height * len(bars)}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" '
        f'font-size="11">{"".join(parts)}</svg>\n'
    )


def section(name: str, result: dict) -> str:
    """Return the part of the page for one result, and write its chart."""
    (PAGE.parent / f"benchmarks-{name}.svg").write_text(chart(result))
    place, rates = result["machine"], result["limits"]
    versions = ", ".join(f"{k} {v}" for k, v in place["versions"].items())
    said = ", ".join(f"{k} {v / 1e9:,.1f} G/s" for k, v in rates.items())
    return "\n\n".join([
        f"## {result['title']}",
        f"    {result['command']}",
        f"{place['processor']}, {place['cores']} cores, {place['threads']} threads, "
        f"{place['gibibytes']} GiB, Python {place['python']}, {versions}; "
        f"{place['when'][:10]}. {f'The machine in this run: {said}.' if said else ''}",
        table(result),
        *(f"Not measured: {reason}" for reason in result["skipped"]),
        *result.get("notes", []),
        f"![Times faster than the first way of each task, log scale](benchmarks-{name}.svg)",
    ])  # fmt: skip


HEAD = """# Benchmarks

Written by `python benchmarks/report.py` from `benchmarks/results/`; `make bench` and
`make bench-full` measure. In each task all ways do the same work (outputs compared first, or
parameter counts and lengths), in turn, in one run; "times the first" is against the task's first
way. "Of the limit" is how near a way is to what the machine did of the arithmetic that binds it,
measured in the same run.
"""


def main() -> None:
    """Write the page."""
    results = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    parts = [HEAD, *(section(name, result) for name, result in results.items())]
    PAGE.write_text("\n\n".join(part.strip() for part in parts) + "\n")
    print(f"{PAGE}: {', '.join(results)}")


if __name__ == "__main__":
    main()
