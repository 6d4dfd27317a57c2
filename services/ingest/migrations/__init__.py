"""The schema of ingest's table."""
