"""The verbs that a recipe may ask for: how results go from one to the next, what each may be told, how it is called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

from imagemill.errors import ConfigError
from imagemill.recipes.plan import MODEL, PICTURES, PILE, Flow, Step
from imagemill.recipes.table import Verb

FLOWS = {
    "fetch": Flow({"urls": ""}, "{data}/original", makes=PILE, takes_changes=True),
    "check": Flow({"source": PILE}, "{data}/checks", starts_anew=True),
    "stage": Flow({"source": PILE}, "{data}/resized", makes=PILE),
    "tile": Flow({"source": PILE}, "{data}/tiles", makes=PILE),
    "pack": Flow({"source": PILE}, "{data}/dataset", makes=PILE),
    "embed": Flow({"dataset": PILE}, "{data}/embedded", makes=PILE),
    "convert": Flow({"dataset": PILE}, "{data}/converted", makes=PILE),
    "train": Flow({"dataset": PILE}, "{runs}/{name}", makes=MODEL, takes_changes=True),
    "predict": Flow({"model": MODEL, "source": PICTURES}, "{runs}/{name}"),
    "export": Flow({"dataset": MODEL}, "{runs}/{name}.onnx"),
    "report": Flow({"source": PILE}, "{runs}/{name}.html"),
}

PATHS = frozenset(("checks", "previous", "against", "config", "split_table", "start", "weights"))
"""Options that name files or folders: what lies there is part of a step's input."""

OF_THE_RUN = frozenset(("out", "engine", "ray_address", "rank", "world_size", "dry_run", "run"))
"""Parameters that say how and not what, or that `run` itself gives."""

SOURCES = "imagemill.sources.base:SourceOptions"
FURTHER = {
    "fetch": ("imagemill.acquire.contract:Limits",),
    "check": (SOURCES,),
    "stage": (SOURCES,),
    "tile": (SOURCES,),
    "pack": (SOURCES,),
    "predict": (SOURCES,),
    "report": (SOURCES,),
    "train": ("imagemill.training.options:TrainOptions",),
}
"""Dataclasses whose fields a verb takes besides its own parameters."""


def verb_of(name: str) -> Verb:
    """What a recipe may say to a verb: the parameters of its function, whose names are the same everywhere."""
    own = _parameters(name)
    sections: dict[str, frozenset[str]] = {}
    if name == "tile":
        own |= _parameters("pack")
        sections = {"scales": _fields("imagemill.transforms.tiling:TileScale")}
    elif name == "train":
        sections = {"pack": frozenset(_parameters("pack") | _fields(SOURCES))}
    elif name == "embed":
        own |= {"limit"}
    known = frozenset(own - {*sections, *FLOWS[name].inputs})
    return Verb(name, tuple(FLOWS[name].inputs), known, PATHS & known, sections)


def _parameters(name: str) -> set[str]:
    """Names that a verb takes, callbacks aside."""
    parameters = inspect.signature(function_of(name)).parameters.values()
    own = {one.name for one in parameters if one.kind is one.KEYWORD_ONLY and not one.name.startswith("on_")}
    for further in FURTHER.get(name, ()):
        own |= _fields(further)
    return own - OF_THE_RUN - {"pack_options"}


def _fields(place: str) -> frozenset[str]:
    module, _, name = place.partition(":")
    return frozenset(one.name for one in fields(getattr(import_module(module), name)))


def function_of(name: str) -> Callable[..., Any]:
    """The function of a verb."""
    function: Callable[..., Any] = getattr(import_module(f"imagemill.api.{name}"), name)
    return function


def call_verb(step: Step, root: Path, callbacks: Mapping[str, Callable[..., None]]) -> Any:
    """Does a step.

    Args:
        root: folder that relative paths begin at.
        callbacks: by parameter; those that the verb has are passed on.

    Raises:
        ConfigError: the verb refuses what the step says; the message names the step.
    """
    function = function_of(step.table.verb.name)
    options = {name: _argument(name, value) for name, value in step.options.items()}
    options |= {name: str(_under(root, place)) for name, place in step.paths.items()}
    if step.table.verb.name == "train" and "pack" in options:
        options["pack_options"] = options.pop("pack")
    known = inspect.signature(function).parameters
    options |= {name: call for name, call in callbacks.items() if name in known}
    out = root / step.out
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        return function(*(_under(root, place) for place in step.inputs.values()), out, **options)
    except ConfigError as error:
        raise ConfigError(f"step {step.name}: {error}") from error


def _argument(name: str, value: Any) -> Any:
    """A value of the file as verbs take it."""
    if name == "scales":
        from imagemill.transforms.tiling import TileScale

        try:
            return tuple(TileScale(**scale) for scale in value)
        except TypeError as error:
            raise ConfigError(f"every [[tile.scales]] needs crop and step ({error})") from None
    return tuple(value) if isinstance(value, list) else value


def _under(root: Path, place: str) -> str | Path:
    """A path as the recipe means it; URLs stay."""
    return place if "://" in place else root / place
