"""Where engines and test data lie on this machine."""

import os
from pathlib import Path

from services.engines.places import programs as engines

__all__ = [
    "CHROMIUM_NAMES",
    "ROOT",
    "SYSTEM_PYTHON",
    "VERSITYGW_VERSION",
    "data",
    "engines",
    "versitygw",
]
VERSITYGW_VERSION = "1.8.0"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
SYSTEM_PYTHON = Path("/usr/bin/python3")
ROOT = Path(__file__).parents[2]


def versitygw() -> Path:
    """The program of the S3-compatible store, in a folder per version."""
    return engines() / f"versitygw-{VERSITYGW_VERSION}" / "versitygw"


def data() -> Path:
    """The test data: `media/`, `models/` and `mot/` in it."""
    return Path(os.environ.get("VANTAGE_TEST_DATA", ROOT.parent / "shared"))
