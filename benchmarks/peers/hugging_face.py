"""Hugging Face datasets: Parquet, decoded by Pillow in torch workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from peers.base import Peer, Place, augment, torch_loader


class HuggingFace(Peer):
    name, package = "datasets (Parquet), Pillow", "datasets"

    def prepare(self, place: Place) -> None:
        import datasets

        datasets.disable_progress_bars()
        classes = sorted({name.partition("/")[0] for name, _ in place.pile.files})
        features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=classes)})

        def samples() -> Iterator[dict[str, Any]]:
            for name, label in place.pile.files:
                yield {"image": {"bytes": (place.pile.root / name).read_bytes(), "path": name}, "label": label}

        cache = str(place.storage / "cache")
        loaded = datasets.Dataset.from_generator(samples, features=features, cache_dir=cache)
        loaded.to_parquet(str(place.storage / "train.parquet"))

    def batches(self, place: Place) -> Iterable[int]:
        import datasets

        datasets.disable_progress_bars()
        transform = augment()

        def augmented(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
            return {"image": [transform(image.convert("RGB")) for image in rows["image"]], "label": rows["label"]}

        options: Any = {"split": "train", "cache_dir": str(place.storage / "read")}
        dataset = datasets.load_dataset("parquet", data_files=str(place.storage / "train.parquet"), **options)
        return torch_loader(dataset.with_transform(augmented), place.workers, shuffle=True, collate_fn=_tensors)


def _tensors(rows: list[dict[str, Any]]) -> tuple[Any, Any]:
    import torch

    return torch.stack([row["image"] for row in rows]), torch.tensor([row["label"] for row in rows])
