"""A dataset folder that lies elsewhere: any URL that fsspec knows, read only.

Nothing but reading whole files from their beginning is asked of the place, so a plain web
server will do. Errors that pass by are tried again; the others say what to do.
"""

from __future__ import annotations

import hashlib
import io
import os
import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias
from urllib.parse import urlsplit

from imagemill.errors import ConfigError, ImagemillError, MissingExtra, RemoteError

BLOCK_BYTES = 1 << 20
RANGE_BYTES = 1 << 24
"""What object stores are asked for at a time."""

DELAYS_S = (0.5, 2.0, 8.0)
"""Pauses before the second, third and last attempt, each shortened at random by up to a half."""

TIMEOUT_S = 60.0
"""A connection on which nothing arrives for so long is given up; a slow one is not."""

LOCAL = ("file", "local")
_URL = re.compile(r"[a-z][a-z0-9+]+:/", re.IGNORECASE)
_SHORTENED_URL = re.compile(r"([a-z][a-z0-9+]+):/(?!/)", re.IGNORECASE)
PACKAGES = {"s3": ("s3fs", "s3"), "s3a": ("s3fs", "s3")}
"""Package and extra of the schemes that have an extra."""


@dataclass(frozen=True)
class RemoteFolder:
    """A folder at a URL; `str` of it leaves out passwords and tokens.

    Credentials and endpoints come from fsspec's own settings: `~/.config/fsspec/*.json`, or
    variables such as `FSSPEC_S3_ENDPOINT_URL`.

    Args:
        url: of the folder, `s3://bucket/dataset`; a query (`?sig=…`) goes with every file.
    """

    url: str

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return str(self).rstrip("/").rpartition("/")[2]

    def read(self, name: str) -> bytes:
        """A small file, whole.

        Raises: as `fetch`.
        """
        content = io.BytesIO()
        self.fetch(name, content)
        return content.getvalue()

    def fetch(self, name: str, out: BinaryIO, max_bytes: int | None = None) -> tuple[int, str]:
        """Copies a file of the folder to `out`, from its beginning again after an error that may pass by.

        Args:
            name: path in the folder, with `/`.
            out: an open file; what it holds already goes.
            max_bytes: stop soon after so many.

        Returns:
            Bytes that arrived, and their sha256 in hex.

        Raises:
            FileNotFoundError: there is no such file.
            RemoteError: refused, or not to be reached in four attempts.
            ConfigError, MissingExtra: no way to read from such a URL is installed.
        """
        for delay_s in DELAYS_S:
            try:
                return self._copy(name, out, max_bytes)
            except RemoteError as error:
                if not _may_pass_by(error.__cause__):
                    raise
            time.sleep(delay_s * random.uniform(0.5, 1))
        return self._copy(name, out, max_bytes)

    def _copy(self, name: str, out: BinaryIO, max_bytes: int | None) -> tuple[int, str]:
        out.seek(0)
        out.truncate()
        sha256, size_bytes = hashlib.sha256(), 0
        for block in self._blocks(name):
            out.write(block)
            sha256.update(block)
            size_bytes += len(block)
            if max_bytes is not None and size_bytes > max_bytes:
                break
        return size_bytes, sha256.hexdigest()

    def _blocks(self, name: str) -> Iterator[bytes]:
        """The file's bytes; only what the place does wrong is a RemoteError, writing them is not done in here."""
        try:
            # Asked for each time: after a fork the file system of the parent must not be used.
            files, root, arguments = open_file_system(self.url)
            path, query, rest = root.partition("?")
            with files.open(f"{path.rstrip('/')}/{name}{query}{rest}", "rb", **arguments) as file:
                while block := file.read(BLOCK_BYTES):
                    yield block
        except (FileNotFoundError, ImagemillError):
            raise
        except Exception as error:  # every file system of fsspec has error classes of its own
            raise RemoteError(f"{self}/{name} cannot be read: {in_words(error)}") from error


Place: TypeAlias = Path | RemoteFolder
"""Where a dataset lies."""


def place_of(path: str | os.PathLike[str] | RemoteFolder) -> Place:
    """The folder that a person means: a path, or a URL; `file://` is a path.

    Raises:
        ConfigError: a URL that went through `pathlib`, which takes a slash out of it.
    """
    if isinstance(path, RemoteFolder):
        return path
    text = os.fspath(path)
    if _SHORTENED_URL.match(text):
        raise ConfigError(f"{text} looks like a URL that pathlib took a slash from: give URLs as text")
    scheme, separator, _ = text.partition("://")
    return RemoteFolder(text) if separator and scheme and scheme not in LOCAL else local_path(path)


