"""The contract: every event, topic and wire rule of Vantage. It imports nothing of ours and does no I/O."""
