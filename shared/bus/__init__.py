"""The log: one port, one engine, three adapters (memory, SQLite, Kafka) with the same meaning."""
