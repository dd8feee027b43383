"""Networks by name, each a file with a typed options dataclass: plain torch, nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagemill.errors import ConfigError, MissingExtra
from imagemill.registry import Registry

if TYPE_CHECKING:
    from imagemill.networks.base import Network

DEFAULT_NETWORK = "residual-unet"

NETWORKS: Registry[type[Network]] = Registry(
    "network",
    "imagemill.networks",
    {
        "colour-fusion": "imagemill.networks.colour_fusion:ColourFusion",
        "residual-unet": "imagemill.networks.residual_unet:ResidualUNet",
        "unet": "imagemill.networks.unet:UNet",
    },
)

__all__ = ["DEFAULT_NETWORK", "NETWORKS", "create_network"]


def create_network(name: str = DEFAULT_NETWORK, **options: Any) -> Network:
    """A network by its registered name, with fresh weights.

    Args:
        name: "residual-unet", "unet" (`variant=`), "colour-fusion", or what an outside package registered.
        options: of that network, by the names of its options class; left out ones take their defaults.

    Raises:
        ConfigError: no such network, an unknown option (the nearest is named), or values that cannot work.
        MissingExtra: torch is not installed.

    Example::

        network = create_network("residual-unet", in_channels=1, out_channels=3)
    """
    try:
        import torch  # noqa: F401
    except ImportError:
        raise MissingExtra("torch", "torch") from None
    try:
        return NETWORKS.get(name).from_options(options)
    except ConfigError as error:
        if name not in NETWORKS:
            raise
        raise ConfigError(f"network {name!r}: {error}") from None
