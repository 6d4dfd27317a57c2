"""The video management service: the site, its cameras, and the searchable history of facts.

It consumes detections, tracks, incidents, alerts and camera states, and produces the cameras' documents.
"""
