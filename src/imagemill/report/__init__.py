"""One offline page about a dataset.

Importing this package puts it in the place of the verb `imagemill.report`, so the package can be called like it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType


class _CallablePackage(ModuleType):
    def __call__(self, dataset: str | os.PathLike[str], out: str | os.PathLike[str]) -> Path:
        """Writes the report; see `imagemill.api.report`."""
        from imagemill.report.page import write_report

        return write_report(Path(dataset), Path(out))


sys.modules[__name__].__class__ = _CallablePackage
