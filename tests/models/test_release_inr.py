"""Rendering of the release networks anywhere, their noise, and the settings they refuse."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inr_gan_jax.models.build import generator_of
from inr_gan_jax.models.mapping import truncate, updated_w_avg
from inr_gan_jax.models.release.architecture import ReleaseArchitecture
from inr_gan_jax.models.release.network import ReleaseNetwork
from inr_gan_jax.models.release.settings import CoordinateSettings
from inr_gan_jax.ops.table_lookup import TableRule
from inr_gan_jax.ops.viewport import Viewport
from tests.golden_release import compiled
from tests.marks import mostly_slow

SETTINGS = ReleaseArchitecture(
    resolution=16,
    channels=2,
    z_dim=5,
    c_dim=3,
    w_dim=6,
    channel_base=64,
    channel_max=8,
    input_resolution=8,
    coordinates=(
        CoordinateSettings(8, max_num_log_features=16, use_diagonals=True, table_channels=3, use_cosine=True),
        CoordinateSettings(
            16,
            num_random_features=2,
            num_shared_features=2,
            num_predicted_features=3,
            table_channels=2,
            use_raw_coordinates=True,
            init_distribution="uniform",
        ),
    ),
    rank=2,
    num_extra_layers=((16, 1),),
    use_noise=True,
)
NATIVE = SETTINGS.native_viewport
TRAINED_ONLY = {
    "bilinear": {"upsampling": "bilinear"},
    "instance norm": {"instance_norm": True},
    "stylegan2": {
        "kernel_size": 3,
        "factor_activation": None,
        "coordinate_blocks": "none",
        "upsampling": "fir",
        "input_type": "const",
        "input_resolution": 4,
    },
}


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


@functools.cache
def made(settings: ReleaseArchitecture = SETTINGS) -> tuple[Any, Any]:
    """Variables with every entry random, so that a missing term shows, and the modulation of one image."""
    network = ReleaseNetwork(settings)
    z, c = jnp.ones(settings.z_dim), jnp.eye(3)[1]
    variables = dict(compiled(network.init)(jax.random.key(0), z, c))
    variables["params"] = jax.tree.map(
        lambda leaf: leaf + 0.1 * np.random.default_rng(leaf.size).standard_normal(leaf.shape), variables["params"]
    )

    @compiled
    def modulation(variables: Any) -> Any:
        return network.apply(variables, network.apply(variables, z, c, method="mapping"), method="modulation")

    return variables, modulation(variables)


def draw(viewport: Viewport, settings: ReleaseArchitecture = SETTINGS, **options: Any) -> np.ndarray:
    variables, modulation = made()
    network = ReleaseNetwork(settings)

    @compiled
    def program(variables: Any, modulation: Any) -> Any:
        return network.apply(variables, modulation, viewport, method="render", **options)

    return np.asarray(program(variables, modulation))


@functools.cache
def native() -> np.ndarray:
    return draw(NATIVE)


def assert_close(ours: np.ndarray, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9 * np.abs(theirs).max())


def test_render_of_the_trained_picture_is_the_training_path() -> None:
    variables, _ = made()
    network = ReleaseNetwork(SETTINGS)

    def training(variables: Any, z: jax.Array, c: jax.Array) -> Any:
        return network.apply(variables, z, c)

    trained = compiled(training)(variables, jnp.ones(5), jnp.eye(3)[1])
    np.testing.assert_array_equal(draw(Viewport(16, 16)), trained)


@pytest.mark.parametrize("rule", [TableRule(), TableRule("bilinear", "clamp"), TableRule("nearest", "wrap")])
@pytest.mark.parametrize("density", mostly_slow(["paper", "all", "pointwise"], fast=("all",)))
def test_crop_of_a_render_is_the_render_of_the_crop(rule: TableRule, density: Any) -> None:
    viewport = Viewport(20, 24, top=-0.25, left=-0.125, height_extent=1.5, width_extent=1.25, rule=density, tables=rule)
    assert_close(draw(viewport.crop(3, 5, 7, 11)), draw(viewport)[3:10, 5:16])


def test_crop_at_native_density_equals_the_native_pixels() -> None:
    assert_close(draw(NATIVE.crop(4, 3, 8, 10)), native()[4:12, 3:13])


@pytest.mark.parametrize("factor", [2, 3])
def test_denser_grids_contain_the_native_pixels(factor: int) -> None:
    dense = draw(Viewport(16 * factor, 16 * factor))
    assert_close(dense[::factor, ::factor], native())


def test_bilinear_tables_equal_the_native_ones_on_the_grid() -> None:
    assert_close(draw(Viewport(32, 32, tables=TableRule("bilinear")))[::2, ::2], native())


def test_grids_move_without_compiling_again() -> None:
    variables, modulation = made()
    network = ReleaseNetwork(SETTINGS)
    traces = []

    @jax.jit
    def program(grids: Any) -> Any:
        traces.append(1)
        return network.apply(variables, modulation, grids, method="render_grids")

    for left in (2, 4):
        grids = network.grids(NATIVE.crop(4, left, 8, 8))
        assert_close(np.asarray(program(grids)), native()[4:12, left : left + 8])
    assert len(traces) == 1


def test_noise_modes_differ_as_they_should() -> None:
    silent = draw(NATIVE, noise_mode="none")
    first, second = (draw(NATIVE, noise_mode="random", rngs={"noise": jax.random.key(seed)}) for seed in (0, 1))
    assert np.abs(silent - native()).max() > 1e-6
    assert np.abs(first - second).max() > 1e-6
    with pytest.raises(ValueError, match="noise_mode is 'loud'"):
        draw(NATIVE, noise_mode="loud")


@pytest.mark.parametrize("changes", TRAINED_ONLY.values(), ids=TRAINED_ONLY)
def test_networks_of_one_picture_refuse_other_viewports(changes: dict) -> None:
    network = ReleaseNetwork(dataclasses.replace(SETTINGS, **changes))
    assert len(network.grids(NATIVE)) == (3 if changes.get("input_type") else 2)
    with pytest.raises(ValueError, match="not the trained picture of 16 x 16 pixels"):
        network.grids(Viewport(32, 32))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resolution": 24}, "resolution is 24, expected a power of two"),
        ({"input_resolution": 32}, "input_resolution is 32, expected at most 16"),
        ({"upsampling": "cubic"}, "upsampling is 'cubic'"),
        ({"kernel_size": 3}, "kernel_size is 3 with factorised modulation"),
        ({"kernel_size": 5}, "kernel_size is 5, expected 1 or 3"),
        ({"upsampling": "fir"}, "upsampling is 'fir' where coordinates join"),
        ({"input_resolution": 4}, "no entry for the resolution 4, they have 8, 16"),
        ({"factor_activation": "relu"}, "factor_activation is 'relu'"),
    ],
)
def test_settings_that_make_no_network_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SETTINGS, **changes)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [*TRAINED_ONLY.values(), {"coordinate_blocks": "every", "conv_clamp": 0.1}])
def test_every_kind_of_network_has_finite_gradients(changes: dict) -> None:
    generator = generator_of(dataclasses.replace(SETTINGS, num_extra_layers=(), **changes))
    network, random = generator.network, np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: random.standard_normal(leaf.shape), generator.variable_shapes)

    @compiled
    @jax.value_and_grad
    def energy(params: Any) -> Any:
        image: Any = network.apply({**variables, "params": params}, jnp.ones(5), jnp.eye(3)[0])
        return jnp.sum(jnp.square(image))

    value, gradients = energy(variables["params"])
    assert value > 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_truncation_keeps_all_at_psi_1_and_gives_the_mean_at_psi_0() -> None:
    ws, w_avg = jnp.asarray(np.random.default_rng(0).standard_normal((2, 4, 3))), jnp.arange(3.0)
    np.testing.assert_allclose(truncate(ws, w_avg, 1.0), ws, rtol=1e-12)
    np.testing.assert_array_equal(truncate(ws, w_avg, 0.0), jnp.broadcast_to(w_avg, ws.shape))
    cut = truncate(ws, w_avg, 0.0, cutoff=1)
    np.testing.assert_array_equal(cut[:, 1:], ws[:, 1:])
    np.testing.assert_array_equal(cut[:, 0], jnp.broadcast_to(w_avg, (2, 3)))


def test_running_mean_converges_to_the_mean_of_w() -> None:
    ws = jnp.asarray(np.random.default_rng(0).standard_normal((8, 4, 3)))
    w_avg = jnp.zeros(3)
    for _ in range(200):
        w_avg = updated_w_avg(w_avg, ws[:, 0].mean(axis=0), 0.8)
    np.testing.assert_allclose(w_avg, ws[:, 0].mean(axis=0), rtol=1e-12)
