"""Official checkpoints become settings and variables that draw the recorded pictures."""

import copy
import dataclasses
import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inr_gan_jax.errors import UserError
from inr_gan_jax.importers.official_settings import discriminator_network, generator_settings
from inr_gan_jax.importers.safe_pickle import NetworkSnapshot, OfficialCheckpoint, read_official_checkpoint
from inr_gan_jax.importers.torch_inr_gan import import_discriminator, import_generator
from inr_gan_jax.models.build import generator_of
from inr_gan_jax.models.discriminator import Discriminator
from inr_gan_jax.models.mapping import truncate
from inr_gan_jax.models.release.official_names import discriminator_slots, generator_slots
from tests.golden.official_pickles import official_pickle
from tests.golden.records import assert_matches, channels_last, load, load_json
from tests.golden_release import VARIANTS, compiled

FULL = {"inr-gan": 72_436_573, "inr-gan-bil": 72_436_573, "cips": 24_387_477, "stylegan2": 28_458_402}
FULL_DISCRIMINATOR = 28_864_129
TOLERANCE = 1e-9

GENERATOR_KWARGS: dict[str, Any] = {
    "z_dim": 3, "c_dim": 0, "w_dim": 4, "img_resolution": 8, "img_channels": 1,
    "mapping_kwargs": {"num_layers": 1}, "synthesis_kwargs": {"channel_base": 16, "channel_max": 4},
    "cfg": {
        "upsampling_mode": "nearest", "use_noise": True, "num_extra_convs": {"8": 1},
        "input": {"type": "coords", "resolution": 4, "coord_fuser_cfg": "${coords}"},
        "coords": {
            "enabled": True, "per_resolution": True, "kernel_size": 1, "low": {"log_emb_size": 8, "use_diagonal": True},
            "res_configs": {"4": "${coords.low}", "8": {"const_emb_size": 2, "random_emb_size": 3}},
        },
        "fmm": {"enabled": True, "rank": 2, "activation": "tanh"},
    },
}  # fmt: skip
DISCRIMINATOR_KWARGS: dict[str, Any] = {
    "c_dim": 0, "img_resolution": 8, "img_channels": 1, "channel_base": 16, "channel_max": 4, "conv_clamp": 256,
}  # fmt: skip


def made_up_arrays(slots: list[Any]) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {slot.official_name: random.standard_normal(slot.official_shape, np.float32) for slot in slots}


@functools.cache
def made_up() -> OfficialCheckpoint:
    """A checkpoint of small networks with arrays of the right names and shapes."""
    settings = generator_settings(GENERATOR_KWARGS)
    generator = made_up_arrays(generator_slots(generator_of(settings).variable_shapes))
    generator["mapping.w_avg"] = np.arange(4, dtype=np.float32)
    taps = np.array([1, 3, 3, 1], np.float32) / 8
    generator["synthesis.b8.resample_filter"] = np.outer(taps, taps)
    network = discriminator_network(DISCRIMINATOR_KWARGS)
    judge = made_up_arrays(discriminator_slots(network.variable_shapes(1), 8))
    networks = {
        "G_ema": NetworkSnapshot("Generator", GENERATOR_KWARGS, generator),
        "D": NetworkSnapshot("Discriminator", DISCRIMINATOR_KWARGS, judge),
    }
    return OfficialCheckpoint(pathlib.Path("made-up.pkl"), "", networks, None, {})


def with_arrays(name: str, changes: dict[str, np.ndarray | None]) -> OfficialCheckpoint:
    """The made-up checkpoint with arrays replaced, added, or, where None, taken away."""
    snapshot = made_up().networks[name]
    arrays = {key: array for key, array in (snapshot.arrays | changes).items() if array is not None}
    networks = made_up().networks | {name: dataclasses.replace(snapshot, arrays=arrays)}
    return dataclasses.replace(made_up(), networks=networks)


def with_config(section: str, **changes: Any) -> dict[str, Any]:
    kwargs = copy.deepcopy(GENERATOR_KWARGS)
    place = kwargs
    for key in filter(None, section.split(".")):
        place = place[key]
    place.update(changes)
    return kwargs


@pytest.mark.parametrize("variant", VARIANTS)
def test_imported_generator_draws_the_recorded_images(variant: str, x64: None) -> None:
    recorded = load(variant)
    imported = import_generator(read_official_checkpoint(official_pickle(variant), ["G_ema"]))
    network, settings = imported.generator.network, imported.settings
    variables, w_avg, z, c = jax.tree.map(
        lambda array: jnp.asarray(array, jnp.float64),
        (imported.variables, imported.w_avg, recorded["z"], recorded["c"] if settings.c_dim else None),
    )

    @compiled
    def program(variables: Any, z: jax.Array, c: jax.Array | None, psi: jax.Array) -> Any:
        def one(z: jax.Array, c: jax.Array | None) -> Any:
            ws = truncate(network.apply(variables, z, c, method="mapping"), w_avg, psi)
            modulation = network.apply(variables, ws, method="modulation")
            return network.apply(variables, modulation, settings.native_viewport, method="render")

        return jax.vmap(one)(z, c)

    for psi, name in ((1.0, "img"), (0.7, "img_trunc0.7")):
        assert_matches(program(variables, z, c, jnp.float64(psi)), channels_last(recorded[name]), TOLERANCE)


