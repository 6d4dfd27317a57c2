"""`vantage up --engines`: Kafka, PostgreSQL and Redis as processes of this machine, and every service in its own.

A composition beside `main`: it knows services by name alone and starts them as a person would, by `vantage run`.
"""
