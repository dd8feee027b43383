"""`imagemill doctor`."""

from __future__ import annotations

import sys

from imagemill.api.doctor import doctor
from imagemill.cli import options as o
from imagemill.cli.console import print_json, print_rows


def command(json: o.Json = False) -> None:
    """Say what this machine has: versions, extras, cores, decoders, and whether they work."""
    findings = doctor()
    if json:
        print_json([{"name": name, "value": value, "ok": ok} for name, value, ok in findings])
    else:
        print_rows([(name, value if ok else f"{value}  <- needs attention") for name, value, ok in findings])
    if not all(ok for _, _, ok in findings):
        sys.exit(1)
