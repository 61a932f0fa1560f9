"""The table of marks that a learning platform exports, filled in, so that it can be imported again.

Knows: in which columns Moodle and Canvas say whom a row is about, and what they write of that into files' names.
Doesn't know: how marks come about (grade.py).
"""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from tools.files import store_text

# Moodle's gradebook and its grading worksheet; Canvas. A name in two columns is put together.
WHO = (
    ("Identifier",), ("Full name",), ("ID number",), ("Email address",), ("Username",), ("First name", "Last name"),
    ("First name", "Surname"), ("Student",), ("ID",), ("SIS User ID",), ("SIS Login ID",),
)  # fmt: skip


@dataclass
class Gradebook:
    """header, rows: the cells; column: index of the one that the points go into; encoding: of the file."""

    header: list
    rows: list
    column: int
    encoding: str


def read(path, column):
    """The Gradebook in a CSV file. Raises ValueError if it isn't one, or names nobody, or lacks the column."""
    content = Path(path).read_bytes()
    encoding = "utf-8-sig" if content.startswith(b"\xef\xbb\xbf") else "utf-8"
    try:
        header, *rows = csv.reader(io.StringIO(content.decode(encoding), newline=""), strict=True)
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path}: expected a CSV file in UTF-8, as Moodle and Canvas export ({error})") from None
    if column not in header:
        raise ValueError(f"{path} has no column {column!r}; expected one of: {', '.join(header)}")
    if not any(set(names) <= set(header) for names in WHO):
        names = ", ".join(" and ".join(names) for names in WHO)
        raise ValueError(f"{path} doesn't say whom its rows are about; expected one of the columns {names}")
    rows = [row + [""] * (len(header) - len(row)) for row in rows]
    return Gradebook(header, rows, header.index(column), encoding)


def fill(book, marks, output):
    """Write output/gradebook.csv, the points of each of `marks` in its student's row, and say whom it has no points of.

    Nothing is written for a submission that could not be graded, nor where it isn't certain whose row it is.
    """
    rows_of, left_out = {}, []
    for row in book.rows:
        for key in _who(book, row):
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
    csv.writer(text, lineterminator="\n").writerows([book.header, *book.rows])
    place = Path(output, "gradebook.csv")
    store_text(place, ("\ufeff" if book.encoding == "utf-8-sig" else "") + text.getvalue())
    print(f"Filled in: {place}, {len(marks) - len(left_out)} of {len(marks)}.")
    for reason in left_out:
        print(f"Left empty: {reason}")


def _who(book, row):
    """All by which a row can be recognised."""
    cells = dict(zip(book.header, row, strict=False))
    found = {_plain("".join(cells.get(name, "") for name in names)) for names in WHO if set(names) <= set(cells)}
    return found - {""}


def _keys(marks):
    """What a submission says of its student: first the platform's number in the file's name, which no two share."""
    if found := re.search(r"(?:^|/)[^/]*?_(\d+)_assignsubmission_", marks["file"]):
        yield f"participant{found[1]}"
    elif found := re.search(r"(?:^|/)[^_/]+_(?:LATE_)?(\d+)_\d+_[^/]*$", marks["file"]):
        yield found[1]
    yield _plain(marks["student"])


def _plain(text):
    """Letters and digits alone, as Canvas writes a name into a file's."""
    return re.sub(r"[\W_]", "", text).casefold()
