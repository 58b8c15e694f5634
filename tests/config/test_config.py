"""The configuration: every shipped one is whole, and what cannot be is refused in one sentence."""

import functools
import json
from typing import Any

import jax
import pytest

from configs import best, digits, ffhq, flowers, folder, lsun, networks
from inr_gan_jax.config.parse import default_config, parse_config
from inr_gan_jax.config.validate import ConfigError
from inr_gan_jax.planning.dry_run import abstract_step
from tests.conftest import tiny_config
from tests.marks import mostly_slow

SHIPPED = {"digits": digits.get_config, "lsun": lsun.get_config, "ffhq:1024": lambda: ffhq.get_config("1024")}
SHIPPED |= {f"digits:{name}": functools.partial(digits.get_config, name) for name in ("relativistic+ada", "hinge")}
SHIPPED["digits:diffaugment"] = functools.partial(digits.get_config, "diffaugment")
SHIPPED |= {"folder:16": lambda: folder.get_config("16")}
SHIPPED |= {f"lsun:church,{name}": functools.partial(lsun.get_config, f"church,{name}") for name in networks.NAMES[1:]}
SHIPPED |= {f"digits:{name}": functools.partial(digits.get_config, name) for name in networks.NAMES[1:]}
SHIPPED |= {f"flowers:{size}": functools.partial(flowers.get_config, size) for size in ("cpu,paper", "64,release,ada")}
SHIPPED |= {"best:flowers": functools.partial(best.get_config, "flowers,diffaugment")}
PUBLISHED_COUNTS = {
    "lsun": (114_344_968, 24_001_089),
    "ffhq:1024": (125_954_078, 24_038_161),
    "lsun:church,release": (72_436_573, 28_864_129),
    "lsun:church,bilinear": (72_436_573, 28_864_129),
    "lsun:church,cips": (24_387_477, 28_864_129),
    "lsun:church,stylegan2": (28_458_402, 28_864_129),
    # Of the official modules at these settings.
    "digits:release": (285_842, 181_249),
}


@pytest.mark.parametrize("name", mostly_slow(SHIPPED, fast=("digits", "digits:release")))
def test_every_configuration_passes_through_a_whole_step(name: str) -> None:
    config = parse_config(SHIPPED[name]())
    state, _, _, (after, scalars) = abstract_step(config)
    same = jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype), state, after)
    assert jax.tree.all(same)
    assert all(leaf.shape == () for leaf in jax.tree.leaves(scalars))
    if name in PUBLISHED_COUNTS:
        counts = [sum(x.size for x in jax.tree.leaves(t)) for t in (state.generator_params, state.discriminator_params)]
        assert tuple(counts) == PUBLISHED_COUNTS[name]


def test_variants_of_a_configuration_are_valid() -> None:
    parse_config(default_config())
    assert parse_config(lsun.get_config("bedroom,cips")).data.name == "lsun/bedroom"
    with pytest.raises(ValueError, match="unknown network 'vgg', expected one of paper, release"):
        lsun.get_config("church,vgg")
    with pytest.raises(ValueError, match="unknown recipe 'r3gan', expected one of relativistic, hinge, ada"):
        digits.get_config("hinge+r3gan")
    assert lsun.get_config("church,release,relativistic+ada").name == "lsun-church-release-relativistic-ada"
    assert parse_config(ffhq.get_config("256,cips,hinge")).loss.adversarial == "hinge"
    with pytest.raises(ValueError, match="no published hyper-parameters at 1024"):
        ffhq.get_config("1024,release")


def test_networks_of_small_pictures_keep_the_published_settings_in_proportion() -> None:
    small = parse_config(flowers.get_config("cpu,release")).release
    assert small is not None
    assert [(entry.resolution, entry.table_channels) for entry in small.coordinates] == [(16, 16), (32, 16)]
    assert (small.z_dim, small.w_dim, small.input_resolution, small.num_extra_layers) == (64, 64, 16, ())
    large = parse_config(flowers.get_config("128,release")).release
    published = parse_config(lsun.get_config("church,release")).release
    assert large is not None
    assert published is not None
    assert large.coordinates == published.coordinates[:3]
    assert (large.input_resolution, large.num_extra_layers) == (32, ((128, 1),))
    for side in (8, 32, 128):
        config = default_config()
        networks.apply_scaled_network(config, "cips", side, channel_base=side * 64, channel_max=64)
        cips = parse_config(config).release
        assert cips is not None
        assert [entry.resolution for entry in cips.coordinates] == [cips.input_resolution] == [side]


