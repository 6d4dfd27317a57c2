"""Databases: one per service, with units of work, outbox and relay, inbox, checkpoints and leases.

A service gets its `Database` opened and migrated. It writes in `transaction()`, reads in `read()`, and says
low-rate events with `Transaction.add`, which commits them together with the rows that made them true.
"""
