"""Headless Chromium: the system's own, driven by Playwright."""

import shutil

from tests.engines import folders
from tests.engines.require import missing_engine

ARGUMENTS = (
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--autoplay-policy=no-user-gesture-required",
)


def executable() -> str | None:
    """The path of a Chromium on this machine."""
    return next(filter(None, map(shutil.which, folders.CHROMIUM_NAMES)), None)


def require_chromium() -> str:
    """The path of Chromium, or the skip (or failure) that says it is missing."""
    path = executable()
    if path is None:
        missing_engine("Chromium is not installed")
    return path
