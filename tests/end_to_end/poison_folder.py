"""A folder of pictures, some of which kill or stall whoever reads them."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Mapping
from typing import Any

from imagemill.core.sample import Sample
from imagemill.sources.folder import FolderSource


class PoisonFolder(FolderSource):
    """Files named crash end the process, those named hang never come back."""

    def read(self, row: Mapping[str, Any]) -> Sample:
        if row["key"].startswith("crash"):
            ctypes.string_at(0)
        if row["key"].startswith("hang"):
            time.sleep(600)
        return super().read(row)
