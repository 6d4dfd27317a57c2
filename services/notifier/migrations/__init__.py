"""The schema of the notifier's tables."""