def local_path(path: str | os.PathLike[str]) -> Path:
    """A path of this machine as a person writes it: a leading `~` is the home folder, `file://` says no more.

    Raises:
        ConfigError: a URL, which would become a folder called `s3:`.
    """
    text = os.fspath(path)
    if text.partition(":/")[0] in LOCAL:
        from fsspec.implementations.local import LocalFileSystem

        return Path(LocalFileSystem._strip_protocol(_SHORTENED_URL.sub(r"\1:///", text)))
    if _URL.match(text):
        shown = RemoteFolder(_SHORTENED_URL.sub(r"\1://", text))
        raise ConfigError(
            f"{shown} is a URL, and what lies on this machine is wanted here: give a path; "
            "imagemill sync FOLDER URL brings a folder to a URL, imagemill sync URL FOLDER from there"
        )
    return Path(os.path.expanduser(path))


def read_file(place: Place, name: str) -> bytes:
    """A small file of a folder, here or elsewhere, whole.

    Raises:
        FileNotFoundError: there is no such file.
        RemoteError: the place refuses or cannot be reached.
    """
    return place.read(name) if isinstance(place, RemoteFolder) else (place / name).read_bytes()


def open_file_system(url: str) -> tuple[Any, str, dict[str, Any]]:
    """fsspec's file system for a URL, the folder's path in it, and how its files are to be opened.

    Raises:
        MissingExtra: a package of an extra is missing.
        ConfigError: fsspec knows no such URL, or lacks another package; the message names it.
    """
    from fsspec.config import conf
    from fsspec.core import url_to_fs

    scheme = url.partition("://")[0]
    arguments: dict[str, Any] = {"block_size": RANGE_BYTES, "cache_type": "readahead"}
    options: dict[str, Any] = {}
    try:
        if scheme in ("http", "https"):
            import aiohttp

            # Without these aiohttp ends a healthy download after five minutes and passes by proxies.
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT_S, sock_read=TIMEOUT_S)
            theirs = conf.get(scheme, {}).get("client_kwargs", {})
            options = {"client_kwargs": {"timeout": timeout, "trust_env": True, **theirs}}
            # One streamed GET a file: no HEAD before it, and no server is asked for ranges that it may not have.
            arguments = {"block_size": 0, "size": 1}
        files, root = url_to_fs(url, **options)
    except ImportError as error:
        if scheme in PACKAGES:
            raise MissingExtra(*PACKAGES[scheme]) from None
        raise ConfigError(f"{RemoteFolder(url)} cannot be opened: {error}") from None
    except ValueError as error:
        raise ConfigError(
            f"{RemoteFolder(url)} cannot be opened: {error}; give a folder, or a URL that fsspec knows"
        ) from None
    return files, root, arguments


def _status(error: BaseException | None) -> int:
    """HTTP status of an error, 0 where it has none."""
    status = getattr(error, "status", None) or getattr(error, "code", None)
    return status if isinstance(status, int) else 0


def _may_pass_by(error: BaseException | None) -> bool:
    """Whether another attempt may succeed: not where the place refused."""
    if isinstance(error, PermissionError | IsADirectoryError | NotADirectoryError) or _lacks_credentials(error):
        return False
    return not 400 <= _status(error) < 500 or _status(error) in (408, 425, 429)


def _lacks_credentials(error: BaseException | None) -> bool:
    """Whether none are set: botocore's NoCredentialsError and its like, google.auth's DefaultCredentialsError."""
    return "Credential" in type(error).__name__


def in_words(error: BaseException) -> str:
    """What went wrong, and what to do about it; never the URL, which may hold a password."""
    status = _status(error)
    if isinstance(error, PermissionError) or status in (401, 403, 407):
        return f"permission denied{f' (HTTP {status})' if status else ''}: check the credentials that fsspec is given"
    if _lacks_credentials(error):
        return "no credentials: set those of fsspec, or what the provider's own tools take (AWS_ACCESS_KEY_ID, …)"
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return f"nothing arrived for {TIMEOUT_S:.0f} s: is the place up, and the network?"
    if status:
        return f"HTTP {status} {getattr(error, 'message', '')}".rstrip()
    return f"{type(error).__name__}: {error}"
