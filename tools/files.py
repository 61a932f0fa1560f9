"""Files that are there whole or not at all, and the frame of a page of HTML that stands alone.

Knows: how a file gets its name only once it is complete. Doesn't know: what is in it.
"""

import os

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c1c }}
{style}
</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def store(path, save):
    """Calls save(unfinished), which writes a file of that name, and gives it the name `path`; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save(unfinished)
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())  # else a power cut can leave the name without the content
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)  # a disk that is full leaves half a file


def store_text(path, text):
    """Writes a text as UTF-8, whole or not at all."""
    store(path, lambda unfinished: unfinished.write_text(text, encoding="utf-8"))
