"""Where engines and test data lie on this machine."""

import os
from pathlib import Path

KAFKA_VERSION = "4.1.1"
VERSITYGW_VERSION = "1.8.0"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
SYSTEM_PYTHON = Path("/usr/bin/python3")
ROOT = Path(__file__).parents[2]


def engines() -> Path:
    """The cache of engines that were fetched, shared by all checkouts of this user."""
    chosen = os.environ.get("VANTAGE_ENGINES_DIR")
    return Path(chosen) if chosen else Path.home() / ".cache" / "vantage" / "engines"


def kafka() -> Path:
    """The folder of Kafka's jars, one per version."""
    return engines() / f"kafka-{KAFKA_VERSION}"


def versitygw() -> Path:
    """The program of the S3-compatible store, in a folder per version."""
    return engines() / f"versitygw-{VERSITYGW_VERSION}" / "versitygw"


def data() -> Path:
    """The test data: `media/`, `models/` and `mot/` in it."""
    return Path(os.environ.get("VANTAGE_TEST_DATA", ROOT.parent / "shared"))
