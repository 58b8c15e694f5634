"""Constructor arguments of the official networks, as they stand in a checkpoint, to our settings."""

import math
from collections.abc import Collection, Mapping
from typing import Any

from inr_gan_jax.errors import UserError
from inr_gan_jax.models.discriminator import Discriminator
from inr_gan_jax.models.release.architecture import ReleaseArchitecture
from inr_gan_jax.models.release.settings import CoordinateSettings

# They choose precision, memory layout and caches, and change no mathematics.
_EXECUTION_KEYS = frozenset({"num_fp16_res", "fp16_channels_last", "use_full_cache", "fp32"})
_GENERATOR_KEYS = frozenset(
    {"z_dim", "c_dim", "w_dim", "img_resolution", "img_channels", "mapping_kwargs", "synthesis_kwargs", "cfg"}
)
_SYNTHESIS_KEYS = frozenset({"channel_base", "channel_max", "conv_clamp", "architecture"}) | _EXECUTION_KEYS
_MAPPING_KEYS = frozenset({"num_layers", "embed_features", "layer_features", "lr_multiplier", "w_avg_beta"})
# fmaps and mapping_net_n_layers were turned into channel_base and num_layers before the network was built.
_CONFIG_KEYS = frozenset(
    {"upsampling_mode", "use_noise", "num_extra_convs", "input", "coords", "fmm", "fmaps", "mapping_net_n_layers"}
)
_COORDINATE_KEYS = frozenset(
    {
        "log_emb_size",
        "use_diagonal",
        "random_emb_size",
        "shared_emb_size",
        "predictable_emb_size",
        "const_emb_size",
        "use_raw_coords",
        "use_cosine",
        "fourier_scale",
        "init_dist",
    }
)
_DISCRIMINATOR_KEYS = frozenset(
    {
        "c_dim",
        "img_resolution",
        "img_channels",
        "architecture",
        "channel_base",
        "channel_max",
        "conv_clamp",
        "cmap_dim",
        "block_kwargs",
        "mapping_kwargs",
        "epilogue_kwargs",
    }
)
_UPSAMPLING = {"nearest": "nearest", "bilinear": "bilinear", None: "fir"}
_INPUTS = {"coords": "coordinates", "const": "const"}
_DISTRIBUTIONS = {"randn": "normal", "rand": "uniform"}
_MAX_DEPTH = 16
_MAX_VISITS = 10_000


