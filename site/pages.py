"""The pages of the site that are read back from the executed chapters: landing page, claims, runs, bibliography.

Knows: what the records in cell outputs (claims.py, data.py) and in the notebook's metadata (tools/execute.py) say, and
how a chapter names its question and its sources.
Doesn't know: which copy of a chapter is current (tools/build.py), nor how a page becomes HTML (book_site.py).
"""

import base64
import json
import re
from html import escape
from pathlib import Path

import yaml
from myst_nb.core.render import WIDGET_STATE_MIMETYPE, WIDGET_VIEW_MIMETYPE

from tools import reruns
from tools.execute import duration
from tools.files import store_text
from tools.notebooks import code_cells, named_claims, read, records, version
from utils.records import CLAIM, DATA, NO_BREAK, describe, readable

NEEDS = Path(__file__).with_name("needs.yml")
WORDS_PER_MINUTE = 150  # of prose with formulas; programs and exercises come on top
CLAIMS_INTRO = """# Every claim of the book

What a chapter claims, its own code checks each time it runs; a claim that fails stops this site from being built. Here
is each of them with what the run measured: the mean over the seeds, ± the standard deviation, and in brackets the
smallest and the largest value. A claim links to the cell that checked it. *Reruns*: in how many reruns of the whole
chapter it held, each with seeds of its own for all that is drawn, pictures, weights and batches, or on another device
(`make reruns`), with the budget *laptop* or, where it says so, *full*; *earlier code*: the chapter has changed since,
but not this claim. Where a claim's words or its threshold changed since, perhaps because it failed in one of them, they
don't count, and the cell is empty until there are new ones.
"""
STATUS_INTRO = """# The runs behind this site

Each chapter's numbers, figures and claims on this site come from one run of its notebook. These are the runs.
*Reruns* are others, with other seeds or on another device; several may have shared one machine, so their times are
upper bounds.
"""
BIBLIOGRAPHY_INTRO = """# Bibliography

What the chapters lean on, from their own lists of sources, with the chapters that name them.
"""


def write_pages(executed, destination):
    """Write the generated pages and glance.json into the folder `destination`, and fill the markers of its index.md.

    executed: {chapter's name, such as "01-end-to-end-training": Path of its executed notebook}, in the book's order.
    Raises ValueError if a notebook has no record of its run.
    """
    notebooks = {name: read(path) for name, path in executed.items()}
    index = Path(destination, "index.md").read_text(encoding="utf-8")
    texts = {
        "claims.md": claims_page(notebooks),
        "status.md": status_page(notebooks),
        "bibliography.md": bibliography_page(notebooks),
        "index.md": landing_page(index, notebooks, destination),
        "glance.json": json.dumps({name: at_a_glance(name, notebook) for name, notebook in notebooks.items()}),
    }
    for name, text in texts.items():
        store_text(Path(destination, name), text)


def landing_page(text, notebooks, destination):
    """index.md with <!-- PATH --> replaced by the list of chapters, <!-- FIGURE cell --> by that cell's figure."""
    return re.sub(
        r"<!-- FIGURE ([\w-]+) -->",
        lambda match: _moving_figure(match[1], notebooks.values(), destination),
        text.replace("<!-- PATH -->", _path(notebooks)),
    )


def _path(notebooks):
    """Markdown: what each chapter asks, what it takes, what it needs."""
    items = []
    for number, (name, notebook) in enumerate(notebooks.items(), start=1):
        facts = [f"{fact.lower()} {value}" for fact, value in at_a_glance(name, notebook).items()]
        items.append(
            f"{number}. **[{title(notebook)}](chapters/{name}.ipynb)**\n\n"
            f"   {question(notebook)}\\\n"  # a line break, in the PDF too
            f"   <small>{escape(' · '.join(facts))}</small>\n"
        )
    return "\n".join(items)


def at_a_glance(name, notebook):
    """{"Read": ..., "Run": ..., "Needs": ...} of a chapter; what isn't known is left out."""
    words = sum(len(cell.source.split()) for cell in notebook.cells if cell.cell_type == "markdown")
    facts = {"Read": f"{max(5, 5 * round(words / WORDS_PER_MINUTE / 5))} min"}
    run = notebook.metadata.get("book")
    if run:
        times = {run["device"]: f"{_time(run['seconds'])} on {_device(run['device'])}"}
        for other in sorted(reruns.stored(name), key=lambda other: _is_earlier(other, run)):
            if other["budget"] == run["budget"] and not other["device"].startswith("CPU"):
                text = f"at most {_time(float(other['seconds']))} on {_device(other['device'])}"
                times.setdefault(other["device"], text + " (with earlier code)" * _is_earlier(other, run))
        facts["Run"] = ", ".join(times.values())
    needs = yaml.safe_load(NEEDS.read_text(encoding="utf-8")).get(name)
    return facts | ({"Needs": needs} if needs else {})


