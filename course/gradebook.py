"""The table of marks that a learning platform exports, filled in, so that it can be imported again.

Knows: how Moodle and Canvas say, in a table and in files' names, whom a row or a file is of.
Doesn't know: how marks come about (grade.py).
"""

import csv
import io
import itertools
import re
from dataclasses import dataclass
from pathlib import Path

from tools.files import store_text

NUMBERS = ("Identifier", "ID")  # columns with the number that Moodle and Canvas put into files' names


@dataclass
class Gradebook:
    """header, rows: the cells; column: index of the one that the points go into; encoding, delimiter: of the file."""

    header: list
    rows: list
    column: int
    encoding: str
    delimiter: str


def read(path, column):
    """The Gradebook in a CSV file. Raises ValueError if it isn't one, or lacks the column."""
    content = Path(path).read_bytes()
    encoding = "utf-8-sig" if content.startswith(b"\xef\xbb\xbf") else "utf-8"
    try:
        text = content.decode(encoding)
        delimiter = max(",;\t", key=text.partition("\n")[0].count)
        header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path}: expected a CSV file in UTF-8, as Moodle and Canvas export ({error})") from None
    if column not in header:
        raise ValueError(f"{path} has no column {column!r}; expected one of: {', '.join(header)}")
    rows = [row + [""] * (len(header) - len(row)) for row in rows]
    return Gradebook(header, rows, header.index(column), encoding, delimiter)


def fill(book, marks, output):
    """Write output/gradebook.csv, the points of each of `marks` in its student's row, and say whose are not in it.

    Nothing is written for a submission that could not be graded, nor where it isn't certain whose row it is.
    """
    rows_of, left_out = {}, []
    for row in book.rows:
        for key in _whose(book, row):
            rows_of.setdefault(key, []).append(row)
    given = [next((rows_of[key] for key in _keys(one) if key in rows_of), []) for one in marks]
    for one, rows in zip(marks, given, strict=True):
        if one["remark"]:
            left_out.append(one["remark"])
        elif len(rows) != 1:
            left_out.append(f"{one['file']}: {len(rows) or 'no'} rows for {one['student']}")
        elif sum(other[0] is rows[0] for other in given if other) > 1:
            left_out.append(f"{one['file']}: {one['student']} has handed in more than one notebook")
        else:
            rows[0][book.column] = f"{one['total']:g}"
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=book.delimiter, lineterminator="\n").writerows([book.header, *book.rows])
    place = Path(output, "gradebook.csv")
    store_text(place, ("\ufeff" if book.encoding == "utf-8-sig" else "") + text.getvalue())
    print(f"Filled in: {place}, {len(marks) - len(left_out)} of {len(marks)}.")
    for reason in left_out:
        print(f"Not filled in: {reason}")


def _whose(book, row):
    """All by which a row can be recognised: its cells, first and last name together, and the platform's number."""
    found = {_plain(cell) for cell in row} | {
        _plain(name) for a, b in itertools.pairwise(row) for name in (a + b, b + a)
    }
    numbers = {number for name, cell in zip(book.header, row, strict=False) if name in NUMBERS
               for number in re.findall(r"\d+$", cell)}  # fmt: skip
    return {text for text in found if not text.isdigit()} - {""} | numbers


def _keys(marks):
    """What a submission says of its student: first the platform's number in the file's name, which no two share."""
    begin = rf"(?:^|/){re.escape(marks['student'])}_(?:LATE_)?"  # what comes later, the student has named
    if found := re.search(begin + r"(\d+)_(?:assignsubmission_|\d+_)", marks["file"]):
        yield found[1]
    yield _plain(marks["student"])


def _plain(text):
    """Letters and digits alone, as Canvas writes a name into a file's."""
    return re.sub(r"[\W_]", "", text).casefold()