def generator_settings(init_kwargs: Mapping[str, Any]) -> ReleaseArchitecture:
    """Reads the settings of a generator.

    Args:
        init_kwargs: constructor arguments of the official `Generator`; `cfg` may hold references such as `${coords}`.

    Raises:
        UserError: if an argument is missing, unknown, or asks for a network that this family does not contain.
    """
    _check_keys(init_kwargs, _GENERATOR_KEYS, "the generator")
    mapping = _section(init_kwargs, "mapping_kwargs", required=False)
    _check_keys(mapping, _MAPPING_KEYS, "mapping_kwargs")
    synthesis = _section(init_kwargs, "synthesis_kwargs", required=False)
    _check_keys(synthesis, _SYNTHESIS_KEYS, "synthesis_kwargs")
    _choose({"skip": "skip"}, synthesis.get("architecture", "skip"), "architecture")
    config = _section(init_kwargs, "cfg")
    config = _References(config).resolved(config)
    _check_keys(config, _CONFIG_KEYS | _EXECUTION_KEYS, "cfg")
    try:
        return ReleaseArchitecture(
            resolution=init_kwargs["img_resolution"],
            channels=init_kwargs["img_channels"],
            z_dim=init_kwargs["z_dim"],
            c_dim=init_kwargs["c_dim"],
            w_dim=init_kwargs["w_dim"],
            num_mapping_layers=mapping.get("num_layers", 8),
            mapping_lr_multiplier=mapping.get("lr_multiplier", 0.01),
            label_features=mapping.get("embed_features"),
            mapping_features=mapping.get("layer_features"),
            w_avg_decay=mapping.get("w_avg_beta", 0.995),
            channel_base=synthesis.get("channel_base", 32768),
            channel_max=synthesis.get("channel_max", 512),
            conv_clamp=synthesis.get("conv_clamp"),
            **_config_settings(config, init_kwargs["img_resolution"]),
        )
    except KeyError as error:
        raise UserError(f"the generator was stored without its argument {error.args[0]!r}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"the arguments of the generator make no network: {error}") from error


def _config_settings(config: Mapping[str, Any], resolution: int) -> dict[str, Any]:
    """Fields of ReleaseArchitecture that the section `cfg` decides."""
    source = _section(config, "input")
    coordinates = _section(config, "coords")
    factors = _section(config, "fmm")
    with_coordinates = bool(coordinates["enabled"])
    joins = with_coordinates and not coordinates.get("fallback", False)
    input_type = _choose(_INPUTS, source["type"], "input.type")
    extra = _section(config, "num_extra_convs", required=False)
    entries: dict[int, CoordinateSettings] = {}
    side = source["resolution"]
    if input_type == "coordinates":
        section = _section(source, "coord_fuser_cfg")
        if section.get("fallback", False):
            raise UserError("input.coord_fuser_cfg has fallback on, which leaves the first block without an input")
        entries[side] = _coordinate_settings(section, side)
    every = joins and not coordinates.get("per_resolution", True)
    while joins and side <= resolution:
        if every or side > source["resolution"]:
            entry = _coordinate_settings(coordinates, side)
            if entries.setdefault(side, entry) != entry:
                raise UserError(f"input.coord_fuser_cfg and coords differ at the resolution {side}, expected the same")
        side *= 2
    return {
        "input_type": input_type,
        "input_resolution": source["resolution"],
        "upsampling": _choose(_UPSAMPLING, config.get("upsampling_mode"), "upsampling_mode"),
        "kernel_size": coordinates.get("kernel_size", 1) if with_coordinates else 3,
        "coordinate_blocks": "every" if every else "upsampling" if joins else "none",
        "coordinates": tuple(entries[key] for key in sorted(entries)),
        "factor_activation": factors.get("activation", "demod") if factors["enabled"] else None,
        "rank": factors["rank"] if factors["enabled"] else ReleaseArchitecture.rank,
        "instance_norm": bool(factors.get("instance_norm", False)),
        "num_extra_layers": tuple(sorted((int(key), count) for key, count in extra.items())),
        "use_noise": bool(config.get("use_noise", True)),
    }


def _coordinate_settings(section: Mapping[str, Any], resolution: int) -> CoordinateSettings:
    options = _section(_section(section, "res_configs"), str(resolution))
    _check_keys(options, _COORDINATE_KEYS, f"res_configs.{resolution}")
    return CoordinateSettings(
        resolution=resolution,
        max_num_log_features=options.get("log_emb_size", 0),
        use_diagonals=bool(options.get("use_diagonal", False)),
        num_random_features=options.get("random_emb_size", 0),
        num_shared_features=options.get("shared_emb_size", 0),
        num_predicted_features=options.get("predictable_emb_size", 0),
        table_channels=options.get("const_emb_size", 0),
        use_raw_coordinates=bool(options.get("use_raw_coords", False)),
        use_cosine=bool(options.get("use_cosine", False)),
        fourier_scale=float(options.get("fourier_scale", math.sqrt(10))),
        init_distribution=_choose(_DISTRIBUTIONS, options.get("init_dist", "randn"), "init_dist"),
    )


def discriminator_network(init_kwargs: Mapping[str, Any]) -> Discriminator:
    """Builds the discriminator that the constructor arguments of an official one describe.

    Raises:
        UserError: if an argument is missing, unknown, or asks for a network that is not offered.
    """
    _check_keys(init_kwargs, _DISCRIMINATOR_KEYS | _EXECUTION_KEYS, "the discriminator")
    _check_keys(_section(init_kwargs, "block_kwargs", required=False), _EXECUTION_KEYS, "block_kwargs")
    mapping = _section(init_kwargs, "mapping_kwargs", required=False)
    _check_keys(mapping, frozenset({"num_layers", "lr_multiplier"}), "mapping_kwargs of the discriminator")
    epilogue = _section(init_kwargs, "epilogue_kwargs", required=False)
    _check_keys(epilogue, frozenset({"mbstd_group_size", "mbstd_num_channels"}), "epilogue_kwargs")
    try:
        side = init_kwargs["img_resolution"]
        return Discriminator(
            resolution=(side, side),
            c_dim=init_kwargs["c_dim"],
            channel_base=init_kwargs.get("channel_base", 32768),
            channel_max=init_kwargs.get("channel_max", 512),
            conv_clamp=init_kwargs.get("conv_clamp"),
            architecture=init_kwargs.get("architecture", "resnet"),
            num_label_layers=mapping.get("num_layers", 8),
            label_lr_multiplier=mapping.get("lr_multiplier", 0.01),
            label_projection_features=init_kwargs.get("cmap_dim"),
            mbstd_group_size=epilogue.get("mbstd_group_size", 4),
            mbstd_channels=epilogue.get("mbstd_num_channels", 1),
        )
    except KeyError as error:
        raise UserError(f"the discriminator was stored without its argument {error.args[0]!r}") from error
    except (ValueError, TypeError) as error:
        raise UserError(f"the arguments of the discriminator make no network: {error}") from error


def _section(values: Mapping[str, Any], key: str, required: bool = True) -> Mapping[str, Any]:
    section = values.get(key)
    if section is None and not required:
        return {}
    if not isinstance(section, Mapping):
        found = "nothing" if section is None else repr(section)
        raise UserError(f"the network was stored with {found} as its {key!r}, expected a section")
    return section


def _check_keys(values: Mapping[str, Any], known: Collection[str], where: str) -> None:
    unknown = sorted(str(key) for key in values if key not in known)
    if unknown:
        raise UserError(f"{where} has the argument {unknown[0]!r}, expected only {', '.join(sorted(known))}")


def _choose(choices: Mapping[Any, str], value: Any, key: str) -> Any:
    if isinstance(value, str | None) and value in choices:
        return choices[value]
    raise UserError(f"{key} is {value!r}, expected one of {', '.join(map(repr, choices))}")


class _References:
    """Replaces each string `${a.b}` of a configuration by the value at that place below its root.

    A few references that each double what they refer to would fill any memory, so the visits are counted.
    """

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._visits_left = _MAX_VISITS

    def resolved(self, value: Any, depth: int = 0) -> Any:
        self._visits_left -= 1
        if depth > _MAX_DEPTH or self._visits_left < 0:
            raise UserError("the stored configuration refers to itself, or is too large")
        if isinstance(value, Mapping):
            return {key: self.resolved(item, depth + 1) for key, item in value.items()}
        if not (isinstance(value, str) and value.startswith("${") and value.endswith("}")):
            return value
        target: Any = self._root
        for name in value[2:-1].split("."):
            if not isinstance(target, Mapping) or name not in target:
                raise UserError(f"the stored configuration refers to {value}, which it does not have")
            target = target[name]
        return self.resolved(target, depth + 1)
