"""What a benchmark leaves: a file of JSON for machines, and a page with charts.

    python benchmarks/report.py    writes docs/benchmarks.md from benchmarks/results/*.json
    python benchmarks/report.py --results FOLDER --page FILE

A result is {"title", "command", "machine", "limits", "skipped", "rows"}; a row has "task" (rows of
one task are compared), "way", "unit", "median", "least", "most", and may have "megabytes", "limit"
(the same work at the machine's own rate, in the same unit) and "bound" (which rate that is). One
with "curves" has lists of "lengths" and of medians ("values") in place of a number, and the
"exponent" k of time ~ length^k.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from html import escape
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "results", HERE.parent / "docs/benchmarks.md"
PACKAGES = ("torch", "numpy", "numba", "transformers", "entmax", "local-attention", "triton")


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
        "commit": commit(),
        "load": [round(one, 2) for one in os.getloadavg()],
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def commit() -> str:
    """Name the commit that was measured, and say if files differed from it."""
    words = ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(words, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        return ""


def command() -> str:
    """Return the command that is running; a path of this machine becomes a word."""
    script, *words = sys.argv
    kept = [Path(word).name.upper() if word.startswith("/") else word for word in words]
    return " ".join(["python", f"benchmarks/{Path(script).name}", *kept])


def result(title: str, threads: int, rates: dict, **parts: object) -> dict:
    """Put a result together."""
    about = {"title": title, "command": command(), "machine": machine(threads), "limits": rates}
    return about | {"skipped": [], "rows": []} | parts


def save(path: Path, found: dict) -> Path:
    """Write a result."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")
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
    return picture(parts, middle + half + 70, height * len(bars))


def growth_table(result: dict) -> str:
    """Markdown: a column a length."""
    lengths = sorted({n for curve in result["curves"] for n in curve["lengths"]})
    heads = ["task", "way", *(f"{n:,}" for n in lengths), "grows as T^", "of the limit, longest"]
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    for curve in result["curves"]:
        values = dict(zip(curve["lengths"], curve["values"], strict=True))
        cells = [number(values[n]) if n in values else "" for n in lengths]
        last = {"median": curve["values"][-1], "limit": curve["limit"], "bound": curve["bound"]}
        cells += [f"{curve['exponent']:.2f}", of_limit(last | {"unit": curve["unit"]})]
        lines.append(
            f"| {curve['task']}, {curve['unit']} | {curve['way']} | {' | '.join(cells)} |"
        )
    return "\n".join(lines)


PANEL = (380, 210)  # of the chart of growth, in pixels: two in a row


def growth_chart(result: dict) -> str:
    """Draw time over length, a panel a task; the scales are logarithmic, and the same in all."""
    curves = result["curves"]
    wide, high = PANEL
    x, y = (
        axis([v for curve in curves for v in curve[key]], span)
        for key, span in (("lengths", (52, wide - 170)), ("values", (high - 30, 24)))
    )
    panels: dict[str, list[dict]] = {}
    for curve in curves:
        panels.setdefault(curve["task"], []).append(curve)
    parts = []
    for index, (task, ways) in enumerate(panels.items()):
        drawn = [f'<text x="52" y="14" font-weight="bold">{escape(task)}</text>']
        drawn += grid(curves, x, y)
        above = 0.0
        for curve in sorted(ways, key=lambda curve: -curve["values"][-1]):
            above = max(y(curve["values"][-1]) + 3, above + 12)  # names stand apart
            drawn += line(curve, x, y, above)
        place = f"{wide * (index % 2)} {high * (index // 2)}"
        parts.append(f'<g transform="translate({place})">{"".join(drawn)}</g>')
    return picture(parts, 2 * wide, high * math.ceil(len(panels) / 2))


