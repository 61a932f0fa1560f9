"""The two pages of the site that are read back from the executed chapters: every claim, and every run.

Knows: what the records in cell outputs (claims.py, data.py) and in the notebook's metadata (tools/execute.py) say.
Doesn't know: which copy of a chapter is current (tools/build.py), nor how a page becomes HTML (book_site.py).
"""

import os
from html import escape
from pathlib import Path

from tools.notebooks import code_cells, read, records
from utils.records import CLAIM, DATA, describe

CLAIMS_INTRO = """# Every claim of the book

What a chapter claims, its own code checks each time it runs; a claim that fails stops this site from being built. Here
is each of them with what the run measured: the mean over the seeds, ± the standard deviation, and in brackets the
smallest and the largest value. A claim links to the cell that checked it.
"""
STATUS_INTRO = """# The runs behind this site

Each chapter's numbers, figures and claims on this site come from one run of its notebook. These are the runs.
"""


def write_pages(executed, destination):
    """Write claims.md and status.md into the folder `destination`.

    executed: {chapter's name, such as "01-end-to-end-training": Path of its executed notebook}, in the book's order.
    Raises ValueError if a notebook has no record of its run.
    """
    notebooks = {name: read(path) for name, path in executed.items()}
    for name, text in {"claims.md": claims_page(notebooks), "status.md": status_page(notebooks)}.items():
        partial = Path(destination, name + ".partial")
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, Path(destination, name))


def claims_page(notebooks):
    """Markdown: each chapter's claims in a table. notebooks: {chapter's name: executed notebook}."""
    parts = [CLAIMS_INTRO]
    for name, notebook in notebooks.items():
        rows = [
            _claim_row(f"chapters/{name}.html#cell-{cell.id}", output["data"][CLAIM])
            for cell in code_cells(notebook)
            for output in cell.outputs
            if CLAIM in output.get("data", {})
        ]
        parts += [f"## {title(notebook)}\n", _table(("Claim", "Measured", "On"), rows)]
    return "\n".join(parts)


def status_page(notebooks):
    """Markdown: each chapter's run. notebooks: {chapter's name: executed notebook}."""
    parts = [STATUS_INTRO]
    for name, notebook in notebooks.items():
        run = notebook.metadata.get("book")
        if run is None:
            raise ValueError(
                f"chapters/{name}.ipynb has no record of its run (metadata.book); `make outputs` makes one"
            )
        held = [claim["holds"] for claim in records(notebook, CLAIM)]
        data = {_data_text(record): None for record in records(notebook, DATA)}  # each once, in order
        facts = {
            "Claims": f"{sum(held)} of {len(held)} hold",
            "Data": "<br>".join(data) or "none",
            "Budget": escape(run["budget"]),
            "Device": escape(run["device"]),
            "Versions": escape(f"Python {run['python']}, torch {run['torch']}"),
            "Time": _duration(run["seconds"]),
            "Date": escape(run["date"]),
        }
        rows = "".join(f"<dt>{fact}</dt><dd>{value}</dd>" for fact, value in facts.items())
        parts += [f"## [{title(notebook)}](chapters/{name}.ipynb)\n", f'<dl class="run">{rows}</dl>\n']
    return "\n".join(parts)


def title(notebook):
    """The chapter's title: its first heading."""
    lines = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown").splitlines()
    return next((line[2:].strip() for line in lines if line.startswith("# ")), "Untitled")


def _claim_row(address, claim):
    verdict, mark, word = ("holds", "✓", "holds") if claim["holds"] else ("fails", "✗", "does not hold")
    sentence = (
        f'<span class="verdict {verdict}" role="img" aria-label="{word}">{mark}</span> '
        f'<a href="{escape(address)}">{escape(claim["claim"])}</a>'
    )
    measured = "<br>".join(f"{escape(name.replace('_', ' '))} {_number(m)}" for name, m in claim["measured"].items())
    seeds = f"{claim['seeds']} seed{'s' if claim['seeds'] > 1 else ''}" if claim["seeds"] else None
    conditions = [seeds, claim["data"], claim["device"], f"torch {claim['torch']}"]
    return [sentence, measured, escape(", ".join(filter(None, conditions)))]


def _number(measurement):
    value, spread = describe(measurement)
    return f"<b>{escape(value)}</b>{escape(spread)}"


def _table(headings, rows):
    """An HTML table whose cells carry their heading, so that a phone can show each row as a block."""
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    body = "\n".join(
        "<tr>" + "".join(f'<td data-label="{h}">{cell}</td>' for h, cell in zip(headings, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<table class="claims">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>\n'


def _data_text(record):
    sizes = ", ".join(f"{record[split]:,} {split}" for split in ("train", "validation", "test"))
    return escape(f"{record['name']} ({sizes} images)" + (f": {record['note']}" if record["note"] else ""))


def _duration(seconds):
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
