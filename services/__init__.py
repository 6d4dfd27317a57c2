"""The services: each consumes and says events, owns its data, and never imports another."""
