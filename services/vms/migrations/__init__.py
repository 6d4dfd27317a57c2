"""The schema of the video management service."""
