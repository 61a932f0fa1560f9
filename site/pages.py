"""The two pages of the site that are read back from the executed chapters: every claim, and every run.

Knows: the records that claims.py and data.py leave in cell outputs, and the executor in the notebook's metadata.
Doesn't know: which copy of a chapter is current, nor where Sphinx puts it (tools/build.py, book_site.py).

    sys.path.insert(0, "site"); from pages import write_pages
"""

import os
from html import escape
from pathlib import Path

import nbformat

CLAIM = "application/vnd.book.claim+json"
DATA = "application/vnd.book.data+json"

CLAIMS_INTRO = """# Every claim of the book

What a chapter claims, its own code checks each time it runs; a claim that fails stops this site from being built. Here
is each of them with what the run measured: the mean over the seeds, ± the standard deviation, and the smallest and largest
value. A claim links to the cell that checked it.
"""
STATUS_INTRO = """# The runs behind this site

Each chapter's numbers, figures and claims on this site come from one run of its notebook. These are the runs.
"""


def write_pages(executed, destination):
    """Write claims.md and status.md into the folder `destination`.

    executed: {chapter's name, as in "01-end-to-end-training": Path of its executed notebook}, in the book's order.
    Raises ValueError if a notebook has no record of its run.
    """
    notebooks = {name: nbformat.read(path, as_version=4) for name, path in executed.items()}
    for name, text in {"claims.md": claims_page(notebooks), "status.md": status_page(notebooks)}.items():
        partial = Path(destination, name + ".partial")
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, Path(destination, name))


def records(notebook, mime):
    """[(cell id, record)] for each record of the type `mime` in the outputs of `notebook`, in order."""
    return [
        (cell.id, output["data"][mime])
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if mime in output.get("data", {})
    ]


def claims_page(notebooks):
    """Markdown: each chapter's claims in a table. notebooks: {chapter's name: executed notebook}."""
    parts = [CLAIMS_INTRO]
    for name, notebook in notebooks.items():
        rows = [_claim_row(name, cell_id, claim) for cell_id, claim in records(notebook, CLAIM)]
        parts += [f"## {title(notebook)}\n", _table(["Claim", "Measured", "Seeds", "Data", "Run on"], rows, "claims")]
    return "\n".join(parts)


def status_page(notebooks):
    """Markdown: each chapter's run. notebooks: {chapter's name: executed notebook}."""
    parts = [STATUS_INTRO]
    for name, notebook in notebooks.items():
        run = notebook.metadata.get("book")
        if run is None:
            raise ValueError(
                f"chapters/{name}.ipynb has no record of its run (metadata.book). The build needs one: make outputs"
            )
        claims = [claim["holds"] for _, claim in records(notebook, CLAIM)]
        facts = {
            "Claims": f"{sum(claims)} of {len(claims)} hold",
            "Data": "; ".join(_data_text(record) for record in _unique(notebook)) or "none",
            "Budget": run["budget"],
            "Device": run["device"],
            "Versions": f"Python {run['python']}, torch {run['torch']}",
            "Time": _duration(run["seconds"]),
            "Date": run["date"],
        }
        rows = "".join(f"<dt>{key}</dt><dd>{escape(str(value))}</dd>" for key, value in facts.items())
        parts += [f"## {title(notebook)}\n", f'<dl class="run">{rows}</dl>\n', f"[Open the chapter](chapters/{name}.ipynb)\n"]
    return "\n".join(parts)


def title(notebook):
    """The chapter's title: its first heading."""
    lines = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown").splitlines()
    return next((line[2:].strip() for line in lines if line.startswith("# ")), "Untitled")


def _claim_row(name, cell_id, claim):
    mark, word = ("✓", "holds") if claim["holds"] else ("✗", "does not hold")
    link = f'<a href="chapters/{name}.html#cell-{escape(cell_id)}">{escape(claim["claim"])}</a>'
    measured = "<br>".join(f"{escape(key.replace('_', ' '))} {_number(m)}" for key, m in claim["measured"].items())
    return [
        f'<span class="mark {"holds" if claim["holds"] else "fails"}" role="img" aria-label="{word}">{mark}</span> {link}',
        measured,
        claim["seeds"] or "–",
        escape(claim["data"] or "–"),
        escape(f"{claim['device']}, torch {claim['torch']}"),
    ]


def _number(m):
    if "value" in m:
        return escape(m["value"]) if isinstance(m["value"], str) else f"{m['value']:.4g}"
    if m["n"] == 1:
        return f"{m['mean']:.4g}"
    return f"{m['mean']:.4g} ± {m['sd']:.2g} ({min(m['values']):.4g} to {max(m['values']):.4g})"


def _table(headings, rows, css_class):
    """An HTML table whose cells carry their heading, so that a phone can show each row as a block."""
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    body = "\n".join(
        "<tr>" + "".join(f'<td data-label="{h}">{cell}</td>' for h, cell in zip(headings, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<table class="{css_class}">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>\n'


def _unique(notebook):
    """The data sets a notebook loaded, each once."""
    return list({record["name"]: record for _, record in records(notebook, DATA)}.values())


def _data_text(record):
    sizes = ", ".join(f"{record[split]:,} {split}" for split in ("train", "validation", "test"))
    return f"{record['name']} ({sizes})" + (f": {record['note']}" if record["note"] else "")


def _duration(seconds):
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
