"""A small simulated yard: the same seed gives the same people, pictures and incidents on every machine."""
