"""The schema of the orchestrator's tables."""
