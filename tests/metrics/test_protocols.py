"""Names of protocols and what they stand for."""

import pytest

from inr_gan_jax.errors import UserError
from inr_gan_jax.metrics.protocols import EXAMPLES, parse_protocol


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_a_protocol_of_its_name(name: str) -> None:
    assert parse_protocol(name).name == name


def test_stylegan_names_have_stylegan_counts_and_conventions() -> None:
    fid, kid, shares = (parse_protocol(name) for name in ("fid50k_full", "kid50k_full", "pr50k3_full"))
    assert (fid.network, fid.num_generated, fid.ddof, fid.max_real) == ("inception", 50_000, 0, None)
    assert (kid.num_subsets, kid.subset_size, kid.max_real) == (100, 1000, 1_000_000)
    assert (shares.network, shares.num_generated, shares.num_neighbours) == ("vgg16", 50_000, 3)
    assert parse_protocol("is50k").num_splits == 10


def test_number_in_a_name_is_the_number_of_images() -> None:
    assert parse_protocol("fid10k_full").num_generated == 10_000
    assert parse_protocol("fsd640_full").num_generated == 640


def test_fid_is_of_inception_only() -> None:
    networks = {name: parse_protocol(name).network for name in EXAMPLES}
    assert all(network == "inception" for name, network in networks.items() if "fid" in name or "kid" in name)
    assert networks["fsd10k_full"] == "squeezenet"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("fid50k", "fid50k_full"),
        ("fsd10k", "fsd10k_full"),
        ("ppl_full", "ppl_zfull"),
        ("x", "known"),
    ],
)
def test_unknown_name_is_one_sentence_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UserError, match=f"metric '{name}' is unknown; .*{hint if hint != 'known' else ''}"):
        parse_protocol(name)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("fid1_full", "'fid1_full' is of 1 image, expected at least 2"),
        ("kernel_digits0_full", "'kernel_digits0_full' is of 0 images, expected at least 2"),
        ("is9", "'is9' is of 9 images, expected at least 10"),
        ("pr0k3_full", "'pr0k3_full' is of 0 images, expected at least 4"),
        ("pr50k0_full", "'pr50k0_full' has 0 neighbours, expected 1 to 9"),
    ],
)
def test_numbers_that_measure_nothing_have_their_own_sentence(name: str, sentence: str) -> None:
    with pytest.raises(UserError, match=f"^metric {sentence}"):
        parse_protocol(name)


def test_better_is_lower_for_distances_and_higher_for_scores() -> None:
    lower = {
        name: parse_protocol(name).lower_is_better for name in ("fid50k_full", "kid50k_full", "ppl2_wend", "is50k")
    }
    assert list(lower.values()) == [True, True, True, False]
