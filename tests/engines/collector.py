"""An OpenTelemetry collector in the test's own process: takes OTLP over HTTP and keeps the spans in memory."""

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Seen(NamedTuple):
    """A span that came."""

    service: str
    name: str
    trace: str
    span: str
    parent: str
    started: int  # nanoseconds
    ended: int
    attributes: dict[str, str]


class Collector:
    """Takes every export. `refuse`: the status that it answers instead; None: it takes what comes."""

    def __init__(self) -> None:
        self.spans: list[Seen] = []
        self.exports = 0
        self.refuse: int | None = None
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                packed = self.headers.get("content-encoding") == "gzip"
                status = collector.take(self.path, gzip.decompress(body) if packed else body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(status)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def take(self, path: str, body: bytes) -> int:
        """One export has come; the status to answer."""
        self.exports += 1
        if self.refuse is not None:
            return self.refuse
        if path != "/v1/traces":
            return 404
        request = ExportTraceServiceRequest.FromString(body)
        for group in request.resource_spans:
            facts = {one.key: one.value.string_value for one in group.resource.attributes}
            for scope in group.scope_spans:
                self.spans += [
                    Seen(
                        facts["service.name"], span.name, span.trace_id.hex(), span.span_id.hex(),
                        span.parent_span_id.hex(), span.start_time_unix_nano,
                        span.end_time_unix_nano,
                        {one.key: str(one.value).strip() for one in span.attributes},
                    )
                    for span in scope.spans
                ]  # fmt: skip
        return 200

    def of(self, trace: str) -> list[Seen]:
        """The spans of a trace, by their beginning."""
        return sorted((one for one in list(self.spans) if one.trace == trace), key=_started)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _started(span: Seen) -> int:
    return span.started
