"""An OpenTelemetry collector in the test's own process: takes OTLP over HTTP and keeps the spans in memory."""

import gzip
from http.server import BaseHTTPRequestHandler
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.engines.listener import Listener


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


class Collector(Listener):
    """Takes every export. `refuse`: the status that it answers instead; None: it takes what comes."""

    def __init__(self) -> None:
        super().__init__()
        self.url = self.origin
        self.spans: list[Seen] = []
        self.exports = 0
        self.refuse: int | None = None

    def serve(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        """See `Listener.serve`."""
        packed = request.headers.get("content-encoding") == "gzip"
        status = self.take(request.path, gzip.decompress(body) if packed else body)
        said = ExportTraceServiceResponse().SerializeToString()
        request.send_response(status)
        request.send_header("content-type", "application/x-protobuf")
        request.send_header("content-length", str(len(said)))
        request.end_headers()
        request.wfile.write(said)

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


def _started(span: Seen) -> int:
    return span.started
