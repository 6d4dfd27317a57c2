"""The platform: log, databases, blobs, security, vision and rules. It knows no service."""
