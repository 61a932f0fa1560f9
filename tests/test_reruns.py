"""The stored reruns: what is kept and counted, and what the pages say of it."""

import pandas as pd
import pytest
import torch
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tests import mini_site
from tools import reruns
from tools.notebooks import asserted, chapters, version, write
from tools.sweep import plan
from utils import train
from utils.records import CLAIM

PARTS = {"code": "a"}
CODE = {
    "one": "claim('a < b', a < b)",
    "two": "claim('b < c', b < c, margin=c - b)\nclaim(f'{name} is even', x % 2 == 0, x=x)",
    "loop": "for x in xs:\n    claim('positive', x > 0)",
}


def notebook(recorded=(1, 2, 3), **changes):
    """A chapter of three cells, which made so many claims when it ran; changes: other code of a cell."""
    record = new_output("display_data", data={CLAIM: mini_site.claim()})
    cells = [
        new_code_cell(code, id=name, outputs=[record] * count)
        for (name, code), count in zip((CODE | changes).items(), recorded, strict=True)
    ]
    return new_notebook(cells=cells)


@pytest.fixture
def tables(tmp_path, monkeypatch):
    monkeypatch.setattr(reruns, "TABLES", tmp_path / "tables")
    return reruns.TABLES


def runs(device="CPU (test)", code=PARTS, **claims):
    """A sweep's table: one finished run for each outcome, the last seed first, and one that failed."""
    facts = {"code": version(code), "budget": "laptop", "device": device, "data": "shapes", "seconds": 131.0}
    facts |= {"date": "2026-11-01", "torch": "2.11.0", "dataset": "shapes", "rate": 0.003}
    rows = [
        {"status": "finished", "first_seed": 90 - i, "claims": len(claims), "held": sum(map(bool, outcomes))}
        | {**facts, **dict(zip(claims, outcomes, strict=True))}
        for i, outcomes in enumerate(zip(*claims.values(), strict=True))
    ]
    failed = {"status": "failed", "first_seed": 99, "error": "killed", **facts}
    table = pd.DataFrame([*rows, failed]).convert_dtypes()
    return table.assign(path="x.ipynb", run="r", **{"claim: loss": 1 / 3})


def store(folder, table, *executed):
    """Store the table's runs, whose executed copies lie in folder: one for each, the last for all that follow."""
    paths = [f"{i}.ipynb" for i in range(len(executed))]
    for path, copy in zip(paths, executed, strict=True):
        write(copy, folder / path)
    paths += paths[-1:] * (len(table) - len(paths))
    reruns.store("01-mini", table.assign(path=paths), folder)


def test_nothing_stored_is_nothing_counted(tables):
    assert reruns.stored("01-mini") == [] and reruns.held([], notebook()) == {}


def test_only_finished_runs_that_checked_the_claim_count(tables):
    table = runs(one=[True, False, True], two=[False, False, None], loop=[None, None, None])
    store(tables.parent, table, notebook())
    stored = reruns.stored("01-mini")
    assert reruns.held(stored, notebook()) == {"one": (2, 3), "two": (0, 2)}
    assert [run["first_seed"] for run in stored] == ["88", "89", "90"] and stored[0]["claim: loss"] == "0.333333"
    assert [file.name for file in tables.iterdir()] == ["01-mini.csv"]


def test_a_run_takes_the_place_of_an_earlier_one_with_its_seed_and_device_alone(tables):
    store(tables.parent, runs(one=[True, False]), notebook())
    store(tables.parent, runs("NVIDIA X", one=[True]), notebook())
    before = reruns.stored("01-mini")
    store(tables.parent, runs(one=[False]), notebook())  # first_seed 90 on the CPU again
    after = reruns.stored("01-mini")
    assert [(r["device"], r["first_seed"], r["one"].split()[0]) for r in after] == [
        ("CPU (test)", "89", "False"), ("CPU (test)", "90", "False"), ("NVIDIA X", "90", "True")
    ]  # fmt: skip
    assert [after[0], after[2]] == [before[0], before[2]]


@pytest.mark.parametrize("device, left", [("cpu", [20_000, 30_000]), ("cuda", [0, 20_000])])
def test_what_is_missing_are_runs_of_todays_code_with_first_seeds_of_their_own(tables, monkeypatch, device, left):
    monkeypatch.setattr(train, "device", lambda: torch.device(device))
    planned = plan("05", {}, {}, 3, "smoke")
    rows = [
        (planned[0].name, "CPU (x86_64, 1 thread)", "smoke", 0),
        (planned[1].name, "NVIDIA X", "smoke", 10_000),
        ("05-adam-earlier", "CPU (x86_64, 1 thread)", "smoke", 10_000),
    ]
    tables.mkdir()
    columns = ["run", "device", "budget", "first_seed"]
    pd.DataFrame(rows, columns=columns).to_csv(tables / "05-adam.csv", index=False)
    assert reruns.missing("05-adam", 3, "smoke") == left
    assert reruns.missing("05-adam", 1, "smoke") == []
    assert reruns.missing("05-adam", 3, "laptop") == [0, 10_000, 20_000]


