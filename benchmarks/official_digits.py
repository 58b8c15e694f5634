"""The official PyTorch code trained on the digits, measured as our runs are; for `configs/digits.py:release`.

    git clone https://github.com/universome/inr-gan official && python -m venv torch-venv
    torch-venv/bin/pip install torch numpy omegaconf scikit-learn
    torch-venv/bin/python -m benchmarks.official_digits --official=official --seed=0 --kimg=60 \
        --output=benchmarks/results/official_digits_0.json

Its networks and losses are imported from the checkout. Its training loop needs CUDA, so the order of phases, the lazy
regularisation, the cleaning of gradients and the average of its loop are spelled out here; batches are epochs shuffled
anew. Settings: z = w = 64, channel_base 512 and channel_max 64 in both networks, coordinates at 4 and 8 with
`low_res_cfg` and const_emb_size 16, and what its `auto` configuration gives one device at this size: batch 32, rate
0.0025, average over 10 kimg with a ramp-up of 0.05; gamma 1, no flips, no augmentation.

--images takes other pictures of 8x8 than the digits: a .npy file of uint8 [number, 8, 8, channels].
"""

import argparse
import copy
import json
import pathlib
import sys
import time
from typing import Any

import numpy as np

from inr_gan_jax.metrics.pixel_fd import PixelFD

_BATCH, _SIDE, _LATENT, _WIDTH = 32, 8, 64, 64
_NUM_SAMPLES, _DRAWN_AT_A_TIME = 10_000, 500
# Phase, and steps between two of it.
_PHASES = (("Gmain", 1), ("Greg", 4), ("Dmain", 1), ("Dreg", 16))
_RATE, _BETA2 = 0.0025, 0.99
_EMA_IMAGES, _EMA_RAMPUP = 10_000, 0.05


class OfficialRun:
    """One training.

    Args:
        official: checkout of the official code.
        seed: of weights, latent codes and the order of the images.
        images: uint8 [number, 8, 8, channels].
    """

    def __init__(self, official: pathlib.Path, seed: int, images: np.ndarray) -> None:
        # The code is older than NumPy 1.24, which dropped the name.
        setattr(np, "float", float)  # noqa: B010 - the type checker knows no such name
        sys.path.insert(0, str(official / "src"))
        import torch  # pyright: ignore[reportMissingImports]
        from training.loss import StyleGAN2Loss  # pyright: ignore[reportMissingImports]

        self._torch, self._random = torch, np.random.default_rng(seed)
        self.version, self.step = torch.__version__, 0
        torch.manual_seed(seed)
        self._images = images
        generator, discriminator = _networks(official, images.shape[-1])
        self._modules = {"G": generator, "D": discriminator}
        self._optimizers = {
            name: _adam(torch, self._modules[name], interval) for name, interval in (("G", 4), ("D", 16))
        }
        self._average = copy.deepcopy(generator).eval()
        self._loss = StyleGAN2Loss(
            "cpu", generator.mapping, generator.synthesis, discriminator, style_mixing_prob=0, r1_gamma=1, pl_weight=0
        )
        self._waiting = np.zeros(0, np.int64)

    def do_step(self) -> None:
        """Shows one batch to the networks."""
        torch = self._torch
        real = torch.from_numpy(self._next_images().astype(np.float32)).permute(0, 3, 1, 2).contiguous() / 127.5 - 1
        no_labels = torch.zeros(_BATCH, 0)
        for name, interval in _PHASES:
            z = torch.randn(_BATCH, _LATENT)
            if self.step % interval:
                continue
            module, optimizer = self._modules[name[0]], self._optimizers[name[0]]
            optimizer.zero_grad(set_to_none=True)
            module.requires_grad_(True)
            self._loss.accumulate_gradients(name, real, no_labels, z, no_labels, sync=True, gain=interval)
            module.requires_grad_(False)
            for parameter in module.parameters():
                if parameter.grad is not None:
                    torch.nan_to_num(parameter.grad, nan=0, posinf=1e5, neginf=-1e5, out=parameter.grad)
            optimizer.step()
        self._take_into_average()
        self.step += 1

    def distances(self) -> dict[str, float]:
        """The pixel distance of the averaged generator, of its images as they are and as bytes."""
        torch = self._torch
        real = (self._images / 127.5 - 1).astype(np.float32)
        state = torch.random.get_rng_state()
        with torch.no_grad():
            drawn = [
                self._average(torch.randn(_DRAWN_AT_A_TIME, _LATENT), torch.zeros(_DRAWN_AT_A_TIME, 0)).numpy()
                for _ in range(_NUM_SAMPLES // _DRAWN_AT_A_TIME)
            ]
        torch.random.set_rng_state(state)
        images = np.concatenate(drawn).transpose(0, 2, 3, 1)
        metric = PixelFD(real, _NUM_SAMPLES)
        return dict(zip(("pixel_fd", "pixel_fd_bytes"), metric([images]), strict=True))

    def _next_images(self) -> np.ndarray:
        if len(self._waiting) < _BATCH:
            self._waiting = np.concatenate([self._waiting, self._random.permutation(len(self._images))])
        chosen, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
        return self._images[chosen]

    def _take_into_average(self) -> None:
        half_life = min(_EMA_IMAGES, self.step * _BATCH * _EMA_RAMPUP)
        keep = 0.5 ** (_BATCH / max(half_life, 1e-8))
        with self._torch.no_grad():
            pairs = zip(self._average.parameters(), self._modules["G"].parameters(), strict=True)
            for average, newest in pairs:
                average.copy_(newest.lerp(average, keep))
            for average, newest in zip(self._average.buffers(), self._modules["G"].buffers(), strict=True):
                average.copy_(newest)


def _digits() -> np.ndarray:
    """The handwritten digits, uint8 [1797, 8, 8, 1]."""
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    return np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]


