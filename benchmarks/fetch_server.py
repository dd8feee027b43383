"""Serves photographs over loopback, in a process of its own whose CPU time is nobody's.

    python benchmarks/fetch_server.py FOLDER

`/N.jpg` is the Nth photograph, modulo how many there are, with N in a comment, so that no two are equal. Prints
its port, then serves until its standard input ends.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"


def body_of(original: bytes, number: int) -> bytes:
    """The same JPEG with a comment after its first marker."""
    comment = b"%d" % number
    return b"\xff\xd8\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + original[2:]


async def main(folder: Path) -> None:
    originals = [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                name = head.split(b" ", 2)[1].strip(b"/").partition(b".")[0]
                if name.isdigit():
                    body = body_of(originals[int(name) % len(originals)], int(name))
                    writer.write(
                        b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(body)
                    )
                    writer.write(body)
                else:
                    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
