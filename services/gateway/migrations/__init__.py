"""The schema of the gateway's tables."""
