"""The recorded tensors of the original implementation, laid out as our variables."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from inr_gan_jax.models.paper.architecture import PaperArchitecture
from tests.golden.records import load_json, rearranged

_INR = "inr.model._inr_modules"


def load_settings(name: str) -> PaperArchitecture:
    """The generator settings of one recorded variant."""
    config = load_json(f"{name}.json")["config"]["hp"]
    inr, hypernetwork = config["inr"], config["generator"]
    sides = sorted(inr["resolutions_params"], key=int)
    assert all(int(fine) == 2 * int(coarse) for coarse, fine in itertools.pairwise(sides))
    blocks = [inr["resolutions_params"][side] for side in sides]
    return PaperArchitecture(
        height=int(sides[-1]),
        width=int(sides[-1]),
        features=tuple(block["dim"] for block in blocks),
        num_layers=tuple(block["n_layers"] for block in blocks),
        num_fourier_features=tuple(block["num_learnable_coord_feats"] for block in blocks),
        fourier_scale=tuple(float(block["fourier_scale"]) for block in blocks),
        max_num_fixed_features=tuple(block["max_num_fixed_coord_feats"] for block in blocks),
        to_rgb=tuple(block["to_rgb"] for block in blocks),
        z_dim=hypernetwork["z_dim"],
        mapping_dim=hypernetwork["hid_dim"],
        num_mapping_layers=hypernetwork["num_layers"],
        rank=inr["module_kwargs"]["se_factorized"]["rank"],
        equalised_lr=inr["module_kwargs"]["se_factorized"]["equalized_lr"],
        first_dense_block=inr["upsample_block_idx"],
        activation=inr["activation"],
    )


def generator_params(arrays: Mapping[str, Any], settings: PaperArchitecture, prefix: str = "G/") -> dict:
    """Recorded parameters (or gradients, by prefix) of the generator in our layout."""

    def get(name: str) -> Any:
        return rearranged(arrays[prefix + name], np.transpose)

    def dense(name: str) -> dict:
        return {"kernel": get(f"{name}.weight"), "bias": get(f"{name}.bias")}

    hypernetwork: dict[str, Any] = {"connector": dense("connector")}
    for index in range(settings.num_mapping_layers):
        hypernetwork[f"mapping_{index}"] = dense(f"mapping_network.{index}.transform.0")
        if index:
            hypernetwork[f"branch_weight_{index}"] = get(f"mapping_network.{index}.main_branch_weight")
    params: dict[str, Any] = {"hypernetwork": hypernetwork}
    for index, block in enumerate(settings.blocks):
        base = f"{_INR}.b_{index}._inr_modules"
        layers = {
            f"layer_{number}": {"kernel": get(f"{base}.transform._inr_modules.{2 * number}.weight")}
            for number in range(block.num_layers)
        }
        if index:
            connector = f"{base}.connector._inr_modules.0"
            layers["connector_low"] = {"kernel": get(f"{connector}.lr_feat_embedder.weight")}
            layers["connector_high"] = {"kernel": get(f"{connector}.hr_coord_embedder.weight")}
        params[f"blocks_{index}"] = layers
    return params


def discriminator_params(arrays: Mapping[str, Any], side: int, prefix: str = "D/") -> dict:
    """Recorded parameters (or gradients, by prefix) of the discriminator in our layout."""

    def conv(name: str) -> Any:
        return rearranged(arrays[f"{prefix}{name}.weight"], lambda kernel: kernel.transpose(2, 3, 1, 0))

    def bias(name: str) -> Any:
        return arrays[f"{prefix}{name}.bias"]

    def from_channels_first(kernel: np.ndarray) -> np.ndarray:
        """The recorded network flattens channels first, ours last."""
        out = kernel.shape[1]
        return kernel.reshape(-1, 4, 4, out).transpose(1, 2, 0, 3).reshape(-1, out)

    params: dict[str, Any] = {"from_rgb": {"kernel": conv("convs.0.0"), "bias": bias("convs.0.1")}}
    number = 1
    while side > 4:
        params[f"block_{side}"] = {
            "conv0": {"kernel": conv(f"convs.{number}.conv1.0"), "bias": bias(f"convs.{number}.conv1.1")},
            "conv1": {"kernel": conv(f"convs.{number}.conv2.1"), "bias": bias(f"convs.{number}.conv2.2")},
            "skip": {"kernel": conv(f"convs.{number}.skip.1")},
        }
        number, side = number + 1, side // 2
    params["final_conv"] = {"kernel": conv("final_conv.0"), "bias": bias("final_conv.1")}
    for ours, theirs in (("final_dense", "final_linear.0"), ("output", "final_linear.1")):
        kernel = rearranged(arrays[f"{prefix}{theirs}.weight"], np.transpose)
        params[ours] = {"kernel": kernel, "bias": bias(theirs)}
    params["final_dense"]["kernel"] = rearranged(params["final_dense"]["kernel"], from_channels_first)
    return params
