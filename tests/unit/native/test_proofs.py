"""The core's queue of files to prove: the same verdicts as one by one, hashes as everybody's, and files whole."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from unit.native.batches import jpegs, needs_core

from imagemill import native
from imagemill.native.proofs import Proof, ProofQueue, sha256
from imagemill.testing.images import photo, saved

pytestmark = needs_core

DIGESTS = """
import hashlib, random
from imagemill.native.proofs import sha256
rng = random.Random(0)
for size in [*range(300), 4096, 100_001]:
    content = rng.randbytes(size)
    assert sha256(content) == hashlib.sha256(content).digest(), size
"""


@contextmanager
def queue(threads: int) -> Iterator[tuple[ProofQueue, socket.socket]]:
    bell, rung = socket.socketpair()
    with bell, rung:
        bell.settimeout(60)
        made = ProofQueue(threads, rung.fileno())
        yield made, bell
        made.end()


def taken(proofs: ProofQueue, bell: socket.socket, count: int) -> dict[int, Proof]:
    found: dict[int, Proof] = {}
    while len(found) < count:
        bell.recv(16)
        found.update((proof.ticket, proof) for proof in proofs.take())
    return found


@pytest.mark.parametrize("processor", ["", "baseline"])
def test_digests_are_those_of_sha256(processor: str) -> None:
    environment = {**os.environ, "IMAGEMILL_CPU": processor, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", DIGESTS], env=environment, check=True)


@pytest.mark.parametrize("threads", [1, 3])
def test_files_are_proven_as_one_by_one_and_those_that_hold_are_written(threads: int, tmp_path: Path) -> None:
    rng = random.Random(threads)
    files = [*jpegs().values(), b"", b"\xff\xd8", saved(photo(20, 30), "PNG")]
    files += [file[: rng.randrange(len(file))] for file in files if file]
    with queue(threads) as (proofs, bell):
        for ticket, file in enumerate(files):
            proofs.put(file, ticket, 0, tmp_path / f"{ticket}.jpg", decode=True)
        found = taken(proofs, bell, len(files))
    assert sum(proof.holds for proof in found.values()) >= 5
    for ticket, file in enumerate(files):
        path = tmp_path / f"{ticket}.jpg"
        assert found[ticket].holds == native.prove_jpeg(file) == path.exists()
        if found[ticket].holds:
            assert (found[ticket].sha256, path.read_bytes()) == (hashlib.sha256(file).digest(), file)


def test_without_decoding_everything_holds(tmp_path: Path) -> None:
    with queue(2) as (proofs, bell):
        for ticket in range(200):
            proofs.put(b"%d" % ticket, ticket, 0, None, decode=False)
        found = taken(proofs, bell, 200)
    assert all(proof == (ticket, True, 0, sha256(b"%d" % ticket)) for ticket, proof in found.items())


def test_a_file_is_written_anew_and_an_error_is_told(tmp_path: Path) -> None:
    there = tmp_path / "there.jpg"
    there.write_bytes(bytes(1000))
    with queue(1) as (proofs, bell):
        proofs.put(b"short", 0, 0, there, decode=False)
        proofs.put(b"short", 1, 0, tmp_path, decode=False)
        found = taken(proofs, bell, 2)
    assert (there.read_bytes(), found[0].error, found[1].error) == (b"short", 0, errno.EISDIR)


def test_a_queue_may_be_ended_or_let_go_of_while_it_works() -> None:
    large = saved(photo(600, 800), "JPEG")
    for ends in (True, False):
        bell, rung = socket.socketpair()
        with bell, rung:
            proofs = ProofQueue(2, rung.fileno())
            for ticket in range(50):
                proofs.put(large, ticket, 0, None, decode=True)
            if ends:
                proofs.end()
                proofs.end()
            del proofs


def test_nobody_need_listen_to_the_bell() -> None:
    with queue(2) as (proofs, _):
        found = 0
        for ticket in range(2000):  # more rings than a socket holds
            proofs.put(b"", ticket, 0, None, decode=False)
            while found <= ticket:
                found += len(proofs.take())
