"""Reads a folder of reruns back into one table, a row for each run, and makes a report of it.

Knows: what an executed copy says of its run (execute.py) and of its claims (utils/claims.py); nothing comes from
anywhere else. Doesn't know: how the copies came into the folder (sweep.py), nor what the report shows (report.py).

Columns: run, notebook, budget, status (finished or failed), error, the chapter's parameters, data, seconds, date,
device, python, torch, code (the version of what was run), path, claims (how many), held (how many of them); then for
each claim, named after its cell, whether it held, and as `<claim>: <measure>` what was measured. Of a measure over the
seeds of one run that is the mean, and `<claim>: <measure> sd` is the standard deviation.
`table.attrs` holds the claims' sentences, {notebook: {claim: sentence}}, and which columns are parameters.
"""

import re
from functools import partial
from html import escape

import pandas as pd
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools.execute import LenientKernelManager
from tools.files import PAGE, store, store_text
from tools.notebooks import ROOT, load, named_claims, records, version, write
from utils.records import DATA

PARQUET, PAGE_NAME = "runs.parquet", "report.html"
CELLS = [
    new_code_cell(
        f"import sys\n\nimport pandas as pd\n\nsys.path.insert(0, {str(ROOT)!r})  # the book\n"
        f"from tools import report\n\nruns = pd.read_parquet({PARQUET!r})\nreport.overview(runs)",
        id="overview",
    ),
    new_markdown_cell("## How often each claim held", id="claims-title"),
    new_code_cell("report.claims(runs)", id="claims"),
    new_markdown_cell("## What was measured", id="measures-title"),
    new_code_cell("report.measures(runs)", id="measures"),
    new_markdown_cell(
        "Any measure over any parameter: `figure = report.plot(runs, ['<claim>: <measure>'], '<parameter>')`; "
        "`runs.columns` lists both.",
        id="more",
    ),
]
STYLE = """\
img { max-width: 100% }
div:has(> table) { overflow-x: auto }
table { border-collapse: collapse }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #ddd }
pre, code { font-size: .9em }"""


def update(folder):
    """The table of all runs in `folder`; if runs came or went, runs.parquet, runs.csv and the report are renewed."""
    stored = folder / PARQUET
    try:
        copies = _copies(folder)
        if stored.exists() and (folder / PAGE_NAME).exists():
            table, newest = pd.read_parquet(stored), max(copies.values())
            if set(table.path) == {_place(file, folder) for file in copies} and stored.stat().st_mtime > newest:
                return table
        table = read(sorted(copies, key=copies.get), folder)
    except FileNotFoundError:  # another command has finished a run that had failed, whose old copy is gone: look again
        return update(folder)
    store(stored, partial(table.to_parquet, index=False))
    store(folder / "runs.csv", partial(table.to_csv, index=False))
    _write_report(folder)
    print(f"The table: {stored}\nThe report: {folder / PAGE_NAME}")
    return table


def _copies(folder):
    """{executed copy: when it was written}, for each run that has one; a failed one counts until there is a finished.

    Raises FileNotFoundError if one vanishes meanwhile.
    """
    failed = list(folder.glob("failed/*.ipynb"))  # first, so that a run can't move from there behind our back
    finished = [file for file in sorted(folder.glob("*.ipynb")) if re.fullmatch(r".+-[0-9a-f]{12}", file.stem)]
    names = {file.name for file in finished}
    files = finished + [file for file in failed if file.name not in names]
    return {file: file.stat().st_mtime for file in files}


def read(files, folder):
    """The table of the runs in these files of the folder, in their order: oldest first."""
    rows, sentences, parameters = [], {}, []
    for file in files:
        notebook = load(file)
        row, claims = _row(notebook, file.stem)
        rows.append(row | {"path": _place(file, folder)})
        sentences.setdefault(row["notebook"], {}).update(claims)
        parameters += [name for name in notebook.metadata.book.parameters if name not in parameters]
    table = pd.DataFrame(rows).convert_dtypes()
    table.attrs = {"claims": sentences, "parameters": parameters}
    return table


def _row(notebook, name):
    """A run as {column: value}, and its claims' sentences {claim: sentence}."""
    book, row = notebook.metadata.book, {}
    claims = [(name, record) for name, _, record in named_claims(notebook)]
    facts = {fact: book.get(fact) for fact in ("seconds", "date", "device", "python", "torch")}
    for claim, record in claims:
        row[claim] = record["holds"]
        for measure, measured in record["measured"]:
            row[f"{claim}: {measure}"] = measured.get("value", measured.get("mean"))
            if measured.get("n", 1) > 1:
                row[f"{claim}: {measure} sd"] = measured["sd"]
    first = {
        "run": name,
        "notebook": name.rpartition("-")[0],
        "budget": book.budget,
        "status": "failed" if "error" in book else "finished",
        "error": book.get("error"),
        **book.parameters,
        "data": ", ".join(dict.fromkeys(record["name"] for record in records(notebook, DATA))),
        **facts,
        "code": version(book.fingerprint),
        "claims": len(claims),
        "held": sum(record["holds"] for _, record in claims),
    }
    return first | row, {claim: record["claim"] for claim, record in claims}


def _place(file, folder):
    return file.relative_to(folder).as_posix()


def _write_report(folder):
    """Executes report.ipynb in the folder, and makes report.html of it."""
    import papermill  # slow to import, like the next, and needed only when there is something new
    from nbconvert import HTMLExporter

    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    notebook = new_notebook(cells=CELLS, metadata={"kernelspec": kernel})
    notebook = papermill.execute_notebook(
        notebook, None, cwd=folder, progress_bar=False, kernel_manager_class=LenientKernelManager
    )
    write(notebook, folder / "report.ipynb")
    body, _ = HTMLExporter(template_name="basic", exclude_input=True, exclude_anchor_links=True).from_notebook_node(
        notebook
    )
    page = PAGE.format(title=f"Reruns in {escape(folder.name)}", style=STYLE, body=body)
    store_text(folder / PAGE_NAME, page)
