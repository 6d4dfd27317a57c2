"""Turns cameras into frames on the log. Hears `cameras`; says `frames` and `camera-status`."""
