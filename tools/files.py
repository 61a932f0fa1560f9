"""Files that are there whole or not at all, and the frame of a page of HTML that stands alone.

Knows: how a file gets its name only once it is complete. Doesn't know: what is in it.
"""

import contextlib
import os
import time
import uuid

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

UNFINISHED = ".part"  # how the name of a file ends that is being written


def store(path, save):
    """Calls save(unfinished), which writes a file of that name, and gives it the name `path`; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Process ids won't do: two machines that share a folder may have the same.
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}{UNFINISHED}")
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


def remove_abandoned(folder):
    """Removes what killed commands left half written a day ago or earlier; younger files may still be in the making."""
    for file in folder.glob(f".*{UNFINISHED}"):
        with contextlib.suppress(FileNotFoundError):  # another command does the same
            if time.time() - file.stat().st_mtime > 86_400:
                file.unlink()
