"""`doctor`: what this machine has for imagemill."""

from __future__ import annotations

from imagemill.diagnosis import Finding, diagnose


def doctor() -> list[Finding]:
    """What this machine has for imagemill, and whether it works: (name, value, ok) lines."""
    return diagnose()