def grid(curves: list[dict], x: Callable[[float], float], y: Callable[[float], float]) -> list:
    """Draw the lengths below, and the powers of ten of the times."""
    lengths = sorted({n for curve in curves for n in curve["lengths"]})
    values = [value for curve in curves for value in curve["values"]]
    low, high = math.ceil(math.log10(min(values))), math.floor(math.log10(max(values)))
    parts = [
        f'<text x="{x(n):.0f}" y="{PANEL[1] - 14}" text-anchor="middle">{n:,}</text>'
        for n in lengths[::2]
    ]
    for at in (10.0**power for power in range(low, high + 1)):
        parts.append(f'<text x="48" y="{y(at) + 4:.0f}" text-anchor="end">{at:g} ms</text>')
        parts.append(f'<path d="M52 {y(at):.0f}H{PANEL[0] - 170}" stroke="#ddd"/>')
    return parts


def line(
    curve: dict, x: Callable[[float], float], y: Callable[[float], float], named: float
) -> list[str]:
    """Draw one way, and its name and exponent beside its end, at the height `named`."""
    colour = "#2a6f97" if curve["way"].startswith("qkv") else "#888"
    points = zip(curve["lengths"], curve["values"], strict=True)
    path = " ".join(f"{x(n):.1f},{y(v):.1f}" for n, v in points)
    said = escape(f"{curve['way']}, T^{curve['exponent']:.2f}")
    end = f'x="{x(curve["lengths"][-1]) + 4:.0f}" y="{named:.0f}"'
    return [
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>',
        f'<text {end} fill="{colour}">{said}</text>',
    ]


def axis(values: list[float], span: tuple[float, float]) -> Callable[[float], float]:
    """Return where a value stands on a logarithmic axis."""
    low, high = math.log(min(values)), math.log(max(values))
    begin, end = span
    return lambda value: begin + (end - begin) * (math.log(value) - low) / ((high - low) or 1.0)


def picture(parts: list[str], wide: int, high: int) -> str:
    """Return an SVG."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" '
        f'font-family="sans-serif" font-size="11">{"".join(parts)}</svg>\n'
    )


def section(name: str, found: dict) -> str:
    """Return the part of the page for one result."""
    place, rates = found["machine"], found["limits"]
    versions = ", ".join(f"{k} {v}" for k, v in place["versions"].items())
    said = ", ".join(f"{k} {v / 1e9:,.1f} G/s" for k, v in rates.items())
    measured = f"{place['when'][:10]}, commit {place['commit']}" if place.get("commit") else ""
    caption = "Times faster than the first way of each task, log scale"
    if "curves" in found:
        caption = "Milliseconds over length, both scales logarithmic"
    return "\n\n".join([
        f"## {found['title']}",
        f"    {found['command']}",
        f"{place['processor']}, {place['cores']} cores, {place['threads']} threads, "
        f"{place['gibibytes']} GiB, Python {place['python']}, {versions}; "
        f"{measured or place['when'][:10]}. "
        f"{f'The machine in this run: {said}.' if said else ''}",
        growth_table(found) if "curves" in found else table(found),
        *(f"Not measured: {reason}" for reason in found["skipped"]),
        *found.get("notes", []),
        f"![{caption}](benchmarks-{name}.svg)",
    ])  # fmt: skip


HEAD = """# Benchmarks

Written by `python benchmarks/report.py` from `benchmarks/results/`, which `make bench-full`
measures (`make bench` measures less, in minutes, and leaves `runs/bench/benchmarks.md`). In each
task all ways do the same work (outputs compared first, or parameter counts and lengths), in turn,
in one run; "times the first" is against the task's first way. "Of the limit" is how near a way is
to what the machine did of what binds it, measured in the same run: operations, or bytes read.
"""


def pages(results: Path) -> dict[str, str]:
    """Return what is written, by the name of the file: the page under "", and its charts."""
    parts, files = [HEAD], {}
    for path in sorted(results.glob("*.json")):
        found = json.loads(path.read_text())
        parts.append(section(path.stem, found))
        drawn = growth_chart(found) if "curves" in found else chart(found)
        files[f"benchmarks-{path.stem}.svg"] = drawn
    return files | {"": "\n\n".join(part.strip() for part in parts) + "\n"}


def main() -> None:
    """Write the page and its charts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    said = parser.parse_args()
    for name, text in pages(said.results).items():
        (said.page.with_name(name) if name else said.page).write_text(text)
    print(said.page)


if __name__ == "__main__":
    main()
