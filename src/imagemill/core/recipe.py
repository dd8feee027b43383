"""What a user asks of `pack`: the data part decides the bytes, the run part how they are made."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any, Literal, get_args

from imagemill.errors import ConfigError

Pixels = Literal["original", "recoded", "recoded-compact", "resized", "raw"]
Fit = Literal["exact", "contain", "cover", "short", "long"]
Filter = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
Decode = Literal["full", "headers"]
SplitCounts = Literal["hash", "exact"]
Order = Literal["source", "shuffled"]
MendLeaks = Literal["move", "drop"]

RECODED_PIXELS: tuple[Pixels, ...] = ("recoded", "recoded-compact")
FILE_PIXELS: tuple[Pixels, ...] = ("original", *RECODED_PIXELS)
"""Pixels that are files as they came, to the byte; a recoded JPEG gives its file back."""

MODES = ("RGB", "L")
"""Colour modes that images can be stored in: three channels, or one."""


@dataclass(frozen=True)
class Recipe:
    """The data part: equal recipes over equal sources give equal bytes.

    Args:
        format: registered storage format.
        pixels: "original" (bytes as they came), "recoded" (JPEGs coded anew for decoding speed, without loss;
            other files as they came), "recoded-compact" (the same in fewer bytes, decoding takes a little longer),
            "resized" (re-encoded once as JPEG), "raw" (uint8 arrays of one size).
        size: (height, width) for resized and raw; None keeps each image's own.
        fit: how an image meets `size`: "exact" (sides as given, aspect not kept), "contain" (white bars),
            "cover" (centre cut), "short" / "long" (that side at most, aspect kept, never enlarged).
        filter: resampling filter; masks always take the nearest pixel.
        mode: "RGB" or "L" for resized and raw.
        quality: JPEG quality of resized images, 1–100.
        decode: "full" proves every image whole; "headers" trusts pixels and reads headers only.
        split: split name → exact share (see `parse_split`), or empty: the source's own splits, else all in `train`.
        split_counts: "hash": shares hold in expectation, and no image ever moves; "exact": int(n·share),
            the last takes the rest.
        folds: how many folds of equal size the samples are dealt to, instead of shares: splits `fold-0`, `fold-1`, ….
        fold: the fold that becomes `val`, all others `train`; None keeps all of them.
        split_lists: split name → keys, for splits that are given as lists; shares and folds are of the rest.
        stratify: whether exact counts hold within every class.
        seed: of the split and of the shuffled order.
        shard_samples: samples a shard at most.
        shard_bytes: source bytes a shard at most, instead of `shard_samples`.
        order: samples in the source's order, or shuffled across the split by a hash of their keys.
        limit: only the first so many samples of the source; None is all.
        max_pixels, max_bytes, max_seconds, max_memory_bytes: what one image may cost before it is rejected.
        source: kind and options of the source.
        previous: sha256 of the manifest of the earlier dataset whose splits are kept, or None.
        rebalance: what a new sample links goes to one split, old samples too; else that new sample is rejected.
        checks: sha256 of the table of checks whose clusters stay in one split, or None.
        exclude: flags of that table whose samples are left out.
        mend_leaks: what becomes of groups and clusters that given splits part: "move" brings each to one split, "drop"
            leaves out what is in the others; None tells of them only.
    """

    format: str = "arrow"
    pixels: Pixels = "original"
    size: tuple[int, int] | None = None
    fit: Fit = "exact"
    filter: Filter = "bicubic"
    mode: str = "RGB"
    quality: int = 90
    decode: Decode = "full"
    split: Mapping[str, Fraction] = field(default_factory=dict)
    folds: int | None = None
    fold: int | None = None
    split_counts: SplitCounts = "hash"
    split_lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    stratify: bool = False
    seed: int = 0
    shard_samples: int = 1000
    shard_bytes: int | None = None
    order: Order = "source"
    limit: int | None = None
    max_pixels: int = 178_956_970
    max_bytes: int = 512 * 2**20
    max_seconds: float = 30.0
    max_memory_bytes: int = 2 * 2**30
    source: Mapping[str, Any] = field(default_factory=dict)
    previous: str | None = None
    rebalance: bool = False
    checks: str | None = None
    exclude: tuple[str, ...] = ()
    mend_leaks: MendLeaks | None = None

    def __post_init__(self) -> None:
        _one_of("pixels", self.pixels, get_args(Pixels))
        _one_of("fit", self.fit, get_args(Fit))
        _one_of("filter", self.filter, get_args(Filter))
        _one_of("decode", self.decode, get_args(Decode))
        _one_of("split_counts", self.split_counts, get_args(SplitCounts))
        _one_of("order", self.order, get_args(Order))
        _one_of("mode", self.mode, MODES)
        self._check_numbers()
        if self.pixels in FILE_PIXELS and (self.size is not None or self.mode != "RGB"):
            raise ConfigError(
                f"{self.pixels} pixels are stored as they came, so size and mode cannot change them: "
                "add --pixels resized (JPEG) or --pixels raw (arrays)"
            )
        if self.pixels == "resized" and self.size is None and self.mode == "RGB":
            raise ConfigError("resized pixels need --size, as in --size 256 --fit short")
        if self.pixels == "raw" and self.fit in ("short", "long"):
            raise ConfigError(f"raw pixels have one size, fit {self.fit!r} gives many: use exact, contain or cover")
        self._check_splits()

    @property
    def shares(self) -> dict[str, Fraction]:
        """Split name → share of what no list places; of folds before one of them is made `val`."""
        if self.folds is None:
            return dict(self.split)
        return {f"fold-{number}": Fraction(1, self.folds) for number in range(self.folds)}

    def _check_splits(self) -> None:
        self._check_folds()
        both = [name for name in self.split_lists if name in (self.shares if self.fold is None else ("train", "val"))]
        if both:
            raise ConfigError(
                f"split {both[0]!r} has a list, which is all of it, and a share: give shares of the rest to other "
                f"names, as in --split train=90,val=10 --split-list {both[0]}=FILE"
            )
        if self.split_counts == "exact" and not self.shares:
            raise ConfigError("exact split counts need shares: add --split 80/12/8 or --folds 5")
        if self.stratify and self.split_counts != "exact":
            raise ConfigError("stratify needs split counts 'exact': a hash cannot hold counts within classes")
        if self.previous and not self.shares:
            raise ConfigError(
                "--previous keeps earlier splits and needs --split for the new images, as in --split 80/12/8"
            )
        if self.rebalance and not self.previous:
            raise ConfigError("--rebalance is for a pile that grows: it needs --previous DATASET")
        if self.mend_leaks is not None:
            _one_of("mend_leaks", self.mend_leaks, get_args(MendLeaks))
            if self.previous or (self.shares and not self.split_lists):
                raise ConfigError(
                    "there are no leaks to mend where --split or --folds places whole groups: --mend-leaks is for "
                    "given splits (folders, a split column, --split-list, a dataset), --rebalance for --previous"
                )
        if self.exclude and self.checks is None:
            raise ConfigError("--exclude goes by a table of checks: give --checks")

    def _check_folds(self) -> None:
        if self.folds is None:
            if self.fold is not None:
                raise ConfigError("--fold says which of the folds is val: add --folds 5")
            return
        if self.split:
            raise ConfigError("--split and --folds both say how to split: give one of them")
        if self.folds < 2:
            raise ConfigError(f"--folds must be at least 2, got {self.folds}")
        if self.fold is not None and not 0 <= self.fold < self.folds:
            raise ConfigError(f"--fold must be 0 to {self.folds - 1}, got {self.fold}")
        if self.fold is not None and self.previous:
            raise ConfigError(
                "--fold with --previous would not know the earlier folds: pack all folds (leave --fold out), and open "
                'several as one split, as in split=["fold-1", "fold-2"]'
            )

    def _check_numbers(self) -> None:
        names = ("quality", "shard_samples", "shard_bytes", "limit", "max_pixels", "max_bytes", "max_memory_bytes")
        for name in (*names, "max_seconds"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name} must be a number above 0, got {value}")
        if self.quality > 100:
            raise ConfigError(f"quality must be 1–100, got {self.quality}")

    def to_json(self) -> dict[str, Any]:
        """A plain dict with every value, ratios as exact fractions in text."""
        record = asdict(self)
        record["size"] = None if self.size is None else list(self.size)
        record["split"] = {name: str(share) for name, share in self.split.items()}
        record["split_lists"] = {name: list(keys) for name, keys in self.split_lists.items()}
        record["source"] = dict(self.source)
        record["exclude"] = list(self.exclude)
        return record


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} {value!r} is none of {', '.join(allowed)}")


MAX_RATIO = 10
"""Whole numbers up to this are ratios, as in 8/1/1; larger ones are percentages, and have to add up to 100."""
_INEXACT = Fraction(1, 10**9)
"""What floating-point numbers may lack of the whole."""

DEFAULT_SPLIT_NAMES = {1: ("train",), 2: ("train", "val"), 3: ("train", "val", "test")}


def parse_split(text: str | Mapping[str, float | str] | None) -> dict[str, Fraction]:
    """Shares of splits as a person writes them: percentages, fractions of 1, or ratios of whole numbers up to 10.

    Args:
        text: "80/12/8", "0.9/0.1", "8/1/1" (named train, val, test), "train=90,holdout=10", or a mapping.

    Returns:
        name → share, summing to 1, exact. Empty for None.

    Raises:
        ConfigError: no numbers, not above 0, more than three without names, or percentages (fractions) that do not
            add up to 100 (to 1).
    """
    if not text:
        return {}
    if isinstance(text, Mapping):
        pairs = [(str(name), str(share)) for name, share in text.items()]
    elif "=" in text:
        pairs = [(name.strip(), share) for name, _, share in (part.partition("=") for part in text.split(","))]
    else:
        shares = text.split("/")
        if len(shares) not in DEFAULT_SPLIT_NAMES:
            raise ConfigError(f"split {text!r} has {len(shares)} parts; name them: train=70,val=10,test=10,extra=10")
        pairs = list(zip(DEFAULT_SPLIT_NAMES[len(shares)], shares, strict=True))
    try:
        result = {name: Fraction(share.strip().removesuffix("%")) for name, share in pairs}
    except (ValueError, ZeroDivisionError):
        raise ConfigError(f"split {text!r}: write shares as 80/12/8, 0.9/0.1 or train=90,holdout=10") from None
    if len(result) != len(pairs) or not all(
        share > 0 and name.replace("-", "_").isidentifier() for name, share in result.items()
    ):
        raise ConfigError(f"split {text!r}: names must differ and be words, shares must be above 0")
    total = sum(result.values(), Fraction())
    named = isinstance(text, Mapping) or "=" in text
    _check_total([(name if named else "", share.strip()) for name, share in pairs], total)
    return {name: share / total for name, share in result.items()}


def _check_total(pairs: Sequence[tuple[str, str]], total: Fraction) -> None:
    """Refuses percentages and fractions that do not add up, unless that is rounding, as in 33/33/33.

    Args:
        pairs: (name, share as written); the name is empty where none was given.
        total: of the shares.
    """
    shares = [share for _, share in pairs]
    numbers = [Fraction(share.removesuffix("%")) for share in shares]
    in_per_cent = any(share.endswith("%") for share in shares)
    if not in_per_cent and all(number.denominator == 1 and number <= MAX_RATIO for number in numbers):
        return
    whole = 1 if not in_per_cent and max(numbers) < 1 else 100
    decimals = max(len(share.removesuffix("%").partition(".")[2]) for share in shares)
    error = abs(total - whole)
    if 2 * error * 10**decimals < len(shares) or error < whole * _INEXACT:
        return
    scaled = [f"{float(100 * number / total):.4g}" for number in numbers]
    if pairs[0][0]:
        meant = ",".join(f"{name}={share}" for (name, _), share in zip(pairs, scaled, strict=True))
    else:
        meant = "/".join(scaled)
    raise ConfigError(
        f"split shares {' and '.join(shares)} add up to {float(total):g}, not {whole}: write {meant} if that is meant "
        f"(whole numbers up to {MAX_RATIO} are ratios, as in 8/1/1)"
    )


_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def parse_bytes(text: str | int) -> int:
    """Bytes as a person writes them: 1048576, "256MB", "1.5GiB".

    Raises:
        ConfigError: no number with a known unit.
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", str(text))
    if match is None or match[2].upper() not in _UNITS or ("." in match[1] and not match[2]):
        raise ConfigError(f"{text!r} is no size in bytes; write 256MB, 1.5GB or 64MiB")
    return int(Fraction(match[1]) * _UNITS[match[2].upper()])


def parse_shard_size(text: str | int) -> dict[str, int]:
    """`--shard-size` as recipe entries: "1000" samples, or "256MB" bytes.

    Raises:
        ConfigError: neither.
    """
    if str(text).strip().isdigit():
        return {"shard_samples": int(text)}
    return {"shard_bytes": parse_bytes(text)}
