#!/usr/bin/env python3
"""What Airflow and pacsgrid send to StatsD, in the form that Prometheus reads.

    statsd_exporter.py MAPPING [STATSD_PORT HTTP_PORT]

Listens to StatsD on UDP (port 9125) and answers HTTP (port 9102) with Prometheus' text format
0.0.4. Reads the mapping file of Prometheus' own StatsD exporter as far as statsd-mapping.yml uses
it: globs, labels, one list of buckets. A metric that no mapping names is left out, so that names
made of input cannot fill the memory.
"""

from __future__ import annotations

import re
import socketserver
import sys
import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

_LINE = re.compile(
    r"(?P<name>[^:|]+):(?P<value>[+-]?[0-9.]+(?:e[+-]?\d+)?)\|(?P<kind>c|g|ms|h)(?:\|@(?P<rate>[0-9.]+))?"
)
_TYPES = {"c": "counter", "g": "gauge", "ms": "histogram", "h": "histogram"}
_SAFE = {"\\": r"\\", '"': r"\"", "\n": r"\n"}


class Metrics:
    """The metrics that were heard of.

    Parameters
    ----------
    mapping
        The mapping file's content.
    """

    def __init__(self, mapping: dict[str, Any]) -> None:
        self._buckets: list[float] = sorted(mapping["defaults"]["histogram_options"]["buckets"])
        self._mappings = [
            (
                re.compile(re.escape(one["match"]).replace(r"\*", r"([^.]+)")),
                one["name"],
                one.get("labels", {}),
            )
            for one in mapping["mappings"]
        ]
        self._types: dict[str, str] = {}
        self._values: dict[str, dict[str, float]] = {}
        self._times: dict[str, dict[str, tuple[list[int], float]]] = {}
        self._lock = threading.Lock()

    def hear(self, datagram: bytes) -> None:
        """Take in a datagram: a metric on each line. A line that cannot be read is left out."""
        for line in datagram.decode("ascii", "replace").splitlines():
            if (found := _LINE.match(line)) and (told := self._mapped(found["name"])):
                try:
                    value, rate = float(found["value"]), float(found["rate"] or 1)
                except ValueError:
                    continue
                with self._lock:
                    self._take(*told, found["kind"], value, rate, found["value"][0] in "+-")

    def _mapped(self, name: str) -> tuple[str, str] | None:
        for match, told, labels in self._mappings:
            if parts := match.fullmatch(name):
                pairs = [f'{key}="{_safe(_filled(text, parts))}"' for key, text in labels.items()]
                return _filled(told, parts), ",".join(pairs)
        return None

    def _take(
        self, name: str, labels: str, kind: str, value: float, rate: float, relative: bool
    ) -> None:
        # What comes as another type than at first is a mistake of its sender's.
        if self._types.setdefault(name, _TYPES[kind]) != _TYPES[kind] or rate <= 0:
            return
        if _TYPES[kind] == "histogram":
            # Times come in milliseconds and are asked for in seconds.
            counts, total = self._times.setdefault(name, {}).get(
                labels, ([0] * (len(self._buckets) + 1), 0.0)
            )
            counts[bisect_left(self._buckets, value / 1000)] += 1
            self._times[name][labels] = counts, total + value / 1000
            return
        values = self._values.setdefault(name, {})
        if kind == "c":
            values[labels] = values.get(labels, 0) + value / rate
        else:
            values[labels] = values.get(labels, 0) + value if relative else value

    def text(self) -> str:
        """Return all metrics in Prometheus' text format."""
        with self._lock:
            return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        for name, kind in sorted(self._types.items()):
            yield f"# TYPE {name} {kind}"
            for labels, value in self._values.get(name, {}).items():
                yield f"{name}{{{labels}}} {value}"
            for labels, (counts, total) in self._times.get(name, {}).items():
                so_far, comma = 0, "," if labels else ""
                for bound, count in zip([*map(str, self._buckets), "+Inf"], counts, strict=True):
                    so_far += count
                    yield f'{name}_bucket{{{labels}{comma}le="{bound}"}} {so_far}'
                yield f"{name}_sum{{{labels}}} {total}"
                yield f"{name}_count{{{labels}}} {so_far}"


def _filled(text: str, parts: re.Match[str]) -> str:
    return re.sub(r"\$(\d)", lambda number: parts[int(number[1])], text)


def _safe(text: str) -> str:
    return "".join(_SAFE.get(one, one) for one in text)


def serve(mapping: Path, statsd: int, http: int) -> None:
    """Serve until the process ends."""
    metrics = Metrics(yaml.safe_load(mapping.read_text()))

    class Heard(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            metrics.hear(self.request[0])

    class Asked(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server calls
            body = metrics.text().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Prometheus asks every few seconds: nothing to tell."""

    with (
        socketserver.UDPServer(("", statsd), Heard) as heard,
        ThreadingHTTPServer(("", http), Asked) as asked,
    ):
        threading.Thread(target=asked.serve_forever, daemon=True).start()
        heard.serve_forever()


def main(arguments: Sequence[str]) -> int:
    """Read the command line."""
    if len(arguments) not in (1, 3):
        print(__doc__, file=sys.stderr)
        return 2
    statsd, http = map(int, arguments[1:]) if len(arguments) == 3 else (9125, 9102)
    serve(Path(arguments[0]), statsd, http)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