@pytest.mark.parametrize(
    "other", ["claim('a <= b', a < b)", "claim('a < b', a < b + 1)", "claim('x', True)\n" + CODE["one"]]
)
def test_an_outcome_counts_for_what_was_asserted_alone(tables, other):
    table = runs(**{"one": [True, False], "two": [True, True], "two-2": [True, False], "loop-3": [True, True]})
    store(tables.parent, table, notebook())
    kept = {"two": (2, 2), "two-2": (1, 2), "loop-3": (2, 2)}
    changed = notebook(recorded=(other.count("claim("), 2, 3), one=other)
    assert reruns.held(reruns.stored("01-mini"), changed) == kept


def test_what_was_asserted_is_what_the_run_itself_asserted(tables):
    """The chapter may have changed between two runs, and its stored outputs since both."""
    earlier, today = notebook(one="claim('a < c', a < c)"), notebook()
    store(tables.parent, runs(one=[True, False, True], two=[True, True, True]), earlier, today)
    assert reruns.held(reruns.stored("01-mini"), today) == {"one": (1, 2), "two": (3, 3)}
    assert reruns.held(reruns.stored("01-mini"), earlier) == {"one": (1, 1), "two": (3, 3)}


def test_what_is_asserted_is_sentence_and_condition():
    same = CODE["two"].replace("margin=c - b", "difference=c - b, data=data").replace("'", '"') + "  # why\nsay('x')"
    assert asserted(notebook(two=same)) == asserted(notebook())
    swapped = asserted(notebook(two="\n".join(reversed(CODE["two"].split("\n")))))
    assert swapped["two"] == asserted(notebook())["two-2"] and swapped["two-2"] == asserted(notebook())["two"]
    assert list(asserted(notebook())) == ["one", "two", "two-2", "loop", "loop-2", "loop-3"]
    branch = notebook(recorded=(1, 1, 3))  # of the two claims one was made: which, the code doesn't tell
    assert asserted(branch)["two"] == asserted(branch)["two-2"] != asserted(notebook())["two"]


def plain(text):
    """Text whose words may be parted at the end of a line."""
    return text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    "parts, rate, said",
    [(PARTS, 0.003, ""), ({"code": "b"}, 0.003, " (earlier code)"), (PARTS, 0.001, " (earlier code)")],
)
def test_pages_count_the_reruns_by_device(tables, parts, rate, said):
    notebook = mini_site.chapter()
    store(tables.parent, runs(claim=[True, False, True]), notebook)
    store(tables.parent, runs("NVIDIA X", claim=[True]), notebook)
    notebook.metadata.book |= {"fingerprint": parts, "parameters": {"dataset": "auto", "first_seed": 0, "rate": rate}}
    page = BeautifulSoup(mini_site.pages().claims_page({"01-mini": notebook}), "html.parser")
    cells = [plain(cell.get_text("|")) for cell in page.find_all("td", attrs={"data-label": "Reruns"})]
    assert cells == [f"CPU: 2 of 3{said}|X: 1 of 1{said}", ""]
    assert mini_site.pages().status_page({"01-mini": notebook}).count("; of earlier code") == 2 * bool(said)


def test_pages_tell_reruns_of_earlier_code_apart(tables):
    notebook, table = mini_site.chapter(), runs(claim=[True, False, True])
    store(tables.parent, table.assign(code=[version({"code": "b"}), *table.code[1:]]), notebook)
    notebook.metadata.book |= {"fingerprint": PARTS, "parameters": {}}
    page = BeautifulSoup(mini_site.pages().claims_page({"01-mini": notebook}), "html.parser")
    assert plain(page.find("td", attrs={"data-label": "Reruns"}).text) == "CPU: 2 of 3 (1 with earlier code)"
    status = plain(BeautifulSoup(mini_site.pages().status_page({"01-mini": notebook}), "html.parser").text)
    assert "2 on CPU (test), budget laptop: claims held 1 of 2 times" in status and status.count("earlier code") == 1


@pytest.mark.parametrize("rate, said", [(0.003, ""), (0.001, " (with earlier code)")])
def test_the_pages_say_how_long_it_takes_on_a_gpu(tables, rate, said):
    notebook, pages = mini_site.chapter(), mini_site.pages()
    store(tables.parent, runs("CPU (other)", claim=[True, False]), notebook)
    store(tables.parent, runs("NVIDIA X", claim=[True, True]).assign(seconds=[77.2, 51.2, 9]), notebook)
    notebook.metadata.book |= {"fingerprint": PARTS, "parameters": {"rate": rate, "first_seed": 89}}
    run = plain(pages.at_a_glance("01-mini", notebook)["Run"])
    assert run == f"2 min 11 s on CPU (test), at most 51 s on NVIDIA X{said}"
    status = plain(BeautifulSoup(pages.status_page({"01-mini": notebook}), "html.parser").get_text())
    assert "2 on CPU (other), budget laptop: claims held 1 of 2 times; 2 min 11 s each at most; torch 2.11.0" in status
    assert "2 on NVIDIA X, budget laptop: claims held 2 of 2 times; 1 min 17 s each at most; torch 2.11.0" in status


def test_every_stored_table_is_a_chapters():
    assert {file.stem for file in reruns.TABLES.glob("*.csv")} <= {path.stem for path in chapters()}


def test_version_is_that_of_the_code_that_measures():
    parts = {"code": "1", "parameters": "2", "utils/widgets/race.py": "3", "utils/widgets/race.js": "4"}
    same = parts | {"parameters": "other", "utils/widgets/race.js": "other", "utils/widgets/race.css": "new"}
    assert version(same) == version(parts)
    assert version(parts | {"utils/widgets/race.py": "other"}) != version(parts)
