"""`vantage analyze`: the live stages on a film, as fast as the machine allows.

It puts stage classes of ingest, inference and the orchestrator together over the memory log, with a scheduler that
blocks: each event goes through all stages before the next is made. The same film gives the same tracks and incidents
as live, ids included.
"""
