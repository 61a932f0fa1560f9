"""The stored reruns with other seeds: what is counted, and what the claims page says of it."""

import pandas as pd
import pytest
from bs4 import BeautifulSoup

from tests import mini_site
from tools import seeds
from tools.notebooks import chapters, version

PARTS = {"code": "a"}


@pytest.fixture
def tables(tmp_path, monkeypatch):
    monkeypatch.setattr(seeds, "TABLES", tmp_path)
    return tmp_path


def runs(**claims):
    """A sweep's table: one finished run for each outcome, the last seed first, and one that failed."""
    rows = [
        {"status": "finished", "code": version(PARTS), "first_seed": -i, **dict(zip(claims, outcomes, strict=True))}
        for i, outcomes in enumerate(zip(*claims.values(), strict=True))
    ]
    failed = {"status": "failed", "code": version(PARTS), "first_seed": 9, "error": "killed"}
    table = pd.DataFrame([*rows, failed]).convert_dtypes()
    return table.assign(path="x.ipynb", run="r", **{"claim: loss": 1 / 3})


def test_nothing_stored_is_nothing_counted(tables):
    assert seeds.held("01-mini") == ({}, None)


def test_only_finished_runs_that_checked_the_claim_count(tables):
    seeds.store("01-mini", runs(claim=[True, False, True], failed=[False, False, None], never=[None, None, None]))
    assert seeds.held("01-mini") == ({"claim": (2, 3), "failed": (0, 2)}, version(PARTS))
    stored = pd.read_csv(tables / "01-mini.csv")
    assert stored.first_seed.tolist() == [-2, -1, 0] and stored["claim: loss"][0] == 0.333333
    assert [file.name for file in tables.iterdir()] == ["01-mini.csv"]


@pytest.mark.parametrize("parts, said", [(PARTS, "2 of 3"), ({"code": "b"}, "2 of 3 of earlier code")])
def test_claims_page_counts_the_reruns(tables, parts, said):
    seeds.store("01-mini", runs(claim=[True, False, True]))
    notebook = mini_site.chapter()
    notebook.metadata.book.fingerprint = parts
    page = BeautifulSoup(mini_site.pages().claims_page({"01-mini": notebook}), "html.parser")
    assert [cell.text for cell in page.find_all("td", attrs={"data-label": "Reruns"})] == [said, ""]


def test_every_stored_table_is_a_chapters():
    assert {file.stem for file in seeds.TABLES.glob("*.csv")} <= {path.stem for path in chapters()}
