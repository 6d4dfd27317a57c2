"""Looks at frames: consumes `frames`, `plans` and `incidents`, says one `detections` event a frame.

Passes stream marks on in order, and writes the snapshot of each incident from the pictures it looked at.
"""
