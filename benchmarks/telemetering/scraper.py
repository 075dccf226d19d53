"""A scraper in a process of its own: a page for each line that it is told.

``python -m benchmarks.telemetering.scraper URL``. Answers each line on standard input with the number of
bytes that came, by one connection that it keeps.
"""

from __future__ import annotations

import http.client
import sys
from urllib.parse import urlsplit

from benchmarks.telemetering.delays import as_others


def main(url: str) -> None:
    as_others()  # the one who asks may go before others
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10.0)
    for _ in sys.stdin:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        page = answer.read()
        print(len(page) if answer.status == 200 else -answer.status, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
