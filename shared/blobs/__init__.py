"""Blobs: snapshots, clips and exports, by key. A port and its adapters."""
