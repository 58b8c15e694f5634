"""Path lengths of the recorded toy generator, by StyleGAN2-ADA's own code with these draws."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inr_gan_jax.metrics.ppl import (
    PathGenerator,
    PathInputs,
    compared_images,
    path_distances,
    path_length,
    sample_paths,
    slerp,
)
from inr_gan_jax.metrics.protocols import parse_protocol
from tests.golden import records

NAMES = ("zfull", "zend", "wfull", "wend", "ppl2_wend")


def toy(size: int) -> tuple[PathGenerator, Any]:
    """The generator of the recordings' README, section 5, and its distance."""
    recorded = records.load("ppl")
    matrices = {name: jnp.asarray(recorded[f"toy.{name}"]) for name in "MSCP"}
    index, places = jnp.arange(6.0)[:, None], ((jnp.arange(size) + 0.5) / size)[None]
    rows = jnp.cos(jnp.pi * (index + 1) * places)
    columns = jnp.cos(jnp.pi * ((2 * index + 1) % 5 + 0.5) * places)

    def mapping(variables: Any, z: Any, c: Any) -> Any:
        del c
        return jnp.repeat((z @ variables["M"].T / 4)[:, None], 4, axis=1)

    def synthesise(variables: Any, ws: Any, key: Any) -> Any:
        del key
        strengths = jnp.einsum("nid,idk->nk", ws, variables["S"] / np.sqrt(48))
        return 0.1 * jnp.einsum("nk,kc,ky,kx->nyxc", strengths, variables["C"], rows, columns)

    def embed(images: Any) -> Any:
        count, height, width, channels = images.shape
        boxes = ((images + 1) * 127.5).reshape(count, 4, height // 4, 4, width // 4, channels).mean((2, 4))
        return boxes.transpose(0, 3, 1, 2).reshape(count, -1) @ matrices["P"].T / np.sqrt(48)

    def distance(first: Any, second: Any) -> Any:
        return jnp.sum((embed(first) - embed(second)) ** 2, axis=1)

    return PathGenerator(16, matrices, mapping, synthesise, lambda keys: None), distance


@pytest.mark.parametrize(("size", "count", "name"), [*((32, 256, name) for name in NAMES), (512, 4, "zfull")])
def test_distances_equal_the_recorded_ones(size: int, count: int, name: str, x64: None) -> None:
    recorded = records.load("ppl")
    path = parse_protocol(name if name.startswith("ppl") else f"ppl_{name}").path
    assert path is not None
    generator, distance = toy(size)
    t = jnp.asarray(recorded["toy.t"][:count]) if path.sampling == "full" else jnp.zeros(count)
    z0, z1 = (jnp.asarray(recorded[f"toy.{end}"][:count]) for end in ("z0", "z1"))
    draws = PathInputs(z0, z1, t, None, jax.random.split(jax.random.key(0), count))

    @jax.jit
    def compute(draws: PathInputs) -> Any:
        return path_distances(path, generator, generator.variables, distance, draws)

    ours = np.asarray(compute(draws))
    np.testing.assert_allclose(ours, recorded[f"r{size}.{name}.dist"][:count], rtol=1e-8)
    if size == 32:
        np.testing.assert_allclose(path_length(ours), recorded[f"r32.{name}.ppl"], rtol=1e-8)


def test_outliers_are_left_out_by_order_statistics() -> None:
    distances = np.arange(1000.0)
    distances[[3, 700]] = -1e9, 1e12
    # Kept are ranks 9 to 990 of 0 to 999, both included.
    assert path_length(np.random.default_rng(0).permutation(distances)) == np.sort(distances)[9:991].mean()


def test_length_of_distances_that_are_not_finite_is_refused() -> None:
    with pytest.raises(FloatingPointError, match="not finite"):
        path_length(np.array([1, np.nan, 2]))


def test_slerp_stays_on_the_sphere_and_ends_at_its_ends(x64: None) -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 3, 5))
    moved = jax.jit(slerp)
    for t, end in ((0.0, a), (1.0, b)):
        expected = end / np.linalg.norm(end, axis=1, keepdims=True)
        np.testing.assert_allclose(moved(a, b, np.full(3, t)), expected, rtol=1e-10)
    np.testing.assert_allclose(np.linalg.norm(moved(a, b, np.full(3, 0.3)), axis=1), 1)


def test_large_pictures_are_averaged_and_grey_ones_become_colour() -> None:
    images = jnp.arange(512 * 512.0).reshape(1, 512, 512, 1)
    shrunk = compared_images(images, crops=False)
    assert shrunk.shape == (1, 256, 256, 3)
    assert shrunk[0, 0, 1, 2] == images[0, :2, 2:4].mean()
    assert compared_images(images, crops=True).shape == (1, 128, 128, 3)


def test_places_are_spread_over_the_path_or_at_its_end() -> None:
    generator = PathGenerator(2, {}, lambda v, z, c: z, lambda v, w, k: w, lambda keys: None)
    places = {}
    for name in ("ppl_zfull", "ppl_zend"):
        path = parse_protocol(name).path
        assert path is not None
        places[name] = np.asarray(sample_paths(path, generator, jax.random.split(jax.random.key(0), 64)).t)
    assert not places["ppl_zend"].any()
    assert places["ppl_zfull"].min() >= 0
    assert places["ppl_zfull"].max() < 1
    assert 0.35 < places["ppl_zfull"].mean() < 0.65


def test_draws_are_independent_ends_with_one_label_a_path() -> None:
    path = parse_protocol("ppl_wfull").path
    assert path is not None
    labels = jnp.eye(3)
    generator = PathGenerator(7, {}, lambda v, z, c: z, lambda v, w, k: w, lambda keys: labels[: len(keys)])
    draws = sample_paths(path, generator, jax.random.split(jax.random.key(0), 3))
    assert draws.z0.shape == draws.z1.shape == (3, 7)
    assert not np.allclose(draws.z0, draws.z1)
    np.testing.assert_array_equal(draws.c, labels)
