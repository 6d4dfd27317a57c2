"""What a reader process may use: enough for its cameras, too little to take the machine with it."""

from __future__ import annotations

import resource

FILES = 1024


def confine(*, memory_mb: int, cpu_seconds: int | None = None) -> None:
    """Limit this process's address space, open files and, for short work, processor time; no core files.

    A limit that the system sets lower already stays as it is.
    """
    wanted = {
        resource.RLIMIT_AS: memory_mb * 1024 * 1024,
        resource.RLIMIT_NOFILE: FILES,
        resource.RLIMIT_CORE: 0,
    }
    if cpu_seconds is not None:
        wanted[resource.RLIMIT_CPU] = cpu_seconds
    for kind, limit in wanted.items():
        hard = resource.getrlimit(kind)[1]
        own = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (own, hard if kind == resource.RLIMIT_CPU else own))
