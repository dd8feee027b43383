"""What `load.py` compares: one file a package, each used through its public API as its documentation shows it."""

from __future__ import annotations

from peers.base import Peer
from peers.dali import Dali
from peers.ffcv import Ffcv
from peers.grain import Grain
from peers.hugging_face import HuggingFace
from peers.imagemill_loader import ImagemillLoader
from peers.litdata import LitData
from peers.numpy_rows import H5pyRows, NumpyGather, NumpyRowCopy, NumpyWorkers
from peers.spdl import Spdl
from peers.streaming import Streaming
from peers.torch_workers import OpenCvWorkers, PillowWorkers
from peers.webdataset import WebDataset

PEERS: tuple[Peer, ...] = (
    ImagemillLoader("imagemill"),
    ImagemillLoader("imagemill, recoded", modes=("original", "resized"), pixels="recoded"),
    ImagemillLoader("imagemill, recoded-compact", modes=("original",), pixels="recoded-compact"),
    ImagemillLoader("imagemill, channels_last", modes=("raw",), channels_last=True),
    ImagemillLoader("imagemill, channels_last, every digest", modes=("raw",), channels_last=True, verify="always"),
    Ffcv(),
    Dali("DALI", antialias=True),
    Dali("DALI, antialias=False", antialias=False),
    OpenCvWorkers(),
    PillowWorkers(),
    Spdl(),
    Grain(),
    HuggingFace(),
    LitData(),
    WebDataset(),
    Streaming(),
    NumpyGather(),
    NumpyRowCopy(),
    NumpyWorkers(),
    H5pyRows(),
)

__all__ = ["PEERS", "Peer"]
