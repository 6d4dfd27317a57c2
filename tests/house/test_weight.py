"""A service that needs no pixels loads no vision wheel: shown on the real command, up to ready."""

import re
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.engines import processes

HEAVY = {"numpy", "cv2", "av", "onnxruntime", "lap", "onnx", "torch", "openvino", "boto3", "mlflow"}
IMPORTED = re.compile(r"^import time: +\d+ \| +\d+ \| +([\w.]+)$", re.MULTILINE)


@pytest.mark.parametrize("name", ["notifier", "gateway", "dashboard", "vms"])
def test_a_service_without_pixels_loads_no_vision_wheel(name: str, tmp_path: Path) -> None:
    assert run_until_ready(name, tmp_path) & HEAVY == set()


def run_until_ready(name: str, folder: Path) -> set[str]:
    """The top-level modules that `vantage run NAME` imports until it is ready."""
    port, log = processes.free_port(), folder / "log"
    settings = {
        "VANTAGE_DATA_DIR": str(folder / "data"),
        "VANTAGE_PORT": str(port),
        "VANTAGE_METRICS_PORT": str(processes.free_port()),
        "PYTHONPROFILEIMPORTTIME": "1",
    }
    command = [sys.executable, "-m", "services.main", "run", name]
    process = processes.spawn(command, log=log, environment=settings)
    try:
        processes.wait_until(lambda: ready(port), seconds=60, process=process, log=log)
    finally:
        processes.end(process)
    return {module.partition(".")[0] for module in IMPORTED.findall(log.read_text())}


def ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
