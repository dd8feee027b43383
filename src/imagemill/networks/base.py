"""What a network is here: a torch module made from a frozen options dataclass, that says which sizes it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, ClassVar, Self

from torch import nn

from imagemill.errors import ConfigError, did_you_mean


class Network(nn.Module):  # type: ignore[misc]
    """Base of all networks of the registry.

    A subclass names its `options_class`, a frozen dataclass of plain values (numbers, texts, tuples of them) whose
    defaults work, and is made from one instance of it. `forward` takes float32 (N, C, H, W), values as
    `imagemill.training.colour` makes them, and gives (N, C', H · scale, W · scale).

    Attributes:
        options: what it was made from; `create_network(name, **options_of(network))` makes it again.
        required_multiple: height and width of what it takes must be multiples of this; 1 where it pads inside.
        scale: how many times larger its output is than its input, in each direction.
        colour: space that it works in where the user leaves it open; "auto" is what suits the data.
        has_idle_parameters: whether some parameters have no say in the output, so never get a gradient.
    """

    options_class: ClassVar[type[Any]]
    required_multiple: int = 1
    scale: int = 1
    colour: ClassVar[str] = "auto"
    has_idle_parameters: bool = False

    def __init__(self, options: Any) -> None:
        super().__init__()
        self.options = options

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Made from plain values by name; raises ConfigError as `parse_network_options`."""
        return cls(parse_network_options(cls.options_class, options))


def options_of(network: Network) -> dict[str, Any]:
    """The options of a network as plain values that JSON and TOML can hold."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(network.options).items()}


def parse_network_options(options_class: type[Any], options: Mapping[str, Any]) -> Any:
    """An options dataclass from plain values; lists become tuples.

    Raises:
        ConfigError: an unknown name (the message has the nearest), a value of another type, or values that cannot work.
    """
    return options_class(**read_network_options(options_class, options))


def read_network_options(options_class: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are given, each of its own type; whether they can work together is not looked at.

    Raises:
        ConfigError: an unknown name (the message has the nearest), or a value of another type.
    """
    known = {entry.name: entry.default for entry in fields(options_class)}
    given = {}
    for name, value in options.items():
        if name not in known:
            raise ConfigError(f"unknown network option {name!r}; known: {', '.join(known)}{did_you_mean(name, known)}")
        given[name] = _as_type_of(name, value, known[name])
    return given


def _as_type_of(name: str, value: Any, default: Any) -> Any:
    """The value as the default's type has it; a text, as a command line gives it, is read.

    Raises:
        ConfigError: it is of another type.
    """
    if isinstance(value, list):
        value = tuple(value)
    if isinstance(value, str) and not isinstance(default, str):
        value = _read(value, default)
    if isinstance(default, bool):
        fits = isinstance(value, bool)
    elif isinstance(default, int):
        fits = isinstance(value, int) and not isinstance(value, bool)
    elif isinstance(default, float):
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    else:
        fits = default is None or isinstance(value, type(default))
    if not fits:
        raise ConfigError(f"network option {name} is a {type(default).__name__} such as {default!r}, got {value!r}")
    return float(value) if isinstance(default, float) else value


def _read(text: str, default: Any) -> Any:
    """A text as the command line has it, read as the default's type; the text itself where it cannot be."""
    if isinstance(default, bool):
        return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(text.lower(), text)
    kind = type(default[0]) if isinstance(default, tuple) and default else type(default)
    try:
        if isinstance(default, tuple):
            return tuple(kind(part) for part in text.split(","))
        return kind(text) if kind in (int, float) else text
    except ValueError:
        return text
