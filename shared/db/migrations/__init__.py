"""The schema of the platform's own tables, in every service's database."""
