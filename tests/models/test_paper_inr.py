"""What the paper model promises beyond the recorded tensors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import lsun
from inr_gan_jax.config.parse import parse_config
from inr_gan_jax.models.build import build_discriminator, build_generator
from inr_gan_jax.models.generator import Generator
from inr_gan_jax.models.paper.architecture import PaperArchitecture
from inr_gan_jax.models.paper.modulation import num_emitted, unflatten_modulation
from inr_gan_jax.models.paper.network import PaperNetwork
from inr_gan_jax.ops.viewport import Viewport
from tests.conftest import tiny_config
from tests.marks import mostly_slow


def small_settings(**keys: object) -> PaperArchitecture:
    usual: dict = {
        "z_dim": 5, "mapping_dim": 7, "rank": 2, "features": (6, 5, 4), "num_layers": (1, 2, 1),
        "num_fourier_features": (3, 3, 3), "fourier_scale": (10.0,) * 3, "max_num_fixed_features": (0, 0, 0),
        "to_rgb": (True, False, True), "height": 16, "width": 16, "channels": 2,
    }  # fmt: skip
    return PaperArchitecture(**{**usual, **keys})


def drawn(settings_: PaperArchitecture) -> tuple[PaperNetwork, dict, tuple]:
    """A network with random weights, strongly modulated so that nothing is near zero by accident."""
    network = PaperNetwork(settings_)
    labels = jnp.zeros(settings_.c_dim) if settings_.c_dim else None
    variables = network.init(jax.random.key(0), jnp.zeros(settings_.z_dim), labels)
    emitted = jax.random.normal(jax.random.key(1), (num_emitted(settings_),))
    return network, variables, unflatten_modulation(emitted, settings_)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("rule", mostly_slow(["paper", "all", "pointwise"], fast=("pointwise",)))
def test_crop_of_a_render_is_the_render_of_the_crop(rule: str) -> None:
    network, variables, modulation = drawn(small_settings())
    render = jax.jit(lambda grids: network.apply(variables, modulation, grids, method="render_grids"))
    view = Viewport(24, 40, top=-0.3, left=-0.2, height_extent=1.5, width_extent=2.5, rule=rule)
    full = render(network.grids(view))
    for top, left in ((0, 0), (3, 11), (17, 29)):
        part = render(network.grids(view.crop(top, left, 7, 11)))
        np.testing.assert_allclose(part, full[top : top + 7, left : left + 11], atol=1e-11)


@pytest.mark.usefixtures("x64")
def test_pointwise_and_all_agree_in_the_limit_of_density() -> None:
    network, variables, modulation = drawn(small_settings())

    def corner(rule: str, side: int) -> np.ndarray:
        view = Viewport(side, side, rule=rule).crop(0, 0, 1, 1)
        return np.asarray(network.apply(variables, modulation, view, method="render"))

    np.testing.assert_allclose(corner("all", 2048), corner("pointwise", 2048), atol=1e-9)


@pytest.mark.parametrize("rule", mostly_slow(["paper", "pointwise"], fast=("pointwise",)))
def test_native_view_is_the_training_path_bit_for_bit(rule: str) -> None:
    network, variables, _ = drawn(small_settings(training_rule=rule))
    z = jnp.arange(5.0)
    modulation = network.apply(variables, network.apply(variables, z, method="mapping"), method="modulation")
    rendered = network.apply(variables, modulation, Viewport(16, 16, rule=rule), method="render")
    np.testing.assert_array_equal(rendered, network.apply(variables, z))


def test_label_changes_the_image_and_is_required() -> None:
    network, variables, _ = drawn(small_settings(c_dim=3, class_embedding_dim=4))
    z = jnp.ones(5)
    images = [network.apply(variables, z, jax.nn.one_hot(label, 3)) for label in (0, 1)]
    assert np.abs(images[0] - images[1]).max() > 1e-4
    with pytest.raises(ValueError, match="no label"):
        network.apply(variables, z)


@pytest.mark.parametrize(
    "keys",
    [{"rank": 1}, {"activation": "leaky_relu"}, {"training_rule": "pointwise"}],
    ids=lambda keys: next(iter(keys)),
)
def test_options_change_the_network(keys: dict) -> None:
    plain, other = small_settings(), small_settings(**keys)
    images = []
    for settings_ in (plain, other):
        network, variables, modulation = drawn(settings_)
        images.append(network.apply(variables, modulation, settings_.native_viewport, method="render"))
    assert np.abs(images[0] - images[1]).max() > 1e-3


def test_equalised_weights_are_stored_at_unit_variance_and_act_alike() -> None:
    images, spreads = [], []
    for equalised in (False, True):
        settings_ = small_settings(equalised_lr=equalised)
        network, variables, modulation = drawn(settings_)
        images.append(network.apply(variables, modulation, settings_.native_viewport, method="render"))
        spreads.append(np.std(variables["params"]["blocks_0"]["layer_0"]["kernel"]))
    np.testing.assert_allclose(images[0], images[1], atol=1e-5)
    assert spreads[1] == pytest.approx(float(spreads[0]) / np.sqrt(2 / 6), rel=1e-4)


@pytest.mark.slow
def test_fixed_features_widen_the_embedding() -> None:
    blocks = {"features": (6, 5), "num_layers": (1, 1), "num_fourier_features": (3, 0), "fourier_scale": (10.0, 10.0)}
    blocks |= {"max_num_fixed_features": (8, 16), "to_rgb": (True, True), "height": 8, "width": 8}
    settings_ = small_settings(**blocks)
    assert (settings_.embedding_dim(0), settings_.embedding_dim(1)) == (2 * (3 + 6), 2 * 16)
    network, variables, modulation = drawn(settings_)
    assert network.apply(variables, modulation, Viewport(8, 8), method="render").shape == (8, 8, 2)


def test_emitted_vector_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="emitted parameters has shape"):
        unflatten_modulation(jnp.zeros(3), small_settings())


def test_full_width_has_the_published_counts() -> None:
    config = parse_config(lsun.get_config())
    generator = build_generator(config)
    assert num_emitted(generator.settings) == 106_502
    params = jax.eval_shape(generator.init, jax.random.key(0))["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 114_344_968
    images = jax.ShapeDtypeStruct((4, 256, 256, 3), jnp.float32)
    discriminator = jax.eval_shape(build_discriminator(config).init, jax.random.key(0), images)["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(discriminator)) == 24_001_089


@pytest.mark.slow
def test_initial_weights_have_the_papers_scales() -> None:
    config = parse_config(lsun.get_config())
    wide = build_generator(tiny_config(paper={"mapping_dim": 256, "features": (256, 256)}))
    params = wide.init(jax.random.key(0))["params"]
    kernel = params["blocks_1"]["layer_0"]["kernel"]
    assert np.std(kernel) == pytest.approx(np.sqrt(2 / kernel.shape[0]), rel=0.05)
    connector = params["hypernetwork"]["connector"]
    assert np.abs(connector["kernel"]).max() <= 1 / 16
    assert np.abs(connector["bias"]).max() <= 1 / 256
    assert params["hypernetwork"]["branch_weight_1"] == np.float32(0.1)
    assert config.paper.mapping_dim == 1024


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000))
def test_batch_is_the_single_images(seed: int) -> None:
    generator = _tiny_generator()
    variables = generator.init(jax.random.key(seed))
    z = generator.latents(jax.random.key(seed + 1), 3)
    batch = jax.jit(generator.images)(variables, z)
    single = generator.render(
        variables, generator.modulation(variables, generator.mapping(variables, z[1])), generator.native_viewport
    )
    np.testing.assert_allclose(batch[1], single, atol=1e-6)


def _tiny_generator() -> Generator:
    return build_generator(tiny_config())
