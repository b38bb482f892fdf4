"""Follows a shape in Arrow's stream format: one pyarrow table of messages an answer, for ever."""

import time
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pyarrow.ipc

ARROW = "application/vnd.apache.arrow.stream"


def messages(url):
    """`url` ends in the shape's definition, `…/v1/shape?table=issues`. `None` means: begin again without rows."""
    position = {"offset": "-1"}
    while True:
        try:
            with urlopen(Request(f"{url}&{urlencode(position)}", headers={"accept": ARROW})) as answer:
                table = pyarrow.ipc.open_stream(answer).read_all()
                headers = answer.headers
        except HTTPError as error:
            if error.code == 409:  # The shape has ended: another one has its place.
                yield None
                position = {"offset": "-1", "handle": error.headers.get("electric-handle", "")}
            elif error.code in (429, 503):
                time.sleep(float(error.headers.get("retry-after", 1)))
            else:
                raise
            continue
        yield table
        live = "live" in position or "electric-up-to-date" in headers
        position = {"offset": headers["electric-offset"], "handle": headers["electric-handle"]}
        if live:
            position |= {"live": "true", "cursor": headers.get("electric-cursor", "")}
