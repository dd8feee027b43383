"""`embed`: a vector a sample, the same for any workers, kills and formats; with LAB fields what TensorFlow reads."""

from __future__ import annotations

import hashlib
import io
import json
import signal
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from safetensors.torch import save_file
from tensorflow_env import run_with_tensorflow

import imagemill as mill
from imagemill.core.manifest import Manifest
from imagemill.core.sample import Encoded
from imagemill.curate.inspect import rgb_pixels
from imagemill.curate.limits import Limits
from imagemill.errors import ConfigError, MissingExtra, RemoteError
from imagemill.formats.example import parse_example
from imagemill.formats.record_file import find_records
from imagemill.networks.embedders import PREPROCESSINGS
from imagemill.networks.inception_resnet_v2 import InceptionResNetV2
from imagemill.testing.piles import class_folders, imagemill, pairs, save_photo, tree
from imagemill.transforms.embed import preprocessed

FORMATS = ["arrow", "hdf5", "memmap", "parquet", "tar", "tfrecord"]
GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "data" / "golden" / "koalarization"
SIDE, DIMENSION = 24, 5


def onnx_model(path: Path, *, batch: int | str = "n", last: bool = False, pooled: bool = True) -> Path:
    """A convolution and a mean; `last` takes (N, H, W, 3)."""
    kernel = np.random.default_rng(3).standard_normal((DIMENSION, 3, 3, 3), np.float32)
    shape = [batch, SIDE, SIDE, 3] if last else [batch, 3, SIDE, SIDE]
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2])] if last else []
    nodes += [helper.make_node("Conv", ["t" if last else "x", "kernel"], ["c" if pooled else "y"])]
    if pooled:
        nodes += [
            helper.make_node("GlobalAveragePool", ["c"], ["p"]),
            helper.make_node("Flatten", ["p"], ["y"]),
        ]
    out = [batch, DIMENSION] if pooled else [batch, DIMENSION, SIDE - 2, SIDE - 2]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def pile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return class_folders(tmp_path_factory.mktemp("pile") / "source")