def test_digits_take_a_network_before_their_recipes() -> None:
    config = digits.get_config("release,relativistic+ada")
    assert (config.name, config.model) == ("digits-release-relativistic-ada", "release")
    assert digits.get_config("paper,ada").to_json() == digits.get_config("ada").to_json()
    with pytest.raises(ValueError, match="unknown recipe 'vgg,ada'"):
        digits.get_config("vgg,ada")


def test_best_names_its_sets() -> None:
    assert best.get_config().name == "best-digits"
    assert best.get_config("flowers,diffaugment").name == "best-flowers-diffaugment"
    with pytest.raises(ValueError, match=r"configs/best.py has no 'lsun', expected one of digits, flowers"):
        best.get_config("lsun")


def test_flowers_name_their_sizes() -> None:
    with pytest.raises(ValueError, match="no '256', expected one of 64, 128, cpu"):
        flowers.get_config("256")
    assert flowers.get_config("cpu").name == "flowers-cpu-paper"


def test_conditional_configuration_passes_through_a_whole_step() -> None:
    abstract_step(tiny_config(data={"num_classes": 10}))


def test_json_gives_the_configuration_back() -> None:
    config = parse_config(lsun.get_config())
    assert parse_config(json.loads(config.to_json())) == config


def test_folder_takes_powers_of_two() -> None:
    for argument in ("100", "8", "big"):
        with pytest.raises(ValueError, match=f"no '{argument}', expected a power of two, at least 16"):
            folder.get_config(argument)


def test_configuration_of_an_older_run_does_without_newer_keys() -> None:
    values = json.loads(tiny_config().to_json())
    for section in ("augment", "guard", "sharding"):
        values.pop(section)
    values["loss"].pop("pl_weight")
    for key in ("modulation", "modulation_activation", "scales", "fourier_source", "use_raw_coordinates"):
        values["paper"].pop(key)
    config = parse_config(values)
    assert (config.augment.kind, config.guard.action, config.loss.pl_weight) == ("none", "roll_back", 0.0)
    assert config.paper == tiny_config().paper


