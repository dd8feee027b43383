"""Weights of published networks: read from a file of any of their formats, or fetched once into the cache."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import torch

from imagemill.config import cache_dir
from imagemill.core.files import file_digest, sync_folder
from imagemill.errors import ConfigError, DamageError, MissingExtra, RemoteError
from imagemill.networks import tf_checkpoint

TIMEOUT_S = 60.0
_BLOCK_BYTES = 1 << 20
_HEADER_BYTES = 8
_BEFORE_ZIP = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")
"""A pickled number with which files of `torch.save` from before 1.6 begin."""


@dataclass(frozen=True)
class PublishedWeights:
    """A file on the network that holds weights.

    Args:
        url: where it is.
        size_bytes: its length, where it is known.
        digest: algorithm and hex digest of its bytes, "sha256:…" or "md5:…", as others published it; or its beginning.
        about: what it is, for a person.
    """

    url: str
    digest: str
    about: str
    size_bytes: int | None = None

    @property
    def name(self) -> str:
        """Its name in the cache: algorithm and digest make it one of a kind."""
        return f"{self.digest[-16:]}-{self.url.rpartition('/')[2]}"


SLIM = PublishedWeights(
    "https://storage.googleapis.com/download.tensorflow.org/models/inception_resnet_v2_2016_08_30.tar.gz",
    "md5:9e0f18e1259acf943e30690460d96123",
    "TF-slim's checkpoint of Inception-ResNet-v2, 1001 classes",
)
"""What the colour pipeline was made with."""

TIMM = PublishedWeights(
    "https://huggingface.co/timm/inception_resnet_v2.tf_in1k/resolve/main/model.safetensors",
    "sha256:dbea26b13a5fc8351919fed6a94222c0577ce324b2765fd081a798f837ca9d72",
    "timm's copy of Inception-ResNet-v2, 1000 classes",
)

PUBLISHED = {"tf-slim": SLIM, "timm": TIMM}
"""Names that stand for a file on the network."""


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Weights by name, on the CPU.

    Args:
        path: safetensors; a state dict that `torch.save` wrote (read with `weights_only=True`); TensorFlow's V1
            checkpoint, or a tar archive with one.

    Raises:
        ConfigError: it cannot be read, or is none of these.
        DamageError: a checkpoint is damaged.
        MissingExtra: safetensors is not installed.
    """
    try:
        if tf_checkpoint.is_checkpoint(path) or tf_checkpoint.is_archive(path):
            variables = tf_checkpoint.read_checkpoint(path)
            return {name: _tensor(value) for name, value in variables.items()}
        if zipfile.is_zipfile(path):
            return _state_dict(path)
        with open(path, "rb") as file:
            beginning = file.read(len(_BEFORE_ZIP))
        if beginning == _BEFORE_ZIP:
            return _state_dict(path)
        length, brace = int.from_bytes(beginning[:_HEADER_BYTES], "little"), beginning[_HEADER_BYTES:][:1]
        if brace == b"{" and length < path.stat().st_size:
            return _safetensors(path)
    except OSError as error:
        raise ConfigError(f"weights {path} cannot be read: {error.strerror or error}") from None
    raise ConfigError(
        f"{path} holds no weights that are known: safetensors, a state dict of torch.save, or TensorFlow's V1 "
        "checkpoint (.ckpt, .tar.gz)"
    )


def _tensor(value: Any) -> torch.Tensor:
    return torch.from_numpy(value if value.flags.writeable else np.array(value))


def _safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise MissingExtra("safetensors", "torch") from None
    try:
        found: dict[str, torch.Tensor] = load_file(path)
    except SafetensorError as error:
        raise DamageError(f"{path} is a damaged safetensors file: {error}") from None
    return found


def _state_dict(path: Path) -> dict[str, torch.Tensor]:
    """A state dict, bare or as `state_dict` or `model` of a dict."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - torch raises what it likes on a file it does not take
        raise ConfigError(f"{path} is no plain state dict: {str(error).splitlines()[0]}") from None
    for name in ("state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            found = found[name]
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise ConfigError(f"{path} holds no state dict but a {type(found).__name__}")
    return found


def fetched(
    published: PublishedWeights, *, offline_hint: str, on_progress: Callable[[int, int | None], None] | None = None
) -> Path:
    """The file in the cache (`IMAGEMILL_CACHE/weights`), fetched now if it is not there yet.

    What was fetched in part is gone on with; the digest is checked before the file is seen under its name.

    Args:
        offline_hint: what a user without network can do, the end of the message.
        on_progress: called with bytes fetched and bytes in all (None where the server does not say).

    Raises:
        RemoteError: the network or the server refuses; the message says how to do it by hand.
        DamageError: what came has another digest.
    """
    folder = cache_dir() / "weights"
    target = folder / published.name
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / f"{published.name}.lock"):
        if target.exists():
            return target
        part = folder / f"{published.name}.part"
        try:
            _fetch(published.url, part, on_progress)
        except OSError as error:
            raise RemoteError(
                f"{published.about} could not be fetched: {_reason(error)}. Fetch {published.url} where there is a "
                f"network, and {offline_hint}"
            ) from None
        algorithm, _, wanted = published.digest.partition(":")
        found = file_digest(part, algorithm)
        if not found.startswith(wanted):
            part.unlink()
            raise DamageError(f"{published.url} gave a file with {algorithm} {found}, wanted {wanted}: run it again")
        os.replace(part, target)
        sync_folder(folder)
    return target


def _reason(error: OSError) -> str:
    reason = getattr(error, "reason", None)
    return str(reason if reason is not None else error)


def _fetch(url: str, part: Path, on_progress: Callable[[int, int | None], None] | None) -> None:
    """Brings a file into `part`, going on where an earlier try ended if the server lets us."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # the part is the whole, or longer: its digest will tell
            raise
        return
    with response, open(part, "ab" if response.status == 206 else "wb") as file:
        have = have if response.status == 206 else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length and length.isdigit() else None
        while block := response.read(_BLOCK_BYTES):
            file.write(block)
            have += len(block)
            if on_progress is not None:
                on_progress(have, total)
    if total is not None and have < total:
        raise OSError(f"the connection ended after {have:,} of {total:,} bytes")


def state_sha256(state: dict[str, torch.Tensor]) -> str:
    """sha256 over names, types, shapes and values of weights, in the order of their names."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(np.ascontiguousarray(value.detach().cpu().numpy()).tobytes())
    return digest.hexdigest()
