"""What no run can have: numbers out of range, and values that do not fit each other."""

import dataclasses
import operator
from typing import Any

from inr_gan_jax.config.schema import Config
from inr_gan_jax.errors import UserError
from inr_gan_jax.models.paper.settings import PaperSettings
from inr_gan_jax.setting import range_of

# The side at which the discriminator stops halving.
_SMALLEST_SIDE = 4
# Up to this many numbers per image, a covariance fits into memory and means something.
_MAX_PIXEL_FEATURES = 4096
# The smallest side that VGG16 halves four times and still has something left of.
_SMALLEST_PERCEPTUAL_SIDE = 16


class ConfigError(UserError):
    """A key, a type or a combination of values that is impossible."""


def _require(holds: bool, key: str, value: Any, expected: str) -> None:
    if not holds:
        raise ConfigError(f"config.{key} is {value!r}, expected {expected}")


def _validate_paths(config: Config) -> None:
    """Refuses addresses of buckets for files that are opened on a disk."""
    for key in ("compilation_cache_dir", "loss.vgg16_file", "evaluation.weights_file", "evaluation.cache_dir"):
        value = operator.attrgetter(key)(config)
        _require("://" not in value, key, value, "a path on a disk")


def validate(config: Config) -> None:
    """Checks ranges, and combinations that no run can have.

    Raises:
        ConfigError: for the first key that does not fit.
    """
    _validate_ranges(config, "")
    _require(bool(config.name) and "/" not in config.name, "name", config.name, "a file name")
    _require(config.data.channels in (1, 3), "data.channels", config.data.channels, "1 or 3")
    grid = config.training.sample_grid
    _require(min(grid) >= 1, "training.sample_grid", grid, "at least one row and one column")
    _require(
        getattr(config, config.model) is not None, config.model, None, f"a section, as config.model is {config.model!r}"
    )
    if config.model == "paper":
        _validate_blocks(config)
    else:
        _validate_release(config)
    _validate_discriminator(config)
    _validate_evaluation(config)
    _validate_losses(config)
    _validate_paths(config)
    _validate_batches(config)


def _validate_ranges(section: Any, prefix: str) -> None:
    """Checks the numbers of a section, and of those inside it, against the ranges of their fields."""
    for field in dataclasses.fields(section):
        value, allowed = getattr(section, field.name), range_of(field)
        if dataclasses.is_dataclass(value):
            _validate_ranges(value, f"{prefix}{field.name}.")
        elif allowed is not None and value is not None:
            _require(allowed.holds(value), f"{prefix}{field.name}", value, allowed.text)


def _validate_blocks(config: Config) -> None:
    paper = config.paper
    assert paper is not None, "checked by the caller"
    num_blocks = len(paper.features)
    _require(num_blocks >= 1, "paper.features", paper.features, "at least one block")
    for key in ("num_layers", "num_fourier_features", "fourier_scale", "max_num_fixed_features", "to_rgb"):
        value = getattr(paper, key)
        expected = f"{num_blocks} entries, as many as paper.features has"
        _require(len(value) == num_blocks, f"paper.{key}", value, expected)
    for key in ("features", "num_layers"):
        value = getattr(paper, key)
        _require(min(value) >= 1, f"paper.{key}", value, "at least 1 each")
    for key in ("num_fourier_features", "max_num_fixed_features"):
        value = getattr(paper, key)
        _require(min(value) >= 0, f"paper.{key}", value, "0 or more each")
    pairs = zip(paper.num_fourier_features, paper.max_num_fixed_features, strict=True)
    has_coordinates = paper.use_raw_coordinates or all(waves > 0 or fixed >= 4 for waves, fixed in pairs)
    expected = "above 0 in every block, or max_num_fixed_features of at least 4 there, or use_raw_coordinates"
    _require(has_coordinates, "paper.num_fourier_features", paper.num_fourier_features, expected)
    for key in ("height", "width"):
        value, multiple = getattr(config.data, key), 2 ** (num_blocks - 1)
        expected = (
            f"a multiple of {multiple}, because the generator's {num_blocks} blocks halve it {num_blocks - 1} times"
        )
        _require(value % multiple == 0, f"data.{key}", value, expected)
    _validate_alternatives(paper)


def _validate_alternatives(paper: PaperSettings) -> None:
    """Refuses settings without effect or meaning in combination with an alternative to the paper's network."""
    if paper.modulation != "factorised":
        expected = f"'sigmoid' with paper.modulation = {paper.modulation!r}, which has no factors"
        activation = paper.modulation_activation
        _require(activation == "sigmoid", "paper.modulation_activation", activation, expected)
    if paper.modulation == "full":
        expected = "False with paper.modulation = 'full', which has no shared weights"
        _require(not paper.equalised_lr, "paper.equalised_lr", paper.equalised_lr, expected)
    if paper.fourier_source == "learned":
        expected = "above 0 in a block, as paper.fourier_source is 'learned'"
        counts = paper.num_fourier_features
        _require(max(counts) > 0, "paper.num_fourier_features", counts, expected)
    if paper.scales == "averaged":
        expected = "at least two blocks, as paper.scales is 'averaged'"
        _require(len(paper.features) > 1, "paper.features", paper.features, expected)
        expected = "True in every block, as each adds an image of its own with paper.scales = 'averaged'"
        _require(all(paper.to_rgb), "paper.to_rgb", paper.to_rgb, expected)


