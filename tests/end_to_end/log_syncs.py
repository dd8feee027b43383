"""`imagemill`, writing down what it makes durable: `log_syncs.py LOG OUT each|whole ARGUMENTS`.

A line of LOG is a file that has been synced: inode, length, time of change. `whole` lets the file system sync all of
OUT at once, `each` has no such call, as on systems other than Linux.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from imagemill.cli import main
from imagemill.core import files

log_path, out, how = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
_fsync = os.fsync


def stamp(found: os.stat_result) -> str:
    """What tells one content of a file from another."""
    return f"{found.st_ino} {found.st_size} {found.st_mtime_ns}\n"


def note(*stamps: str) -> None:
    """Survives whatever becomes of this process."""
    with open(log_path, "a") as log:
        log.writelines(stamps)


def fsync(descriptor: int) -> None:
    """Syncs, and says so."""
    _fsync(descriptor)
    note(stamp(os.fstat(descriptor)))


def sync_file_system(folder: files.AnyPath) -> bool:
    """Takes all files of OUT for synced, where that is wanted."""
    if how == "whole":
        note(*(stamp(path.stat()) for path in out.rglob("*") if path.is_file()))
    return how == "whole"


if __name__ == "__main__":
    os.fsync = fsync
    files._sync_file_system = sync_file_system
    sys.argv[1:] = sys.argv[4:]
    main()
