"""Engines, by name: where the work runs."""

from imagemill.engines.base import Engine
from imagemill.registry import Registry

ENGINES: Registry[type[Engine]] = Registry(
    "engine",
    "imagemill.engines",
    {
        "local": "imagemill.engines.local:LocalEngine",
        "ray": "imagemill.engines.ray:RayEngine",
    },
)

__all__ = ["ENGINES", "Engine"]
