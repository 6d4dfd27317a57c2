"""Small disks that go bad under whoever works on them: one fills up, one turns read-only. Linux, root."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Protocol

from tests.engines.require import missing_right

EVERYBODY = 0o1777  # PostgreSQL does not run as root


class Disk(Protocol):
    """A disk mounted at `place`."""

    place: Path

    def fails(self) -> None:
        """From here on nothing can be written."""
        ...

    def mends(self) -> None:
        """It is well again. Nobody may have a file open on it."""
        ...

    def remove(self) -> None:
        """Unmount it and forget what is on it."""
        ...


class FullDisk:
    """A tmpfs, which has no more room than it was given."""

    def __init__(self, megabytes: int) -> None:
        self.place = _place()
        _mounted("-t", "tmpfs", "-o", f"size={megabytes}m,mode=1777", "tmpfs", str(self.place))

    def fails(self) -> None:
        """Write until there is no room, and a little later until there is none again."""
        with (self.place / "filler").open("ab", buffering=0) as filler:
            while shutil.disk_usage(self.place).free:
                try:
                    filler.write(b"x" * 4096)
                except OSError:
                    return

    def mends(self) -> None:
        """There is room again; whoever works on it may go on."""
        (self.place / "filler").unlink()

    def remove(self) -> None:
        """See `Disk`."""
        _unmounted("--lazy", self.place)
        self.place.rmdir()


class ReadOnlyDisk:
    """ext4 in a file. It turns read-only as ext4 does when it finds an error: open files too."""

    def __init__(self, megabytes: int) -> None:
        self.place = _place()
        self._file = Path(f"{self.place}.ext4")
        with self._file.open("wb") as file:
            file.truncate(megabytes * 2**20)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(self._file)], check=True)
        self._mount()

    def fails(self) -> None:
        """What was written before is still to be read, also where nobody had it synced."""
        subprocess.run(["sync", "--file-system", str(self.place)], check=True)
        subprocess.run(["mount", "-o", "remount,abort", str(self.place)], check=True)

    def mends(self) -> None:
        """As an operator does it: unmount, check, mount."""
        _unmounted("", self.place)
        checked = subprocess.run(["e2fsck", "-f", "-y", str(self._file)], capture_output=True)
        if checked.returncode > 1:  # 1: it found errors and corrected them
            raise RuntimeError(f"e2fsck: {checked.stdout.decode()}")
        self._mount()

    def remove(self) -> None:
        """See `Disk`."""
        _unmounted("--lazy", self.place)
        self._file.unlink()
        self.place.rmdir()

    def _mount(self) -> None:
        _mounted("-o", "loop,errors=remount-ro", str(self._file), str(self.place))
        self.place.chmod(EVERYBODY)


def require_disks() -> None:
    """Skip (or fail) where no disk can be mounted."""
    if sys.platform != "linux" or os.geteuid() != 0:
        missing_right("a disk that goes bad needs the right to mount one (Linux, root)")
    if shutil.which("mkfs.ext4") is None:
        missing_right(
            "a disk that turns read-only needs mkfs.ext4 (Debian: apt-get install e2fsprogs)"
        )


def _place() -> Path:
    """A folder that other users can reach, as pytest's are not."""
    place = Path(tempfile.mkdtemp(prefix="vantage-disk-"))
    place.chmod(0o755)
    return place


def _mounted(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        missing_right(f"no disk can be mounted here: {done.stderr.strip()}")


def _unmounted(how: str, place: Path) -> None:
    """A server that was just killed may hold its files for a moment longer."""
    deadline = time.monotonic() + 20
    while subprocess.run(["umount", *filter(None, [how]), str(place)], check=False).returncode:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{place} is in use")
        time.sleep(0.2)