@pytest.mark.parametrize("name", ["tiny-inr-gan-32-aug", "tiny-inr-gan-32-cudacache"])
def test_averaged_generator_is_imported_from_files_of_training(name: str) -> None:
    ours, plain = (
        import_generator(read_official_checkpoint(official_pickle(each), ["G_ema"]))
        for each in (name, "tiny-inr-gan-32")
    )
    assert ours.settings == plain.settings
    assert jax.tree.structure(ours.variables) == jax.tree.structure(plain.variables)
    jax.tree.map(np.testing.assert_array_equal, ours.variables, plain.variables)
    np.testing.assert_array_equal(ours.w_avg, plain.w_avg)


@pytest.mark.parametrize("variant", ["tiny-cips-16", "misc-sigmoid-32"])
def test_imported_discriminator_gives_the_recorded_logits(variant: str, x64: None) -> None:
    recorded = load(variant)
    imported = import_discriminator(read_official_checkpoint(official_pickle(variant), ["D"]))
    params, real, c = jax.tree.map(
        lambda array: jnp.asarray(array, jnp.float64),
        (imported.params, channels_last(recorded["real"]), recorded["c"] if imported.network.c_dim else None),
    )
    logits = compiled(imported.network.apply)({"params": params}, real, c)
    assert_matches(logits, recorded["logits_real"][:, 0], TOLERANCE)


def test_other_network_of_the_file_is_told_apart() -> None:
    checkpoint = read_official_checkpoint(official_pickle("tiny-inr-gan-32-aug"))
    averaged, plain = import_generator(checkpoint), import_generator(checkpoint, "G")
    kernels = [made.params["mapping_network"]["fc_0"]["kernel"] for made in (averaged, plain)]
    np.testing.assert_allclose(kernels[1], 0.9 * kernels[0], rtol=1e-6)


@pytest.mark.parametrize("name", FULL)
def test_full_width_names_and_shapes_are_one_to_one(name: str) -> None:
    recorded = load_json(f"full-{name}-256.json")
    settings = generator_settings(recorded["G_kwargs"] | recorded["common_kwargs"])
    slots = generator_slots(generator_of(settings).variable_shapes)
    theirs = {entry["name"]: tuple(entry["shape"]) for entry in recorded["G"]["parameters"]}
    buffers = {entry["name"]: tuple(entry["shape"]) for entry in recorded["G"]["buffers"]}
    kept = {name: shape for name, shape in buffers.items() if not name.endswith(("resample_filter", "w_avg"))}
    assert {slot.official_name: slot.official_shape for slot in slots if slot.path[0] == "params"} == theirs
    assert {slot.official_name: slot.official_shape for slot in slots if slot.path[0] == "constants"} == kept
    assert sum(int(np.prod(slot.shape)) for slot in slots if slot.path[0] == "params") == FULL[name]
    assert settings.num_ws == recorded["num_ws"]


def test_full_width_discriminator_is_one_to_one() -> None:
    recorded = load_json("full-inr-gan-256.json")
    network = discriminator_network(recorded["D_kwargs"] | recorded["common_kwargs"])
    slots = discriminator_slots(network.variable_shapes(3), 256)
    theirs = {entry["name"]: tuple(entry["shape"]) for entry in recorded["D"]["parameters"]}
    assert {slot.official_name: slot.official_shape for slot in slots} == theirs
    assert sum(int(np.prod(slot.shape)) for slot in slots) == FULL_DISCRIMINATOR


@pytest.mark.slow
def test_every_recorded_variant_has_its_shapes_and_routing() -> None:
    for name, recorded in load_json("variants.json").items():
        settings = generator_settings(recorded["G_kwargs"])
        slots = generator_slots(generator_of(settings).variable_shapes)
        assert sum(int(np.prod(slot.shape)) for slot in slots if slot.path[0] == "params") == recorded["n_G"], name
        routing, resolutions = {}, {}
        for plan in settings.blocks():
            first = [] if plan.side == 4 else ["conv0"]
            extra = [f"extra_convs.{index}" for index in range(plan.num_layers - len(first) - 1)]
            for index, layer in enumerate([*first, "conv1", *extra, "torgb"]):
                routing[f"b{plan.side}.{layer}"] = plan.first_ws + index
            resolutions[f"b{plan.side}"] = plan.resolution
        assert (routing, resolutions) == (recorded["ws_index"], recorded["actual_resolution"]), name
        judge = discriminator_network(recorded["D_kwargs"]).variable_shapes(3)
        assert sum(leaf.size for leaf in jax.tree.leaves(judge)) == recorded["n_D"], name


