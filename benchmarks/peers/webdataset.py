"""webdataset: tar shards, decoded by Pillow in worker processes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from peers.base import BATCH, Counted, Peer, Place, augment


class WebDataset(Peer):
    name, package = "webdataset, Pillow", "webdataset"

    def prepare(self, place: Place) -> None:
        import webdataset

        count = max(1, len(place.pile) // 8)
        with webdataset.ShardWriter(str(place.storage / "shard-%06d.tar"), maxcount=count, verbose=0) as sink:
            for number, (name, label) in enumerate(place.pile.files):
                content = (place.pile.root / name).read_bytes()
                sink.write({"__key__": f"{number:09d}", "jpg": content, "cls": label})

    def batches(self, place: Place) -> Iterable[int]:
        import webdataset

        urls = sorted(map(str, place.storage.glob("*.tar")))
        dataset: Any = webdataset.WebDataset(urls, shardshuffle=len(urls)).shuffle(1000).decode("pil")
        dataset = dataset.to_tuple("jpg", "cls").map_tuple(augment()).batched(BATCH)
        options: Any = {"num_workers": place.workers, "persistent_workers": True}
        return Counted(webdataset.WebLoader(dataset, batch_size=None, **options))
