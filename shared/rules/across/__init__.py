"""Rules over several cameras: what each camera answers by itself, and what follows from the answers. Pure."""