def test_made_up_checkpoint_is_imported_array_by_array() -> None:
    imported, arrays = import_generator(made_up()), made_up().networks["G_ema"].arrays
    block = imported.params["blocks_8"]
    np.testing.assert_array_equal(block["conv0"]["kernel"], arrays["synthesis.b8.conv0.weight"][:, :, 0, 0].T)
    np.testing.assert_array_equal(
        block["coordinates"]["table"][1, 5], arrays["synthesis.b8.coord_fuser.const_embs"][0, :, 1, 5]
    )
    constants = imported.constants["blocks_8"]
    np.testing.assert_array_equal(
        constants["coordinates"]["random_basis"], arrays["synthesis.b8.coord_fuser.random_basis"]
    )
    np.testing.assert_array_equal(
        constants["extra_convs_0"]["noise_const"], arrays["synthesis.b8.extra_convs.0.noise_const"]
    )
    assert imported.settings.channels == 1
    np.testing.assert_array_equal(imported.w_avg, [0, 1, 2, 3])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("synthesis.b8.conv0.bias", None, "has no array 'synthesis.b8.conv0.bias'"),
        ("synthesis.b8.conv0.bias", np.zeros(3), r"'synthesis.b8.conv0.bias' of shape \(3,\), expected \(2,\)"),
        ("synthesis.b8.surplus", np.zeros(3), "has the array 'synthesis.b8.surplus', which"),
        ("synthesis.b8.resample_filter", np.ones((4, 4)), "expected .1, 3, 3, 1"),
        ("mapping.w_avg", None, "has nothing as 'mapping.w_avg'"),
        ("mapping.w_avg", np.zeros(3), "expected the shape"),
    ],
)
def test_array_that_does_not_fit_is_named(name: str, value: np.ndarray | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        import_generator(with_arrays("G_ema", {name: value}))


def test_discriminator_array_that_does_not_fit_is_named() -> None:
    with pytest.raises(UserError, match=r"has no array 'b8\.fromrgb\.weight'"):
        import_discriminator(with_arrays("D", {"b8.fromrgb.weight": None}))


def test_absent_and_mistaken_networks_are_refused() -> None:
    with pytest.raises(UserError, match="G was not read, only D, G_ema"):
        import_generator(made_up(), "G")
    with pytest.raises(UserError, match="D is a Discriminator, expected a Generator"):
        import_generator(made_up(), "D")


@pytest.mark.parametrize(
    ("section", "changes", "message"),
    [
        ("", {"extra": 1}, "the generator has the argument 'extra'"),
        ("", {"cfg": None}, "nothing as its 'cfg'"),
        ("", {"img_resolution": 12}, "resolution is 12, expected a power of two"),
        ("cfg", {"input": "${coords.absent}"}, "which it does not have"),
        ("cfg", {"coords": "${coords}"}, "refers to itself"),
        ("cfg", {"upsampling_mode": "bicubic"}, "upsampling_mode is 'bicubic'"),
        ("cfg.fmm", {"activation": "relu"}, "factor_activation is 'relu'"),
        ("cfg.coords", {"res_configs": {"4": {}}}, "nothing as its '8'"),
        ("cfg.coords", {"fallback": True}, "fallback"),
        ("cfg.coords", {"kernel_size": 3}, "kernel_size is 3 with factorised modulation"),
        ("cfg.coords.low", {"log_emb_size": 3}, "expected at least the 8"),
        ("synthesis_kwargs", {"architecture": "resnet"}, "architecture is 'resnet'"),
    ],
)
def test_arguments_that_make_no_network_are_refused(section: str, changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        generator_settings(with_config(section, **changes))


def test_coordinates_in_every_block_and_in_none_are_read() -> None:
    every = generator_settings(with_config("cfg.coords", per_resolution=False))
    assert [plan.coordinates is not None for plan in every.blocks()] == [False, True]
    none = generator_settings(with_config("cfg", input={"type": "const", "resolution": 4}, coords={"enabled": False},
                                          fmm={"enabled": False}))  # fmt: skip
    assert (none.coordinate_blocks, none.kernel_size, none.factor_activation) == ("none", 3, None)
    assert generator_of(none).variable_shapes["params"]["blocks_4"]["const"].shape == (4, 4, 4)


def test_fallback_leaves_the_features_without_coordinates() -> None:
    kwargs = with_config("cfg.coords", fallback=True)
    kwargs["cfg"]["input"] = {"type": "const", "resolution": 4}
    settings = generator_settings(kwargs)
    assert (settings.coordinate_blocks, settings.kernel_size) == ("none", 1)
    assert generator_of(settings).variable_shapes["params"]["blocks_8"]["conv0"]["kernel"].shape == (4, 2)


@pytest.mark.parametrize("architecture", ["resnet", "skip", "orig"])
def test_discriminator_names_follow_the_architecture(architecture: Any) -> None:
    network = discriminator_network(DISCRIMINATOR_KWARGS | {"architecture": architecture})
    assert isinstance(network, Discriminator)
    names = {slot.official_name for slot in discriminator_slots(network.variable_shapes(1), 8)}
    assert ("b8.skip.weight" in names) == (architecture == "resnet")
    assert ("b4.fromrgb.weight" in names) == (architecture == "skip")
    assert "b8.fromrgb.weight" in names
