"""Caches: values that may be forgotten at any time. A port and its adapters."""
