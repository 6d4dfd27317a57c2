"""Runs one or many services in one process: HTTP, consumers, jobs, relays, health and the drain."""

from shared.runtime.assembly import Runtime as Runtime
from shared.runtime.assembly import application as application
from shared.runtime.server import serve as serve