def _validate_release(config: Config) -> None:
    """Checks what ReleaseSettings cannot know; they check themselves when the network is built."""
    height, width = config.data.height, config.data.width
    _require(height == width, "data.width", width, f"config.data.height = {height}, as the release networks are square")
    _require(height >= 4 and height & (height - 1) == 0, "data.height", height, "a power of two from 4 on")


def _validate_discriminator(config: Config) -> None:
    smaller = min(config.data.height, config.data.width)
    halvings = (smaller // _SMALLEST_SIDE).bit_length() - 1
    key = "height" if smaller == config.data.height else "width"
    is_power = smaller >= _SMALLEST_SIDE and smaller == _SMALLEST_SIDE << halvings
    _require(is_power, f"data.{key}", smaller, "4, 8, 16, 32 ... because the discriminator halves it down to 4")
    multiple = 1 << halvings
    for key in ("height", "width"):
        value = getattr(config.data, key)
        _require(value % multiple == 0, f"data.{key}", value, f"a multiple of {multiple}, as the discriminator halves")
    base = config.discriminator.channel_base
    _require(base >= smaller, "discriminator.channel_base", base, f"at least {smaller}, the smaller side of the image")
    batch = config.training.batch_size
    parts = config.discriminator.mbstd_channels
    width = min(base // _SMALLEST_SIDE, config.discriminator.channel_max)
    expected = f"0 or a divisor of the last width, {width}"
    _require(parts == 0 or width % parts == 0, "discriminator.mbstd_channels", parts, expected)
    group = config.discriminator.mbstd_group_size or batch
    expected = f"a multiple of discriminator.mbstd_group_size = {group}"
    _require(batch < group or batch % group == 0, "training.batch_size", batch, expected)


def _validate_losses(config: Config) -> None:
    loss, augment = config.loss, config.augment
    if loss.style_mixing_prob:
        expected = "0, as the paper model has one code for all layers"
        _require(config.model != "paper", "loss.style_mixing_prob", loss.style_mixing_prob, expected)
    if loss.pl_weight:
        expected = "at least 2 with loss.pl_weight above 0, as path length has steps of its own"
        _require(loss.pl_interval >= 2, "loss.pl_interval", loss.pl_interval, expected)
    if loss.perceptual_weight:
        expected = "the path of torchvision's vgg16 weights (.pth or .npz), as loss.perceptual_weight is above 0"
        _require(bool(loss.vgg16_file), "loss.vgg16_file", loss.vgg16_file, expected)
        side = min(config.data.height, config.data.width)
        expected = f"at least {_SMALLEST_PERCEPTUAL_SIDE} with loss.perceptual_weight above 0"
        _require(side >= _SMALLEST_PERCEPTUAL_SIDE, "data.height", side, expected)
    _require(len({*augment.policy}) == len(augment.policy), "augment.policy", augment.policy, "each name once")


def _validate_batches(config: Config) -> None:
    """Checks that a batch can be divided into microbatches and over devices with its statistics unchanged."""
    batch, rounds = config.training.batch_size, config.training.num_microbatches
    group = min(config.discriminator.mbstd_group_size or batch, batch) if config.discriminator.mbstd_channels else 1
    expected = f"a divisor of training.batch_size = {batch}, each part whole groups of {group} (mbstd_group_size)"
    _require(batch % (rounds * group) == 0, "training.num_microbatches", rounds, expected)
    if config.loss.pl_weight:
        small = batch // config.loss.pl_batch_shrink
        expected = f"such that training.batch_size = {batch} divides by it and then by {rounds} microbatches"
        holds = batch % config.loss.pl_batch_shrink == 0 and small > 0 and small % rounds == 0
        _require(holds, "loss.pl_batch_shrink", config.loss.pl_batch_shrink, expected)
    spatial, height = config.sharding.spatial, config.data.height
    _require(height % spatial == 0, "sharding.spatial", spatial, f"a divisor of data.height = {height}")
    if config.num_devices:
        devices = config.num_devices
        _require(devices % spatial == 0, "sharding.spatial", spatial, f"a divisor of config.num_devices = {devices}")
        expected = f"a multiple of config.num_devices = {devices}" + f" / {spatial}" * (spatial > 1)
        _require(batch % (devices // spatial) == 0, "training.batch_size", batch, expected)


def _validate_evaluation(config: Config) -> None:
    if config.evaluation.metric != "pixel_fd":
        return
    size = config.data.height * config.data.width * config.data.channels
    expected = f"another metric for {size} numbers an image; pixel_fd takes at most {_MAX_PIXEL_FEATURES}"
    _require(size <= _MAX_PIXEL_FEATURES, "evaluation.metric", "pixel_fd", expected)
