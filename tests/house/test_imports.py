"""Importing a module does nothing: no file written, no socket, no process, no thread."""

import subprocess
import sys

from tests.engines.folders import ROOT
from tests.house import tree

PROBE = """
import importlib, sys, threading
module = None
WORK = {"socket.connect", "socket.bind", "subprocess.Popen", "os.remove", "os.rename", "os.mkdir", "sqlite3.connect"}
def watch(event, arguments):
    wrote = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if event in WORK or wrote and not str(arguments[0]).endswith(".pyc") and ".pyc." not in str(arguments[0]):
        print(f"{module}: {event} {arguments[:1]}")
sys.dont_write_bytecode = True
sys.addaudithook(watch)
for module in sys.argv[1:]:
    importlib.import_module(module)
    if threading.active_count() > 1:
        print(f"{module}: starts a thread")
        break
"""


def modules() -> list[str]:
    names = [path.relative_to(ROOT).with_suffix("") for path in tree.python(*tree.CODE)]
    return [
        ".".join(name.parts).removesuffix(".__init__")
        for name in names
        if "migrations" not in name.parts and name.name != "__main__"
    ]


def test_importing_the_code_does_no_work() -> None:
    command = [sys.executable, "-W", "error", "-c", PROBE, *modules()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr[-2000:]
