"""Every error that imagemill raises on purpose, in one tree.

    ImagemillError                 exit 1
    ├── ConfigError (ValueError)   exit 2   an option, recipe or source that cannot work
    ├── MissingExtra (ImportError) exit 2   an optional dependency is not installed
    ├── OutputInUse                exit 3   another run owns the output folder
    ├── NoSpace (OSError)          exit 4   the disk is full
    ├── DamageError                exit 5   stored bytes are not what was written
    │   ├── ShardError                      the structure of a shard, or the whole of it
    │   └── DigestError                     one value of one sample
    ├── RemoteError (OSError)      exit 1   a place elsewhere refuses or cannot be reached
    ├── EngineError                exit 1   a worker could not be kept alive
    └── SampleError (ValueError)   exit 1   one bad sample: a reject with a reason, not a crash

A message says what happened, what was found, what is allowed and what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ImagemillError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


class ConfigError(ImagemillError, ValueError):
    """An option, recipe or source that cannot work as given."""

    exit_code = 2


class MissingExtra(ImagemillError, ImportError):
    """An optional dependency is not installed; the message names the extra."""

    exit_code = 2

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'imagemill[{extra}]'")


class OutputInUse(ImagemillError):
    """Another run owns the output folder; the message names the owner."""

    exit_code = 3


class NoSpace(ImagemillError, OSError):
    """The disk is full; what was finished stays, and the same command goes on later."""

    exit_code = 4


class DamageError(ImagemillError):
    """Stored bytes are not what was written."""

    exit_code = 5


class ShardError(DamageError):
    """A shard is missing, has another size, or its structure cannot be read.

    Args:
        shard: name of the shard, `train-00003-of-00012`.
        detail: what is wrong with it.
    """

    def __init__(self, shard: str, detail: str) -> None:
        super().__init__(f"shard {shard}: {detail}")
        self.shard = shard
        self.detail = detail

    def __reduce__(self) -> tuple[type[ShardError], tuple[str, str]]:
        return type(self), (self.shard, self.detail)


class DigestError(DamageError):
    """A value read from a shard does not have the digest it was written with."""

    def __init__(self, shard: str, key: str, field: str) -> None:
        super().__init__(
            f"sample {key!r}, field {field!r} in shard {shard}: digest mismatch, the stored bytes are damaged"
        )
        self.shard = shard
        self.key = key
        self.field = field

    def __reduce__(self) -> tuple[type[DigestError], tuple[str, str, str]]:
        return type(self), (self.shard, self.key, self.field)


class RemoteError(ImagemillError, OSError):
    """A place elsewhere refuses or cannot be reached: neither damage nor a bad sample, so nothing is skipped for it."""


class EngineError(ImagemillError):
    """Workers died again and again for a reason that no single sample explains."""


REASONS = {
    "empty-file": "the file has no bytes",
    "not-an-image": "no decoder knows these bytes as an image",
    "truncated": "the image ends before its pixels do",
    "corrupt": "the decoder found damaged data",
    "unsupported": "an image format or variant that no installed decoder reads",
    "too-many-pixels": "more pixels than --max-pixels",
    "too-many-bytes": "more bytes than --max-bytes",
    "timeout": "decoding took longer than --max-seconds",
    "memory": "decoding needed more memory than --max-memory",
    "decoder-died": "the decoder crashed its process",
    "unreadable": "the file could not be read (permission, vanished, disk error)",
    "missing-file": "a table names a file that is not there",
    "missing-partner": "one half of a pair is not there",
    "missing-mask": "an image has no mask",
    "missing-caption": "an image has no caption",
    "too-small": "smaller than --min-side, or than every crop",
    "bad-value": "a label, number, vector or text that does not fit its field",
    "mask-size": "mask and image differ in size",
    "pair-orientation": "one half of a pair is portrait, the other landscape",
    "duplicate-key": "another sample has the same key",
    "bridges-splits": "it links earlier samples of several splits",
    "leak": "its group or a near-duplicate is in a split kept from training",
}
"""Reason codes of rejects, each with what it means; besides `excluded-FLAG`, where `--exclude FLAG` asked for it."""


class SampleError(ImagemillError, ValueError):
    """One sample cannot be used: it becomes a reject with this reason.

    Codecs raise it without a key; who knows the sample fills it in with `of`.

    Args:
        reason: a key of `REASONS`.
        detail: what exactly was found.
        key: the sample's stable key, if known.
        origin: where it came from, if known.
    """

    def __init__(self, reason: str, detail: str = "", *, key: str = "", origin: str = "") -> None:
        where = f"{origin or key}: " if origin or key else ""
        super().__init__(f"{where}{reason}{': ' + detail if detail else ''}")
        self.reason = reason
        self.detail = detail
        self.key = key
        self.origin = origin

    def of(self, key: str, origin: str) -> SampleError:
        """The same error, naming the sample."""
        return SampleError(self.reason, self.detail, key=key, origin=origin)

    def __reduce__(self) -> tuple[object, ...]:
        return _sample_error, (self.reason, self.detail, self.key, self.origin)


def _sample_error(reason: str, detail: str, key: str, origin: str) -> SampleError:
    return SampleError(reason, detail, key=key, origin=origin)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: "; did you mean 'arrow'?", or nothing where none is near."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""
