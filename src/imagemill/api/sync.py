"""`sync`: a folder brought up to date by digest, or checked."""

from __future__ import annotations

from imagemill.api.given import OnProgress, PathLike
from imagemill.core.remote import place_of
from imagemill.prepare.sync import SyncOptions, SyncResult, check_record, require_record, sync_trees
from imagemill.prepare.sync_places import tree_of


def sync(
    source: PathLike | None,
    destination: PathLike,
    *,
    check: bool = False,
    dry_run: bool = False,
    delete: bool = False,
    force: bool = False,
    full: bool = False,
    on_progress: OnProgress | None = None,
) -> SyncResult:
    """Brings a folder up to date with another, file by file, by sha256; the same call again finishes what a kill left.

    Files are compared by digest; one that was read before and whose size, times and inode (ETag) are the same is
    not read again. The folder gets a record, `.imagemill-sync.jsonl`, of where it came from and what it holds;
    `.git` is left alone on both sides.

    Args:
        source: folder, or URL that fsspec opens; None is the one that the folder's record names (with `check`: the
            folder is held against its record alone).
        destination: folder, or URL that can be written to.
        check: says whether the folder is as it should be, and writes nothing; its every file is read (those of the
            source only where their times say that they may have changed).
        dry_run: says what would be done, and writes nothing.
        delete: removes files that the source has no more.
        force: overwrites (removes) files that were changed by hand, too; otherwise they are told and left.
        full: reads every file of both, whatever its times say.
        on_progress: called with the number of files copied since the last call.

    Raises:
        ConfigError: places that lie in each other, no record, a destination that cannot be written.
        RemoteError: a place elsewhere refuses.
        OutputInUse: another run is at work there.
        NoSpace: the disk is full.
    """
    target = tree_of(place_of(destination))
    if check and source is None:
        return check_record(target)
    origin = tree_of(place_of(source if source is not None else require_record(target).source))
    options = SyncOptions(dry_run=dry_run or check, delete=delete, force=force, check=check, full=full)
    return sync_trees(origin, target, options, on_progress=on_progress)
