"""Schedules, averaged weights, made inputs, memory: what the loop is put together of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from imagemill.errors import ConfigError
from imagemill.networks import create_network
from imagemill.networks.unet import FORMS
from imagemill.training.degrade import Degradation, degraded
from imagemill.training.memory import summarise
from imagemill.training.model_file import ModelSpec
from imagemill.training.optimise import AveragedWeights, Plateau, make_optimizer, rate_share
from imagemill.training.options import TrainOptions, parse_loss, train_options
from imagemill.training.plan import check_size
from imagemill.training.result import judged
from imagemill.transforms.corrupt import CorruptionOptions


def shares(schedule: str, total: int = 100, **options: object) -> list[float]:
    chosen = train_options({"schedule": schedule, **options})
    return [rate_share(step, total, chosen) for step in range(total)]


def test_one_cycle_rises_once_and_falls_to_nothing() -> None:
    rates = shares("one-cycle")
    top = int(np.argmax(rates))
    assert rates[top] == pytest.approx(1)
    assert 15 <= top <= 25
    assert np.all(np.diff(rates[: top + 1]) > 0)
    assert np.all(np.diff(rates[top + 1 :]) < 0)
    assert rates[0] < 0.1
    assert rates[-1] == pytest.approx(1e-4, abs=1e-6)


def test_cosine_and_constant_warm_up() -> None:
    assert shares("cosine", warmup=0.0)[0] == pytest.approx(1)
    assert shares("cosine")[-1] == pytest.approx(0, abs=1e-9)
    assert shares("constant", warmup=4)[:6] == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])


def test_a_plateau_halves_where_nothing_improves_and_only_there() -> None:
    plateau = Plateau(patience=2)
    assert [plateau.see(True) for _ in range(9)] == [False] * 9
    assert plateau.factor == 1
    assert [plateau.see(False) for _ in range(4)] == [False, False, True, False]
    assert plateau.factor == 0.5


def test_decay_pulls_on_kernels_alone() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    groups = make_optimizer(network, TrainOptions(weight_decay=0.1), 1e-3).param_groups
    assert [(group["weight_decay"], len(group["params"])) for group in groups] == [(0.1, 1), (0.0, 3)]


def test_averaged_weights_lag_behind_and_buffers_do_not() -> None:
    network = nn.BatchNorm2d(1)
    averaged = AveragedWeights(network, 0.9)
    with torch.no_grad():
        network.weight.fill_(2.0)
        network.running_mean.fill_(3.0)
    averaged.update(network)
    # The first decay is (1 + 1) / (10 + 1).
    assert averaged.tensors["weight"].item() == pytest.approx(1 * 2 / 11 + 2 * 9 / 11)
    assert averaged.tensors["running_mean"].item() == 3


def test_made_inputs_are_a_function_of_seed_epoch_and_index() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, 3, 16, 16), np.uint8)
    corruptions = CorruptionOptions(("jpeg",), ("gaussian_blur", "noise"), 1)
    degradation = Degradation(scale=2, noise=10, corruptions=corruptions, seed=4)
    first = degraded(degradation, pictures, 1, [5, 6, 7])
    assert first.shape == (3, 3, 8, 8)
    assert np.array_equal(first[1:], degraded(degradation, pictures[1:], 1, [6, 7]))
    assert not np.array_equal(first, degraded(degradation, pictures, 2, [5, 6, 7]))
    assert not np.array_equal(first, degraded(replace(degradation, seed=5), pictures, 1, [5, 6, 7]))


def test_noise_is_as_strong_as_asked() -> None:
    pictures = np.full((4, 3, 64, 64), 128, np.uint8)
    made = degraded(Degradation(noise=25), pictures, 0, range(4)).astype(np.float64)
    assert made.std() == pytest.approx(25, rel=0.02)
    assert made.mean() == pytest.approx(128, abs=0.5)


@pytest.mark.parametrize("name", ["residual-unet", "unet"])
def test_memory_is_what_autograd_keeps(name: str) -> None:
    network = create_network(name)
    own = {tensor.data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = network(torch.rand(2, 3, 128, 128))
    spec = ModelSpec(name, required_multiple=network.required_multiple)
    found = summarise(spec, (128, 128), 2)
    saved = sum(storage.nbytes() for pointer, storage in kept.items() if pointer not in own)
    assert output.shape == (2, 3, 128, 128)
    assert found.saved_bytes == pytest.approx(saved, rel=0.02)
    assert found.parameters == sum(weight.numel() for weight in network.parameters())


def test_a_summary_allocates_nothing() -> None:
    # A batch of 4096 of these would take four terabytes.
    found = summarise(ModelSpec("unet", {"variant": "head"}), (2048, 2048), 4096)
    assert found.saved_bytes > 10**12
    assert found.weight_bytes == 16 * FORMS["head"].parameters


def test_sizes_that_a_network_takes_are_named() -> None:
    spec = ModelSpec("unet", required_multiple=128)
    check_size(spec, (384, 256))
    with pytest.raises(ConfigError, match=r"640x960.*640x1024 or 640x896"):
        check_size(spec, (960, 640))


def test_what_beats_one_baseline_alone_is_no_improvement() -> None:
    baselines = {"identity": {"psnr": 25.0, "ciede2000": 7.0}, "table": {"psnr": 28.6, "ciede2000": 5.0}}
    assert judged("psnr", {"psnr": 28.7}, baselines)[0]
    improvement, said = judged("psnr", {"psnr": 28.5}, baselines)
    assert not improvement
    assert said.startswith("no improvement: table is as good or better, by 0.100")
    assert judged("ciede2000", {"ciede2000": 4.5}, baselines)[0]
    assert not judged("psnr", {}, {})[0]


def test_options_are_read_as_people_write_them() -> None:
    options = train_options({"size": "96x64", "loss": "l1+0.5*ssim", "learning_rate": "3e-4", "classes": "a,b"})
    assert options.size == (64, 96)
    assert options.loss == {"l1": 1.0, "ssim": 0.5}
    assert options.learning_rate == 3e-4
    assert options.classes == ("a", "b")
    assert train_options(options.to_json()) == options
    assert parse_loss({"mse": 2}) == {"mse": 2.0}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"epoch": 3}, "did you mean 'epochs'"),
        ({"schedule": "onecycle"}, "did you mean 'one-cycle'"),
        ({"loss": "l3"}, "loss 'l3' is none of"),
        ({"loss": "x*l1"}, "write terms as"),
        ({"scale": 3}, "1, 2, 4"),
        ({"learning_rate": 0}, "number above 0"),
        ({"batch_size": 0}, "from 1 on"),
        ({"ema": 1.0}, "below 1"),
    ],
)
def test_options_that_cannot_be_are_refused(table: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        train_options(table)