def test_lsun_names_its_categories() -> None:
    with pytest.raises(ValueError, match="no 'kitten', expected one of church, bedroom"):
        lsun.get_config("kitten")


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("training", "batch_size", 0, "training.batch_size is 0, expected at least 1"),
        ("training", "batch_size", 6, "batch_size is 6, expected a multiple of discriminator.mbstd_group_size = 4"),
        ("training", "batch_size", 4.5, "4.5 of type float, expected int"),
        ("training", "batch_size", True, "True of type bool, expected int"),
        ("training", "total_kimg", float("nan"), "total_kimg is nan, expected more than 0"),
        ("training", "sample_grid", (0, 8), "at least one row"),
        ("training", "sample_grid", (8,), "expected 2 entries"),
        ("data", "height", 6, "data.height is 6, expected 4, 8, 16, 32"),
        ("data", "height", 9, "data.height is 9, expected a multiple of 2"),
        ("data", "num_workers", -1, "data.num_workers is -1, expected 0 or more"),
        ("data", "cache_mib", -1, "data.cache_mib is -1, expected 0 or more"),
        ("data", "channels", 2, "data.channels is 2, expected 1 or 3"),
        ("paper", "features", (), "at least one block"),
        ("paper", "num_layers", (1,), r"num_layers is \(1,\), expected 2 entries"),
        ("paper", "num_layers", (0, 1), "at least 1 each"),
        ("paper", "num_fourier_features", (0, 4), "above 0 in every block"),
        ("paper", "modulation", "half", "modulation is 'half', expected one of factorised, full, none"),
        ("paper", "to_rgb", (True,), r"to_rgb is \(True,\), expected 2 entries"),
        ("paper", "activation", "gelu", "'gelu', expected one of relu, leaky_relu"),
        ("paper", "features", 64, "paper.features is 64, expected a tuple"),
        ("optimizer", "beta2", 1.0, "optimizer.beta2 is 1.0, expected 0 to below 1"),
        ("loss", "r1_gamma", -1.0, "loss.r1_gamma is -1.0, expected 0 or more"),
        ("discriminator", "channel_base", 4, "channel_base is 4, expected at least 8"),
        ("evaluation", "num_samples", 1, "num_samples is 1, expected at least 2"),
        ("discriminator", "mbstd_channels", -1, "mbstd_channels is -1, expected 0 or more"),
        ("discriminator", "mbstd_channels", 3, "mbstd_channels is 3, expected 0 or a divisor of the last width, 8"),
        ("loss", "style_mixing_prob", 0.9, "style_mixing_prob is 0.9, expected 0, as the paper model has one code"),
        ("loss", "style_mixing_prob", 1.5, "style_mixing_prob is 1.5, expected 0 to 1"),
        ("loss", "pl_weight", 2.0, "pl_interval is 1, expected at least 2 with loss.pl_weight above 0"),
        ("loss", "perceptual_weight", 10.0, "vgg16_file is '', expected the path of torchvision's vgg16 weights"),
        ("loss", "adversarial", "wgan", "adversarial is 'wgan', expected one of logistic, relativistic, hinge"),
        ("augment", "policy", ("colour",), r"policy\[0\] is 'colour', expected one of color, translation, cutout"),
        ("augment", "pipeline", "abc", "augment.pipeline is 'abc', expected one of blit, geom"),
        (
            "training",
            "num_microbatches",
            4,
            "num_microbatches is 4, expected a divisor of training.batch_size = 8, each",
        ),
        ("training", "precision", "float16", "precision is 'float16', expected one of float32, bfloat16"),
        ("guard", "action", "pray", "guard.action is 'pray', expected one of log, stop, roll_back"),
        ("guard", "metric_factor", 1.0, "metric_factor is 1.0, expected more than 1"),
    ],
)
def test_impossible_values_are_one_sentence(section: str, key: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        tiny_config(**{section: {key: value}})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"modulation": "none", "modulation_activation": "demod"}, "'demod', expected 'sigmoid' with .* = 'none'"),
        ({"modulation": "full", "equalised_lr": True}, "equalised_lr is True, expected False with"),
        ({"fourier_source": "learned", "num_fourier_features": (0, 0), "max_num_fixed_features": (8, 8)}, "'learned'"),
        ({"scales": "averaged", "to_rgb": (False, True)}, r"to_rgb is \(False, True\), expected True in every block"),
        (
            {"scales": "averaged"}
            | {key: (4,) for key in ("features", "num_layers", "num_fourier_features", "max_num_fixed_features")}
            | {"fourier_scale": (3.0,), "to_rgb": (True,)},
            r"paper.features is \(4,\), expected at least two blocks",
        ),
    ],
    ids=["no factors", "no shared weights", "nothing to learn", "no picture", "one block"],
)
def test_alternatives_that_exclude_each_other_are_one_sentence(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        tiny_config(paper=keys)
    assert "\n" not in str(caught.value)


def test_raw_coordinates_can_stand_alone() -> None:
    paper = tiny_config(paper={"num_fourier_features": (0, 0), "use_raw_coordinates": True}).paper
    assert paper is not None
    assert paper.use_raw_coordinates


@pytest.mark.parametrize(
    ("section", "key"), [("loss", "vgg16_file"), ("evaluation", "weights_file"), ("evaluation", "cache_dir")]
)
def test_files_of_a_disk_are_not_addresses(section: str, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"config.{section}.{key} is 'gs://b/x', expected a path on a disk"):
        tiny_config(**{section: {key: "gs://b/x"}})


def test_only_sets_of_others_are_mirrored() -> None:
    assert not folder.get_config("32").data.x_flip
    assert not digits.get_config().data.x_flip
    assert lsun.get_config().data.x_flip


def test_batch_must_divide_by_the_devices_asked_for() -> None:
    values = json.loads(tiny_config().to_json())
    with pytest.raises(ConfigError, match=r"multiple of config.num_devices = 3"):
        parse_config({**values, "num_devices": 3})


def test_unknown_and_missing_keys_are_named() -> None:
    values = json.loads(tiny_config().to_json())
    with pytest.raises(ConfigError, match=r"unknown key config.traning; nearest: training"):
        parse_config({**values, "traning": {}})
    values["release"]["coordinates"] = [{"table_channels": 8}]
    with pytest.raises(ConfigError, match=r"key config.release.coordinates\[0\].resolution is missing"):
        parse_config(values)


def test_pixel_metric_is_refused_for_large_pictures() -> None:
    with pytest.raises(ConfigError, match="pixel_fd takes at most 4096"):
        tiny_config(
            data={"height": 128, "width": 128}, discriminator={"channel_base": 256}, evaluation={"metric": "pixel_fd"}
        )


def test_kimg_become_steps() -> None:
    settings = tiny_config(training={"batch_size": 32}).training
    assert (settings.steps(0.0), settings.steps(0.001), settings.steps(1.0)) == (0, 1, 31)
