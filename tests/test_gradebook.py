"""Tests of course.gradebook: the tables that platforms export come back with the right points in the right rows."""

import csv

import pytest

from course import gradebook

MOODLE = (
    "\ufeffIdentifier,Full name,Email address,Grade,Maximum grade\n"
    "Participant 11,Ada Lovelace,ada@example.org,,100\n"
    'Participant 12,"Ada Lovelace",ada2@example.org,,100\n'
    "Participant 13,Kurt Gödel,kurt@example.org,7,100\n"
)
CANVAS = (
    "Student,ID,SIS User ID,SIS Login ID,Section,Chapter 2 (4711)\n"
    "    Points Possible,,,,,100\n"
    '"Lovelace, Ada",11,s1,ada,A,\n'
    '"O\'Brien, Flann",13,s3,flann,A,\n'
)


def marks(student, file, total=88.5, remark=None):
    return {"student": student, "file": file, "total": total, "remark": remark}


def filled(tmp_path, text, column, given):
    """{first cell: cell of the column} of the table that was written."""
    (tmp_path / "export.csv").write_text(text, encoding="utf-8")
    gradebook.fill(gradebook.read(tmp_path / "export.csv", column), given, tmp_path)
    written = (tmp_path / "gradebook.csv").read_text(encoding="utf-8")
    assert written.startswith("\ufeff") == text.startswith("\ufeff")
    delimiter = ";" if ";" in text else ","
    header, *rows = csv.reader(written.removeprefix("\ufeff").splitlines(), delimiter=delimiter)
    return {row[0]: row[header.index(column)] for row in rows}


def test_moodle_tells_two_of_one_name_apart_by_their_numbers(tmp_path):
    given = [marks("Ada Lovelace", "Ada Lovelace_12_assignsubmission_file_/x.ipynb")]
    table = filled(tmp_path, MOODLE, "Grade", given)
    assert table == {"Participant 11": "", "Participant 12": "88.5", "Participant 13": "7"}


def test_another_language_and_another_delimiter(tmp_path):
    text = "Vorname;Nachname;Bewertung\nKurt;Gödel;\nAda;Lovelace;\n"
    table = filled(tmp_path, text, "Bewertung", [marks("Kurt Gödel", "Kurt Gödel.ipynb", 60.0)])
    assert table == {"Kurt": "60", "Ada": ""}


def test_canvas_is_filled_by_its_number_or_by_the_name(tmp_path):
    given = [
        marks("lovelaceada", "lovelaceada_LATE_11_99_x.ipynb", 100.0),
        marks("obrienflann", "obrienflann.ipynb", 5.0),
    ]
    table = filled(tmp_path, CANVAS, "Chapter 2 (4711)", given)
    assert table == {"    Points Possible": "100", "Lovelace, Ada": "100", "O'Brien, Flann": "5"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([marks("Ada Lovelace", "Ada Lovelace.ipynb")], "2 rows for Ada Lovelace"),
        ([marks("Alan Turing", "Alan Turing.ipynb")], "no rows for Alan Turing"),
        ([marks("Kurt Gödel", name) for name in ("a.ipynb", "b.ipynb")], "more than one notebook"),
        ([marks("Kurt Gödel", "a.ipynb", 0, "a.ipynb is empty")], "a.ipynb is empty"),
    ],
)
def test_what_is_not_certain_stays_as_it_was_and_is_said(tmp_path, capsys, given, said):
    assert filled(tmp_path, MOODLE, "Grade", given) == {
        "Participant 11": "", "Participant 12": "", "Participant 13": "7"
    }  # fmt: skip
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"Full name,Email address\n", "has no column 'Grade'; expected one of: Full name, Email address"),
        (b"", "expected a CSV file"),
        (b"\xff\xfeF\x00", "expected a CSV file"),
    ],
)
def test_another_file_is_refused(tmp_path, content, expected):
    (tmp_path / "export.csv").write_bytes(content)
    with pytest.raises(ValueError, match=expected):
        gradebook.read(tmp_path / "export.csv", "Grade")
