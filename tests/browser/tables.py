"""What the table of an interactive figure shows."""

PLAIN = str.maketrans("−⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "--0123456789")


def value(text):
    """The number that a text shows: −0.5, 1.2·10⁻⁹."""
    return float(text.replace("·10", "e").translate(PLAIN))


def numbers(figure):
    """{heading of the row: [number, ...]}; `figure` is the figure's locator."""
    rows = {}
    for row in figure.locator("tbody tr").all():
        texts = row.locator("td").all_text_contents()
        rows[row.locator("th").text_content()] = [value(text) for text in texts]
    return rows
