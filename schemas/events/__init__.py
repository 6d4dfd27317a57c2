"""One event per file. `schemas.catalog.EVENTS` lists them all."""
