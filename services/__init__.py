"""The services. None imports another; `main.py`, `analyze.py` and `demo.py` alone put them together."""
