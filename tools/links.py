"""Looks up every external link of the built site, and says which lead nowhere. Needs the network; no test runs it.

Links within the site are the tests' matter (tests/test_site.py).
"""

import collections
import concurrent.futures
import sys
import urllib.error
import urllib.request
from urllib.parse import urldefrag

from bs4 import BeautifulSoup

from tools.build import SITE, pages

AT_ONCE = 4
SECONDS = 20
# Some hosts turn away what calls itself Python.
HEADERS = {"User-Agent": "Mozilla/5.0 (compatible; link check of a book)", "Accept": "*/*"}
NO_HEAD = {403, 404, 405, 501}  # what hosts answer that know GET alone


def external_links(site):
    """{address without its fragment: names of the pages that link there}"""
    found = collections.defaultdict(list)
    for path in pages(site):
        parsed = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        links = {urldefrag(link["href"])[0] for link in parsed.find_all("a", href=True)}
        for address in links:
            if address.startswith(("http://", "https://")):
                found[address].append(str(path.relative_to(site)))
    return found


def trouble(address):
    """What is wrong with an address, or None if it answers."""
    for method in ("HEAD", "GET"):
        request = urllib.request.Request(address, headers=HEADERS, method=method)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS):
                return None
        except urllib.error.HTTPError as error:
            if method == "GET" or error.code not in NO_HEAD:
                return f"{error.code} {error.reason}"
        except OSError as error:  # no such host, no answer, a bad certificate
            return str(getattr(error, "reason", error))


def main(site=SITE):
    if not (site / "index.html").exists():
        sys.exit(f"There is no site in {site} yet: run `make book` first.")
    linked = external_links(site)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        answers = dict(zip(linked, pool.map(trouble, linked), strict=True))
    broken = {address: answer for address, answer in answers.items() if answer}
    for address, answer in broken.items():
        print(f"{address}\n    {answer}; linked from {', '.join(linked[address])}")
    if broken:
        sys.exit(f"{len(broken)} of {len(linked)} external links lead nowhere")
    print(f"All {len(linked)} external links answer")


if __name__ == "__main__":
    main()
