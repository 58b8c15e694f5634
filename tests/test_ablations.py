"""Every row of the ablations is a configuration that trains, and differs from its base in what its name says."""

import jax
import numpy as np
import pytest

from configs import ablations
from inr_gan_jax.config.parse import default_config, parse_config
from inr_gan_jax.config.validate import ConfigError
from inr_gan_jax.metrics.networks.vgg16 import convolution_shapes
from inr_gan_jax.metrics.networks.weight_files import channels_last
from inr_gan_jax.planning.dry_run import abstract_step
from tests.marks import mostly_slow

# The base is a configuration that is tested beside the others; the flowers have what the digits have no room for.
ROWS = [*ablations.distinct_names("digits")[1:], "flowers,scales_4"]


def paper_of(argument: str) -> dict:
    return ablations.get_config(argument).to_dict()["paper"]


@pytest.mark.parametrize("argument", mostly_slow(ROWS, fast=("base", "scales_averaged")))
def test_every_row_passes_through_a_whole_step(argument: str) -> None:
    config = parse_config(ablations.get_config(argument))
    state, _, _, (after, _) = abstract_step(config)
    same = jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype), state, after)
    assert jax.tree.all(same)


@pytest.mark.slow
def test_perceptual_row_needs_the_file_and_then_passes_through_a_whole_step() -> None:
    row = ablations.get_config("flowers,perceptual")
    with pytest.raises(ConfigError, match="vgg16_file is '', expected the path of torchvision's vgg16 weights"):
        parse_config(row)
    row.loss.vgg16_file = "vgg16.pth"
    weights = channels_last({name: np.zeros(size, np.float32) for name, size in convolution_shapes().items()})
    _, _, _, (_, scalars) = abstract_step(parse_config(row), jax.eval_shape(lambda: weights))
    assert any("loss/perceptual" in phase for phase in scalars.values())


def test_rows_that_nothing_tells_from_the_base_are_left_out() -> None:
    names = ablations.distinct_names("digits")
    assert set(ablations.NAMES) - set(names) == {"sigmoid", "scales_4", "scales_all", "fourier_emitted", "perceptual"}
    names = ablations.distinct_names("flowers")
    missing = {"sigmoid", "rank_10", "scales_2", "scales_all", "fourier_emitted"}
    assert set(ablations.NAMES) - set(names) == missing


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("rank_30", {"rank": 30}),
        ("modulation_full", {"modulation": "full"}),
        ("demod", {"modulation_activation": "demod"}),
        ("fourier_learned", {"fourier_source": "learned"}),
        ("fourier_fixed", {"num_fourier_features": (0, 0), "max_num_fixed_features": (16, 16)}),
        ("fourier_none", {"num_fourier_features": (0, 0), "use_raw_coordinates": True}),
        ("scales_2", {"training_rule": "paper"}),
        ("scales_averaged", {"training_rule": "paper", "scales": "averaged", "num_layers": (2, 3)}),
    ],
)
def test_row_changes_nothing_else(name: str, changes: dict) -> None:
    base, row = (ablations.get_config(each).to_dict() for each in ("base", name))
    named = {"name": f"ablation-digits-{name}", "paper": {**base["paper"], **changes}}
    assert row == {**base, **named}


@pytest.mark.parametrize(
    ("argument", "num_layers"),
    [("scales_1", (5,)), ("flowers,scales_1", (9,)), ("flowers,scales_2", (4, 4)), ("flowers,scales_4", (1, 1, 2, 2))],
)
def test_depth_stays_connectors_counted(argument: str, num_layers: tuple) -> None:
    assert paper_of(argument)["num_layers"] == num_layers


def test_scales_keep_the_finest_blocks_and_repeat_the_coarsest() -> None:
    assert paper_of("flowers,scales_1")["features"] == (32,)
    assert paper_of("flowers,scales_4")["features"] == (64, 64, 64, 32)


def test_any_network_of_the_paper_can_be_a_base() -> None:
    config = default_config()
    ablations.apply_alternative(config, "scales_all")
    paper = parse_config(config).paper
    assert paper is not None
    assert paper.features == (*(512,) * 6, 256)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("rank_2", "configs/ablations.py has no 'rank_2', expected one of base, modulation_none, rank_1"),
        ("birds,rank_1", "configs/ablations.py has no 'birds', expected one of"),
        ("digits,scales_4", "scales_4 needs images of at least 32 pixels per side, these have 8"),
        ("perceptual", "perceptual needs images of at least 16 pixels per side, these have 8"),
        ("rank_1,sunshine", "unknown recipe 'sunshine'"),
    ],
)
def test_impossible_rows_are_one_sentence(argument: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        ablations.get_config(argument)
    assert "\n" not in str(caught.value)


def test_recipes_follow_the_row() -> None:
    config = ablations.get_config("flowers,tanh,hinge+diffaugment")
    assert config.name == "ablation-flowers-tanh-hinge-diffaugment"
    assert (config.paper.modulation_activation, config.loss.adversarial) == ("tanh", "hinge")
