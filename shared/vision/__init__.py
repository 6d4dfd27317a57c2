"""Vision geometry and tracking, pure: boxes, polygons and the online multi-object tracker.

It consumes numbers (boxes, scores, event times) and produces values; it knows no pixels,
no clock and no service. numpy throughout; `lap` solves the assignment in the tracker alone.
"""