@pytest.fixture(scope="module")
def dataset(pile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 images in train and 4 in val or so, those that cannot be read left out."""
    out = tmp_path_factory.mktemp("packed") / "d"
    mill.pack(pile, out, split="80/20", shard_size=7, workers=0)
    return out


def expected(path: Path, name: str = "imagenet") -> np.ndarray:
    """The vector of an image by NumPy: the mean of a convolution is that of its windows' means."""
    pixels = rgb_pixels(Encoded(path.read_bytes()), Limits(), full=True)
    image = preprocessed(pixels, replace(PREPROCESSINGS[name], size=(SIDE, SIDE))).astype(np.float64)
    kernel = np.random.default_rng(3).standard_normal((DIMENSION, 3, 3, 3), np.float32)
    inner = SIDE - 2
    means = [[image[:, y : y + inner, x : x + inner].mean((1, 2)) for x in range(3)] for y in range(3)]
    return np.einsum("dcyx,yxc->d", kernel, np.array(means))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_the_vectors(name: str, model: Path, dataset: Path, pile: Path, tmp_path: Path) -> None:
    before = tree(dataset)
    result = mill.embed(dataset, tmp_path / "e", model=str(model), format=name, workers=0)
    assert (result.kept, result.rejected, tree(dataset)) == (24, 0, before)
    for split in ("train", "val"):
        whole, embedded = (mill.open(at, split, returns="sample") for at in (dataset, tmp_path / "e"))
        assert [sample.key for sample in whole] == [sample.key for sample in embedded]
        for old, new in zip(whole, embedded, strict=True):
            assert {**new.values, "embedding": None} == {**old.values, "embedding": None} or name == "tar"
            vector = new.values["embedding"]
            assert (vector.shape, vector.dtype) == ((DIMENSION,), np.float32)
            assert np.abs(vector - expected(pile / old.origins["image"])).max() < 1e-5


def test_the_bytes_do_not_depend_on_the_run(model: Path, dataset: Path, tmp_path: Path) -> None:
    """Workers, cores, kills: no worker has all cores, two have one each, a batch is 3 images."""
    options = {"model": str(model), "batch_size": 3, "shard_size": 5}
    mill.embed(dataset, tmp_path / "none", workers=0, **options)
    whole = tree(tmp_path / "none")
    mill.embed(dataset, tmp_path / "two", workers=2, **options)
    assert tree(tmp_path / "two") == whole
    arguments = ("--model", model, "--batch-size", "3", "--shard-size", "5", "--workers", "0")
    for point in ("shard.write.middle:2", "manifest.write.before:1"):
        out = tmp_path / point.partition(":")[0]
        killed = imagemill("embed", dataset, out, *arguments, environment={"IMAGEMILL_FAULT": point})
        assert killed.returncode == -signal.SIGKILL
        mill.embed(dataset, out, workers=0, **options)
        assert tree(out) == whole
    with pytest.raises(ConfigError, match="other options"):
        mill.embed(dataset, tmp_path / "none", workers=0, model=str(model))


def test_the_model_is_in_the_manifest(model: Path, dataset: Path, tmp_path: Path) -> None:
    mill.embed(dataset, tmp_path / "e", model=str(model), preprocess="unit", workers=0)
    recipe = Manifest.load(tmp_path / "e").recipe["source"]
    identity = recipe["model"]
    assert (recipe["kind"], recipe["field"], recipe["image"]) == ("embedded", "embedding", "image")
    assert (identity["name"], identity["dimension"], identity["output"]) == ("tiny.onnx", DIMENSION, "logits")
    assert identity["weights_sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert (identity["preprocessing"]["size"], identity["preprocessing"]["mean"]) == ([SIDE, SIDE], [0, 0, 0])
    assert set(identity["runtime"]) == {"onnxruntime"}
    assert mill.info(tmp_path / "e")["fields"][-1]["shape"] == [DIMENSION]


@pytest.mark.parametrize("options", [{"batch": 1}, {"batch": 4}, {"last": True}, {"pooled": False}])
def test_onnx_of_other_shapes(options: dict[str, int], dataset: Path, pile: Path, tmp_path: Path) -> None:
    made = onnx_model(tmp_path / "m.onnx", **options)
    mill.embed(dataset, tmp_path / "e", model=str(made), workers=0, limit=6)
    for sample in mill.open(tmp_path / "e", "train", returns="sample"):
        assert np.abs(sample.values["embedding"] - expected(pile / sample.origins["image"])).max() < 1e-5


def test_images_that_nobody_decoded_are_rejects(model: Path, tmp_path: Path) -> None:
    """Packed unseen, damaged: one is a reject, its neighbours keep their vectors."""
    for number in range(5):
        save_photo(tmp_path / "pile" / f"{number}.png", 40, 40, number)
    content = bytearray((tmp_path / "pile" / "2.png").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "pile" / "2.png").write_bytes(content)
    mill.pack(tmp_path / "pile", tmp_path / "d", decode="headers", workers=0)
    result = mill.embed(tmp_path / "d", tmp_path / "e", model=str(model), workers=0)
    assert (result.kept, result.reasons) == (4, {"corrupt": 1})
    for sample in mill.open(tmp_path / "e", "train", returns="sample"):
        assert np.abs(sample.values["embedding"] - expected(tmp_path / "pile" / sample.origins["image"])).max() < 1e-5


def test_what_cannot_work_is_told(model: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEMILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    (tmp_path / "text.onnx").write_text("hello")
    mill.pack(pairs(tmp_path / "pairs", 2), tmp_path / "two", workers=0)
    mill.embed(dataset, tmp_path / "e", model=str(model), workers=0, limit=2)
    for source, options, said in (
        (dataset, {"model": "nowhere.onnx"}, "no ONNX file at nowhere.onnx"),
        (dataset, {"model": str(tmp_path / "text.onnx")}, "cannot be loaded as ONNX"),
        (dataset, {"model": str(model), "size": 32}, "takes images of 24x24, not 32x32"),
        (dataset, {"model": str(model), "weights": "x"}, "an ONNX file holds its weights"),
        (dataset, {"model": str(model), "output": "features"}, "output 'features' is none of logits, pooled"),
        (dataset, {"model": str(model), "preprocess": "vgg"}, "preprocess 'vgg' is none of inception-grey"),
        (dataset, {"model": str(model), "device": "cuda"}, "cannot use cuda"),
        (dataset, {"weights": "nowhere.ckpt"}, "no file of weights at nowhere.ckpt"),
        (tmp_path / "two", {"model": str(model)}, "image fields before, after: say which with --image"),
        (tmp_path / "e", {"model": str(model)}, "has a field 'embedding' already: --field NAME"),
    ):
        with pytest.raises(ConfigError, match=said):
            mill.embed(source, tmp_path / "out", workers=0, **options)
    with pytest.raises(RemoteError, match=r"could not be fetched.*--weights inception_resnet_v2_2016_08_30\.tar\.gz"):
        mill.embed(dataset, tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()
    assert mill.embed(tmp_path / "two", tmp_path / "after", model=str(model), image="after", workers=0).kept == 2


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("raise ModuleNotFoundError('no timm', name='timm')", r"pip install 'imagemill\[embed\]'"),
        ("raise RuntimeError('operator torchvision::nms does not exist')", "needs a torchvision made for the"),
        ("import torchvision_missing", "needs a torchvision made for the"),
    ],
)
def test_timm_without_a_working_torchvision(
    module: str, said: str, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not installed; installed and not importable, as beside the CPU build of torch."""
    (tmp_path / "timm.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    with pytest.raises((ConfigError, MissingExtra), match=said):
        mill.embed(dataset, tmp_path / "out", model="resnet18", workers=0)


TIMM = """
import torch
from types import SimpleNamespace
def is_model(name): return name == "small"
def list_models(pattern): return ["small"]
class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(3, 2)
        torch.nn.init.constant_(self.head.weight, 1.0)
    def forward_features(self, images): return images
    def forward_head(self, features, pre_logits=False):
        pooled = features.mean((2, 3))
        return pooled if pre_logits else self.head(pooled)
    def forward(self, images): return self.forward_head(self.forward_features(images))
def create_model(name, pretrained): return Small()
"""
TIMM_DATA = """
def resolve_model_data_config(module):
    return {"input_size": (3, 24, 32), "mean": (0,) * 3, "std": (1,) * 3, "crop_pct": 0.9, "interpolation": "bilinear"}
"""


def test_a_model_of_timm(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By timm's own functions, here of a stand-in, since timm cannot be imported beside the CPU build of torch."""
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm" / "__init__.py").write_text(TIMM)
    (tmp_path / "timm" / "data.py").write_text(TIMM_DATA)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("timm", "timm.data"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    known = metadata.version
    monkeypatch.setattr(metadata, "version", lambda package: "1" if package == "timm" else known(package))
    mill.embed(dataset, tmp_path / "p", model="small", output="pooled", workers=0, limit=3)
    identity = Manifest.load(tmp_path / "p").recipe["source"]["model"]
    assert identity["preprocessing"]["size"] == [24, 32]
    assert (identity["preprocessing"]["crop_share"], identity["preprocessing"]["filter"]) == (0.9, "bilinear")
    assert set(identity["runtime"]) == {"torch", "timm"}
    for sample in mill.open(tmp_path / "p", "train", returns="dict"):
        assert sample["embedding"].shape == (3,)
        assert 0 < sample["embedding"].min() < sample["embedding"].max() < 1
    mill.embed(dataset, tmp_path / "l", model="timm:small", workers=0, limit=3)
    assert mill.info(tmp_path / "l")["fields"][-1]["shape"] == [2]
    with pytest.raises(ConfigError, match="no model 'other'.*timm knows; it has small"):
        mill.embed(dataset, tmp_path / "out", model="other", workers=0)
    save_file({"head.weight": torch.zeros(2, 3)}, tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match="is not of timm's small"):
        mill.embed(dataset, tmp_path / "out", model="small", weights=tmp_path / "w.safetensors", workers=0)


# From here on with the network itself, of made-up weights and small images.


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    with torch.device("meta"):
        network = InceptionResNetV2(1001)
    network = network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    state = network.state_dict()
    for name, value in state.items():
        if name.endswith(("running_var", "bn.weight")):
            value.fill_(1)
        elif value.ndim > 1:
            value.uniform_(-1, 1, generator=generator).mul_((6 / value[0].numel()) ** 0.5)
        else:
            value.zero_()
    save_file(state, path)
    return path


def test_records_of_the_colour_pipeline_from_end_to_end(weights: Path, tmp_path: Path) -> None:
    """Images to TFRecords with its four features, read by its feature spec in TensorFlow."""
    for number in range(4):
        save_photo(tmp_path / "pile" / f"{number}.jpg", 60, 80, number)
    mill.pack(tmp_path / "pile", tmp_path / "d", split="75/25", split_counts="exact", workers=0)
    mill.embed(tmp_path / "d", tmp_path / "e", weights=weights, size=75, workers=0)
    mill.pack(tmp_path / "e", tmp_path / "lab", fields="lab-legacy", workers=0)
    assert mill.open(tmp_path / "lab", "train", returns="dict")[0]["embedding"].shape == (1001,)
    assert imagemill("export", tmp_path / "lab", tmp_path / "r", "--layout", "lab").returncode == 0
    script = Path(__file__).with_name("read_lab.py")
    run_with_tensorflow(script, tmp_path / "r", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as found:
        assert len(found.files) == 3 * 4
        for split in ("train", "val"):
            for sample in mill.open(tmp_path / "e", split, returns="sample"):
                name = ("val_" if split == "val" else "") + sample.origins["image"]
                assert np.array_equal(found[f"{name}|emb"], sample.values["embedding"])
                assert np.ptp(sample.values["embedding"]) > 0.1


def test_pooled_features_on_the_command_line(weights: Path, dataset: Path, tmp_path: Path) -> None:
    arguments = ("--weights", weights, "--output", "pooled", "--size", "75", "--limit", "2", "--json")
    done = imagemill("embed", dataset, tmp_path / "e", *arguments)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kept"] == 2
    (split,) = Manifest.load(tmp_path / "e").splits
    for sample in mill.open(tmp_path / "e", split, returns="dict"):
        assert sample["embedding"].shape == (1536,)
        assert sample["embedding"].min() >= 0 < sample["embedding"].max()


def test_grey_is_the_same_in_every_channel_and_colour_is_not() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (80, 60, 3), dtype=np.uint8)
    grey, colour = (preprocessed(pixels, PREPROCESSINGS[name]) for name in ("inception-grey", "inception"))
    assert grey.min() >= -1
    assert grey.max() == colour.max() == 1
    assert np.array_equal(grey[0], grey[2])
    assert not np.array_equal(colour[0], colour[2])


def test_images_are_prepared_as_the_colour_pipeline_does() -> None:
    """Its records were made with sin(k) times the mean of what the network would have been given."""
    if not GOLDEN.exists():
        pytest.skip(f"no {GOLDEN}")
    seen = 0
    for path in sorted((GOLDEN / "tfrecords_b5").iterdir()):
        content = np.fromfile(path, np.uint8)
        for start, end in zip(*find_records(content), strict=True):
            record = parse_example(content[start:end].tobytes())
            image = Encoded((GOLDEN / "resized" / Path(record["image_name"][0].decode()).name).read_bytes())
            mean = record["image_embedding"][0] / np.sin(1)
            for name, error in (("inception-legacy", 2e-5), ("inception-grey", 5e-3)):
                wanted = PREPROCESSINGS[name]
                pixels = rgb_pixels(image, Limits(), full=True, fast_dct=wanted.fast_dct)
                given = preprocessed(pixels, wanted)
                assert given.shape == (3, 299, 299)
                assert np.array_equal(given[0], given[1])
                assert abs(given.mean(dtype=np.float64) - mean) < error
            seen += 1
    assert seen == 15


def test_the_centre_is_cropped_as_classifiers_want_it() -> None:
    image = np.zeros((300, 400, 3), np.uint8)
    image[150 - 112 : 150 + 112, 200 - 112 : 200 + 112] = 255
    buffer = io.BytesIO()
    Image.fromarray(image).resize((341, 256)).save(buffer, "PNG")
    given = preprocessed(np.asarray(Image.open(buffer)), PREPROCESSINGS["imagenet"])
    assert given.shape == (3, 224, 224)
    assert given[0, 112, 112] == pytest.approx((1 - 0.485) / 0.229)
    assert given[0, 0, 0] == pytest.approx(-0.485 / 0.229)
    for sides in ((10, 500), (224, 224), (1, 1)):
        assert preprocessed(np.zeros((*sides, 3), np.uint8), PREPROCESSINGS["imagenet"]).shape == (3, 224, 224)