def _networks(official: pathlib.Path, num_channels: int) -> tuple[Any, Any]:
    """The official generator and discriminator at the size of the digits."""
    import omegaconf  # pyright: ignore[reportMissingImports]
    from training.networks import Discriminator, Generator  # pyright: ignore[reportMissingImports]

    loaded = omegaconf.OmegaConf.load(official / "configs" / "inr-gan.yml").generator
    settings: Any = omegaconf.OmegaConf.to_container(loaded)
    coordinates = {**settings["coords"]["low_res_cfg"], "const_emb_size": 16}
    settings["coords"] |= {"low_res_cfg": coordinates, "res_configs": {"4": coordinates, "8": coordinates}}
    settings["input"] |= {"resolution": 4, "coord_fuser_cfg": settings["coords"]}
    settings["num_extra_convs"] = {}
    widths = {"channel_base": _WIDTH * _SIDE, "channel_max": _WIDTH}
    generator = Generator(
        z_dim=_LATENT,
        c_dim=0,
        w_dim=_LATENT,
        img_resolution=_SIDE,
        img_channels=num_channels,
        mapping_kwargs={"num_layers": 2},
        synthesis_kwargs=widths,
        cfg=settings,
    )
    discriminator = Discriminator(c_dim=0, img_resolution=_SIDE, img_channels=num_channels, conv_clamp=256, **widths)
    return generator.train().requires_grad_(False), discriminator.train().requires_grad_(False)


def _adam(torch: Any, module: Any, interval: int) -> Any:
    """Adam, corrected for the steps of a regulariser of its own."""
    share = interval / (interval + 1)
    return torch.optim.Adam(module.parameters(), lr=_RATE * share, betas=(0.0, _BETA2**share), eps=1e-8)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--official", type=pathlib.Path, required=True, help="checkout of the official code")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kimg", type=float, default=250, help="thousands of real images to show")
    parser.add_argument("--evaluate_kimg", type=float, default=10, help="between two evaluations")
    parser.add_argument(
        "--images", type=pathlib.Path, help=".npy file of uint8 [number, 8, 8, channels]; the digits when not given"
    )
    parser.add_argument("--output", type=pathlib.Path, help="JSON file, written after each evaluation")
    values = parser.parse_args()
    images = np.load(values.images) if values.images else _digits()
    run, curve, started = OfficialRun(values.official, values.seed, images), [], time.time()
    period, total = (round(kimg * 1000 / _BATCH) for kimg in (values.evaluate_kimg, values.kimg))
    while run.step < total:
        run.do_step()
        if run.step % period == 0 or run.step == total:
            curve.append({"kimg": run.step * _BATCH / 1000, **run.distances(), "seconds": time.time() - started})
            print(json.dumps(curve[-1]), flush=True)
            record = {"seed": values.seed, "torch": run.version, "command": " ".join(sys.argv[1:])}
            if values.output:
                values.output.write_text(json.dumps({**record, "curve": curve}, indent=1) + "\n")


if __name__ == "__main__":
    main()
