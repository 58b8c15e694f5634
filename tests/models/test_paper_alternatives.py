"""Each alternative to a part of the paper's network equals its formula, and stays a function of the plane."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inr_gan_jax.models.build import generator_of
from inr_gan_jax.models.paper.architecture import PaperArchitecture
from inr_gan_jax.models.paper.modulation import emitted_weights, modulation_shapes, num_emitted
from inr_gan_jax.models.paper.network import PaperNetwork
from inr_gan_jax.ops.fourier_features import fixed_basis
from inr_gan_jax.ops.viewport import Viewport
from tests.marks import mostly_slow

PLAIN = PaperArchitecture(
    z_dim=5, mapping_dim=7, rank=2, features=(6, 5), num_layers=(1, 2), num_fourier_features=(3, 2),
    fourier_scale=(4.0, 3.0), height=8, width=8, channels=2,
)  # fmt: skip
WITHOUT_WAVES = {"num_fourier_features": (0, 0)}
ALTERNATIVES: dict[str, dict[str, Any]] = {
    "full": {"modulation": "full"},
    "none": {"modulation": "none"},
    "tanh": {"modulation_activation": "tanh"},
    "demod": {"modulation_activation": "demod", "equalised_lr": True},
    "learned": {"fourier_source": "learned"},
    "fixed": {**WITHOUT_WAVES, "max_num_fixed_features": (16, 16)},
    "raw": {**WITHOUT_WAVES, "use_raw_coordinates": True},
    "averaged": {"scales": "averaged"},
    "averaged-full-learned": {"scales": "averaged", "modulation": "full", "fourier_source": "learned"},
}


def settings_of(name: str) -> PaperArchitecture:
    return dataclasses.replace(PLAIN, **ALTERNATIVES[name])


def drawn(settings: PaperArchitecture) -> tuple[PaperNetwork, dict, tuple]:
    """A network with random weights, strongly modulated so that nothing is near zero by accident; nothing compiles."""
    network, rng = PaperNetwork(settings), np.random.default_rng(0)
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros(settings.z_dim)), modulation_shapes(settings)
    variables, modulation = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), shapes)
    return network, variables, modulation


class Oracle:
    """The network of one image in NumPy, written from the formulas, on its trained grids."""

    def __init__(self, settings: PaperArchitecture, params: dict, modulation: tuple) -> None:
        self.settings = settings
        self.params = params
        self.modulation = modulation

    def weight(self, name: tuple[str, str], part: Any, gain: float) -> np.ndarray:
        """[out, in]."""
        settings = self.settings
        if settings.modulation == "full":
            return part.kernel * gain / np.sqrt(part.kernel.shape[1])
        shared = self.params[name[0]][name[1]]["kernel"].T
        if settings.equalised_lr:
            shared = shared * gain / np.sqrt(shared.shape[1])
        if settings.modulation == "none":
            return shared
        product = part.left @ part.right
        if settings.modulation_activation == "sigmoid":
            return shared * 2 / (1 + np.exp(-product))
        if settings.modulation_activation == "tanh":
            return shared * (1 + (np.exp(product) - np.exp(-product)) / (np.exp(product) + np.exp(-product)))
        weight = shared * (1 + product)
        return gain * weight / (np.linalg.norm(weight, axis=1, keepdims=True) + 1e-8)

    def embedding(self, index: int) -> np.ndarray:
        """[side, side, embedding_dim]."""
        block = self.settings.blocks[index]
        side = block.size[0]
        y, x = np.meshgrid(np.arange(side) / side, np.arange(side) / side, indexing="ij")
        frequencies = self.modulation[index].fourier
        if self.settings.fourier_source == "learned":
            frequencies = self.params[f"blocks_{index}"]["basis"]
        waves = [block.fourier_scale * frequencies]
        if block.max_num_fixed_features:
            waves.append(fixed_basis(side, block.max_num_fixed_features, use_diagonals=False))
        basis = np.concatenate(waves)
        phases = x[..., None] * basis[:, 0] + y[..., None] * basis[:, 1]
        raw = [2 * x[..., None] - 1, 2 * y[..., None] - 1] if self.settings.use_raw_coordinates else []
        return np.concatenate([np.sin(phases), np.cos(phases), *raw], axis=-1)

    def block(self, index: int, features: np.ndarray | None) -> np.ndarray:
        """[side, side, features]."""
        own, name, embedding = self.modulation[index], f"blocks_{index}", self.embedding(index)
        hidden = None
        if features is not None:
            both = []
            for half, inputs in (("low", features.repeat(2, 0).repeat(2, 1)), ("high", embedding)):
                part = getattr(own.connector, half)
                weight = self.weight((name, f"connector_{half}"), part, 1.0)
                both.append(inputs @ weight.T + part.bias / np.sqrt(inputs.shape[-1]))
            hidden = np.maximum(sum(both), 0)
        for number, part in enumerate(own.layers):
            inputs = embedding if hidden is None else np.concatenate([hidden, embedding], axis=-1)
            bias = 0.2 * np.sqrt(2 / inputs.shape[-1]) * part.bias
            hidden = np.maximum(inputs @ self.weight((name, f"layer_{number}"), part, np.sqrt(2)).T + bias, 0)
        return hidden

    def colours(self, index: int, features: np.ndarray, num_pictures: int) -> np.ndarray:
        part, scale = self.modulation[index].to_rgb, np.sqrt(2 / features.shape[-1] / num_pictures)
        return scale * (features @ part.kernel.T + 0.2 * part.bias)

    def picture(self) -> np.ndarray:
        if self.settings.scales == "averaged":
            coarse, fine = (np.tanh(self.colours(index, self.block(index, None), 1)) for index in (0, 1))
            return (self.interpolated(coarse) + fine) / 2
        coarse = self.block(0, None)
        fine = self.block(1, coarse)
        return np.tanh(self.colours(1, fine, 2) + self.colours(0, coarse, 2).repeat(2, 0).repeat(2, 1))

    def interpolated(self, coarse: np.ndarray) -> np.ndarray:
        """Twice as dense but for the last row and column, which lie beyond the coarse points."""
        positions = np.arange(7) / 2
        rows = np.apply_along_axis(lambda values: np.interp(positions, np.arange(4), values), 0, coarse)
        both = np.apply_along_axis(lambda values: np.interp(positions, np.arange(4), values), 1, rows)
        return np.pad(both, ((0, 1), (0, 1), (0, 0)), constant_values=np.nan)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ALTERNATIVES)
def test_picture_equals_the_formula(name: str) -> None:
    network, variables, modulation = drawn(settings_of(name))
    grids = network.grids(Viewport(8, 8))
    picture = np.asarray(jax.jit(functools.partial(network.apply, method="render_grids"))(variables, modulation, grids))
    expected = Oracle(network.settings, variables["params"], modulation).picture()
    known = ~np.isnan(expected)
    assert known.mean() > 0.7
    np.testing.assert_allclose(picture[known], expected[known], atol=1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("name", "rule"),
    [("averaged", "paper"), ("averaged", "all"), ("averaged", "pointwise"), ("full", "all"), ("raw", "all")],
)
def test_crop_of_a_render_is_the_render_of_the_crop(name: str, rule: Any) -> None:
    generator = generator_of(settings_of(name))
    _, variables, modulation = drawn(generator.settings)
    render = jax.jit(lambda grids: generator.render_grids(variables, modulation, grids))
    view = Viewport(12, 20, top=-0.3, left=-0.2, height_extent=1.5, width_extent=2.5, rule=rule)
    full = render(generator.grids(view))
    places = [(0, 0), (1, 7), (5, 9)]
    tiles = generator.grids_of_tiles([view.crop(top, left, 7, 11) for top, left in places])
    for (top, left), grids in zip(places, tiles, strict=True):
        np.testing.assert_allclose(render(grids), full[top : top + 7, left : left + 11], atol=1e-11)


@pytest.mark.usefixtures("x64")
def test_averaged_picture_of_all_densities_is_one_function_in_the_limit() -> None:
    network, variables, modulation = drawn(settings_of("averaged"))

    render = jax.jit(functools.partial(network.apply, method="render_grids"))

    def corner(rule: Any) -> np.ndarray:
        view = Viewport(4096, 4096, rule=rule).crop(1000, 3000, 1, 1)
        return np.asarray(render(variables, modulation, network.grids(view)))

    np.testing.assert_allclose(corner("all"), corner("pointwise"), atol=1e-5)


@pytest.mark.parametrize("name", mostly_slow(["full", "none", "demod", "averaged-full-learned", "raw"], fast=("full",)))
def test_gradients_are_finite_and_reach_everything(name: str) -> None:
    network = PaperNetwork(settings_of(name))
    variables = jax.jit(network.init)(jax.random.key(0), jnp.zeros(5))
    z = jnp.linspace(-2.0, 1.5, 5)
    gradients = jax.jit(jax.grad(lambda variables: jnp.sum(network.apply(variables, z) ** 2)))(variables)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.all(np.isfinite(leaf)), path
        assert np.any(leaf), path


def test_image_without_shared_weights_begins_at_their_scale() -> None:
    settings = dataclasses.replace(PLAIN, modulation="full", mapping_dim=64)
    params = jax.jit(PaperNetwork(settings).init)(jax.random.key(0), jnp.zeros(5))["params"]
    bias = params["hypernetwork"]["connector"]["bias"]
    weights = emitted_weights(settings)
    # 6 * 6 in the first block; 5 * 6 + 5 * 4 in the connector and 2 * 5 * 9 in the layers of the second.
    assert weights.sum() == 36 + 50 + 90
    assert np.std(bias[weights]) == pytest.approx(1, abs=0.25)
    assert np.abs(bias[~weights]).max() <= 1 / 64


def test_nothing_is_stored_or_emitted_that_an_alternative_has_no_use_for() -> None:
    def params(name: str) -> dict:
        return jax.eval_shape(PaperNetwork(settings_of(name)).init, jax.random.key(0), jnp.zeros(5))["params"]

    assert "blocks_0" not in params("full")
    assert params("learned")["blocks_0"]["basis"].shape == (3, 2)
    assert num_emitted(settings_of("learned")) == num_emitted(PLAIN) - 2 * (3 + 2)
    assert not any(name.startswith("connector") for name in params("averaged")["blocks_1"])
    factors = sum(2 * (rows + columns) for rows, columns in ((6, 6), (5, 6), (5, 4), (5, 9), (5, 9)))
    assert num_emitted(settings_of("none")) == num_emitted(PLAIN) - factors


@pytest.mark.parametrize(
    ("name", "value"),
    [("modulation", "half"), ("modulation_activation", "relu"), ("scales", "summed"), ("fourier_source", "drawn")],
)
def test_unknown_alternatives_are_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is '{value}', expected one of '"):
        dataclasses.replace(PLAIN, **{name: value})