def question(notebook):
    """The question that the chapter answers: its first block quote in bold; "" if it has none."""
    found = re.search(r"^> \*\*(.+)\*\*$", _markdown(notebook), re.MULTILINE)
    return found[1] if found else ""


def _moving_figure(cell_id, notebooks, destination):
    """HTML and Markdown of the interactive figure that a chapter's cell shows; its picture goes to `destination`."""
    for notebook in notebooks:
        for cell in code_cells(notebook):
            for output in cell.outputs:
                if cell.id == cell_id and WIDGET_VIEW_MIMETYPE in output.get("data", {}):
                    state = notebook.metadata.widgets[WIDGET_STATE_MIMETYPE]["state"]
                    model = output["data"][WIDGET_VIEW_MIMETYPE]["model_id"]
                    picture = Path(destination, f"{cell_id}.png")
                    picture.write_bytes(base64.b64decode(output["data"]["image/png"]))
                    alt = output["metadata"]["image/png"]["alt"].replace("[", r"\[").replace("]", r"\]")
                    return (
                        f'<div class="interactive" data-play>\n\n![{alt}]({picture.name})\n\n'
                        f"{_script(WIDGET_VIEW_MIMETYPE, output['data'][WIDGET_VIEW_MIMETYPE])}\n</div>\n\n"
                        f"{_script(WIDGET_STATE_MIMETYPE, {'state': {model: state[model]}})}"
                    )
    raise ValueError(f"index.md asks for the figure of the cell {cell_id!r}, and no chapter has such a cell")


def _script(kind, content):
    """Data for widget-host.js, on one line; < is written so that it can't end the script."""
    return f'<script type="{kind}">{json.dumps(content).replace("<", chr(92) + "u003c")}</script>'


def claims_page(notebooks):
    """Markdown: the claims of all chapters in one table. notebooks: {chapter's name: executed notebook}."""
    rows = []
    for number, (name, notebook) in enumerate(notebooks.items(), start=1):
        run, reruns = notebook.metadata.get("book"), _reruns(name, notebook)
        for claim, cell, record in named_claims(notebook):
            address = f"chapters/{name}.html#cell-{cell.id}"
            rows.append(_claim_row(number, address, record, run, reruns.get(claim, "")))
    chapters = "; ".join(f"{number}: {title(notebook)}" for number, notebook in enumerate(notebooks.values(), start=1))
    headings = ("Chapter", "Claim", "Measured", "Seeds", "Reruns", "Data", "Run")
    return f"{CLAIMS_INTRO}\nChapters: {chapters}.\n\n{_table(headings, rows)}"


def _reruns(name, notebook):
    """{claim: HTML such as "CPU: 4 of 5"}: in how many stored reruns of the chapter it held, by device and budget."""
    run, texts = notebook.metadata.get("book"), {}
    for (device, budget), runs in _grouped(((r["device"], r["budget"]), r) for r in reruns.stored(name)):
        where = device.partition(" (")[0].removeprefix("NVIDIA ") + f", {budget}" * (budget != "laptop")
        earlier = reruns.held([other for other in runs if run and _is_earlier(other, run)], notebook)
        for claim, (k, n) in reruns.held(runs, notebook).items():
            text = f"{where}: {k} of {n}".replace(" ", NO_BREAK)
            if m := earlier.get(claim, (0, 0))[1]:
                text += " (earlier code)" if m == n else f" ({m} with earlier code)"
            texts.setdefault(claim, []).append(escape(text))
    return {claim: "<br>".join(lines) for claim, lines in texts.items()}


def _is_earlier(rerun, run):
    """True if a stored rerun is of other code than the run on the site, or its budget has changed since."""
    budget = {name: str(value) for name, value in run["parameters"].items() if name not in ("dataset", "first_seed")}
    changed = rerun["budget"] == run["budget"] and any(rerun.get(name) != value for name, value in budget.items())
    return changed or rerun["code"] != version(run["fingerprint"])


def _grouped(pairs):
    """(key, stored run) pairs as [(key, [its runs])], in the order of the keys."""
    groups = {}
    for key, run in pairs:
        groups.setdefault(key, []).append(run)
    return sorted(groups.items())


