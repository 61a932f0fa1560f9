"""What the table of an interactive figure shows."""


def numbers(figure):
    """{heading of the row: [number, ...]}; `figure` is the figure's locator."""
    rows = {}
    for row in figure.locator("tbody tr").all():
        texts = row.locator("td").all_text_contents()
        rows[row.locator("th").text_content()] = [float(text.replace("−", "-")) for text in texts]
    return rows
