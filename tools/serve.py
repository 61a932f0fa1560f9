"""Serves _build/html on this machine alone, and says where."""

import functools
import http.server
import sys

from tools.build import SITE

PORT = 8000


def main():
    if not (SITE / "index.html").exists():
        sys.exit(f"There is no site in {SITE} yet: run `make book` first.")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=SITE)
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), handler)
    except OSError:  # taken: any other port will do
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    print(f"The book: http://localhost:{server.server_port}/ (Ctrl+C ends it)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    main()
