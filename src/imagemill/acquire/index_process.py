"""The index, written by a process that imports what it takes to write one while this one fetches.

pyarrow, and the NumPy that it imports, take a tenth of a second to import, a hundred images' time, and threads of one
process import in turn. Another process has them ready when the last image is there.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagemill.config import cpu_count

if TYPE_CHECKING:
    from imagemill.acquire.journal import Journal
    from imagemill.acquire.survey import Survey
    from imagemill.acquire.url_list import UrlList

_DONE = b"done\n"


class IndexProcess:
    """A process that can write one index; it ends with this one, and writes nothing then."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", "-m", "imagemill.acquire.index_process"]
        # NumPy's linear algebra would start a thread a core when it is imported, a fifth of that, for nothing here.
        environment = {"OPENBLAS_NUM_THREADS": "1", **os.environ}
        pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nowhere, env=environment)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._asks, self._answers = self._process.stdin, self._process.stdout

    def write(self, root: Path, urls: UrlList, survey: Survey, journal: Journal, facts: Mapping[str, Any]) -> bool:
        """Whether it did what `imagemill.acquire.index.write_index` does, of which False tells no reason."""
        asked = {
            "root": os.path.abspath(root),
            "urls": os.path.abspath(urls.path),
            "options": asdict(urls.options),
            "survey": os.path.abspath(survey.folder),
            "journal": os.path.abspath(journal.path),
            "facts": facts,
        }
        try:
            self._asks.write(json.dumps(asked).encode() + b"\n")
            self._asks.flush()
            return self._answers.readline() == _DONE
        except (OSError, ValueError):  # it is gone, or was ended
            return False

    def end(self) -> None:
        """Ends it, whatever it does."""
        self._process.kill()
        for pipe in (self._asks, self._answers):
            with suppress(OSError):  # what it was never told
                pipe.close()
        self._process.wait()


_AT_HAND: ContextVar[IndexProcess | None] = ContextVar("_AT_HAND", default=None)


@contextmanager
def index_process(*, wanted: bool = True) -> Iterator[None]:
    """Meanwhile `write_index` has a process at hand, if it is wanted and there is a core for it."""
    process = None
    if wanted and sys.executable and cpu_count() > 1:
        with suppress(OSError):
            process = IndexProcess()
    token = _AT_HAND.set(process)
    try:
        yield
    finally:
        _AT_HAND.reset(token)
        if process is not None:
            process.end()


def write_index(root: Path, urls: UrlList, survey: Survey, journal: Journal, facts: Mapping[str, Any]) -> None:
    """See `imagemill.acquire.index.write_index`, which the process at hand does; where it cannot, this one does."""
    process = _AT_HAND.get()
    if process is not None and process.write(root, urls, survey, journal, facts):
        return
    from imagemill.acquire.index import write_index

    write_index(root, urls, survey, journal, facts)


def _main() -> None:
    """The process: imports, is told where everything lies, writes, says so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the other one decides
    gc.disable()  # what it imports and makes stays to its end
    from imagemill.acquire.index import write_index
    from imagemill.acquire.journal import Journal
    from imagemill.acquire.survey import Survey
    from imagemill.acquire.url_list import ListOptions, UrlList

    line = sys.stdin.buffer.readline()
    if not line:
        return
    threading.Thread(target=_end_with_parent, daemon=True).start()
    asked = json.loads(line)
    urls = UrlList(Path(asked["urls"]), ListOptions(**asked["options"]))
    with Journal(Path(asked["journal"])) as journal:
        write_index(Path(asked["root"]), urls, Survey.load(Path(asked["survey"])), journal, asked["facts"])
    sys.stdout.buffer.write(_DONE)
    sys.stdout.buffer.flush()


def _end_with_parent() -> None:
    """Nothing more is ever said: this pipe ends when the other process does."""
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    _main()