def bibliography_page(notebooks):
    """Markdown: each work of the chapters' lists of sources once, sorted, with the chapters it stands in.

    Raises ValueError if an entry has not one link, or if two entries lead to one address.
    """
    entries = {}  # address: (entry, links to its chapters)
    for number, (name, notebook) in enumerate(notebooks.items(), start=1):
        sources = _markdown(notebook).partition("\n## Sources\n")[2]
        for entry in re.findall(r"^[*-] (.+)$", sources, re.MULTILINE):
            addresses = re.findall(r"\]\((\S+)\)", entry)
            if len(addresses) != 1:
                raise ValueError(f"{name}, sources: an entry is one work with one link, and this is not: {entry}")
            first, where = entries.setdefault(addresses[0], (entry, []))
            if first != entry:
                raise ValueError(f"sources: one work, two entries:\n{first}\n{name}: {entry}")
            where.append(f"[{number}](chapters/{name}.ipynb)")
    lines = [
        f"- {entry} <small>Chapter{'s' * (len(where) > 1)}{NO_BREAK}{', '.join(where)}.</small>"
        for entry, where in entries.values()
    ]
    return BIBLIOGRAPHY_INTRO + "\n" + "\n".join(sorted(lines, key=_authors)) + "\n"


def _authors(line):
    """What a source is sorted by: the first author's surname, then the initials before it; the others; the title."""
    authors, _, title = line.removeprefix("- ").casefold().partition(": ")
    first, *others = re.split(", | and ", authors)
    initials, surname = re.fullmatch(r"((?:\w-?\.[ -]?)+ )?(.*)", first).groups()
    return surname, initials or "", others, title


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
            "Result": f"ran to its end; {sum(held)} of {len(held)} claims hold",
            "Time": duration(run["seconds"]),
            "Device": escape(run["device"]),
            "Versions": escape(f"Python {run['python']}, torch {run['torch']}"),
            "Date": escape(run["date"]),
            "Budget": escape(run["budget"]),
            "Data": "<br>".join(data) or "none",
        }
        if stored := reruns.stored(name):
            groups = _grouped(((r["device"], r["budget"], _is_earlier(r, run)), r) for r in stored)
            facts["Reruns"] = "<br>".join(_summary(*key, runs) for key, runs in groups)
        rows = "".join(f"<dt>{fact}</dt><dd>{value}</dd>" for fact, value in facts.items())
        parts += [f"## [{title(notebook)}](chapters/{name}.ipynb)\n", f'<dl class="run">{rows}</dl>\n']
    return "\n".join(parts)


def _summary(device, budget, earlier, runs):
    """One line, as HTML, about stored runs of one device and budget; earlier: they are of earlier code."""
    held, checked = (sum(int(run[column]) for run in runs) for column in ("held", "claims"))
    seconds = [float(run["seconds"]) for run in runs]
    slowest, times = _time(max(seconds)), " each at most" if len(runs) > 1 else ""
    date = max(run["date"] for run in runs)
    return (
        escape(
            f"{len(runs)} on {_device(device)}, budget {budget}: claims held {held} of {checked} times; "
            f"{slowest}{times}; torch{NO_BREAK}{runs[-1]['torch']}; "
        )
        + f"<time>{escape(date)}</time>"
        + "; of earlier code" * earlier
    )


def title(notebook):
    """The chapter's title: its first heading."""
    return next((line[2:].strip() for line in _markdown(notebook).splitlines() if line.startswith("# ")), "Untitled")


def _markdown(notebook):
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def _claim_row(chapter, address, claim, run, reruns):
    """Cells of a row, as HTML."""
    verdict, mark, word = ("holds", "✓", "holds") if claim["holds"] else ("fails", "✗", "does not hold")
    sentence = (
        f'<span class="verdict {verdict}" role="img" aria-label="{word}">{mark}</span> '
        f'<a href="{escape(address)}">{escape(claim["claim"])}</a>'
    )
    measured = "<br>".join(f"{escape(readable(name))}: {_number(m)}" for name, m in claim["measured"])
    conditions = [_device(claim["device"]), f"torch{NO_BREAK}{claim['torch'].split('+')[0]}"]
    where = "<br>".join(map(escape, conditions)) + (f"<br><time>{escape(run['date'])}</time>" if run else "")
    return [str(chapter), sentence, measured, str(claim["seeds"] or ""), reruns, escape(claim["data"] or ""), where]


def _device(name):
    """A device in few words that stay on one line, "CPU (2 threads)"; the page of the runs has its whole name."""
    return re.sub(r"\(\w+, ", "(", name).replace(" ", NO_BREAK)


def _time(seconds):
    return duration(seconds).replace(" ", NO_BREAK)


def _number(measurement):
    value, spread = describe(measurement)
    return f"<b>{escape(value)}</b>{escape(spread)}"


def _table(headings, rows):
    """An HTML table whose cells carry their heading, so that a phone can show each row as a block."""
    head = "".join(f'<th scope="col">{heading}</th>' for heading in headings)
    body = "\n".join(
        "<tr>" + "".join(f'<td data-label="{h}">{cell}</td>' for h, cell in zip(headings, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<table class="claims">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>\n'


def _data_text(record):
    sizes = ", ".join(f"{record[split]:,} {split}" for split in ("train", "validation", "test"))
    return escape(f"{record['name']} ({sizes} images)" + (f": {record['note']}" if record["note"] else ""))
