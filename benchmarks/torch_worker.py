"""The official PyTorch code as one side of `benchmarks.against_official`; runs under an interpreter that has torch.

    python benchmarks/torch_worker.py OFFICIAL_CHECKOUT TASK

Reads a line from stdin, does the task once, answers with a line of JSON, and so on. Nothing of the official code is
here: it is imported from a checkout that the user has fetched. Its CUDA operations have reference versions, which a CPU
takes.
"""

import json
import pathlib
import resource
import sys
import time
from collections.abc import Callable


def _networks(root: pathlib.Path, resolution: int) -> tuple:
    import numpy as np
    import omegaconf  # pyright: ignore[reportMissingImports]
    import torch  # pyright: ignore[reportMissingImports]

    # The code is older than NumPy 1.24, which dropped the name.
    setattr(np, "float", float)  # noqa: B010 - the type checker knows no such name

    sys.path.insert(0, str(root / "src"))
    from training.networks import Discriminator, Generator  # pyright: ignore[reportMissingImports]

    settings = omegaconf.OmegaConf.load(root / "configs" / "inr-gan.yml")
    generator_settings = omegaconf.OmegaConf.to_container(settings.generator)
    torch.manual_seed(0)
    generator = Generator(
        z_dim=512,
        c_dim=0,
        w_dim=512,
        img_resolution=resolution,
        img_channels=3,
        mapping_kwargs={"num_layers": 2},
        synthesis_kwargs={"channel_base": 32768, "channel_max": 512},
        cfg=generator_settings,
    )
    discriminator = Discriminator(c_dim=0, img_resolution=resolution, img_channels=3, channel_base=32768)
    return torch, generator.requires_grad_(False), discriminator.requires_grad_(False)


def render(root: pathlib.Path, batch: int) -> Callable[[], None]:
    """One forward pass from z to images of 256x256."""
    torch, generator, _ = _networks(root, 256)
    generator.eval()
    z, c = torch.randn(batch, 512), torch.zeros(batch, 0)

    def once() -> None:
        with torch.no_grad():
            generator(z, c)

    return once


def super_resolve(root: pathlib.Path, size: int) -> Callable[[], None]:
    """One forward pass of the paper's original code, a network of 256x256, from z to an image of another size."""
    from unittest import mock

    import torch  # pyright: ignore[reportMissingImports]
    import yaml
    from firelab.config import Config  # pyright: ignore[reportMissingImports]

    original = root / "archive" / "original-implementation"
    sys.path.insert(0, str(original))
    # What the generator does not use but its modules import: CUDA extensions, other networks, readers of data.
    unused = ("stylegan2", "stylegan2.discriminator", "stylegan2.op", "gan", "resnet_gan")
    for name in (*(f"src.models.{each}" for each in unused), "src.dataloaders.imagenet_vs"):
        sys.modules[name] = mock.MagicMock()
    from src.models.inr_gan import INRGenerator  # pyright: ignore[reportMissingImports]

    settings = yaml.safe_load((original / "configs" / "inr-gan.yml").read_text())
    settings["data"].update(target_img_size=256, num_img_channels=3)
    settings["hp"]["inr"].update(num_blocks=7, upsample_block_idx=1)
    generator = INRGenerator(Config({"hp": settings["hp"], "data": settings["data"]})).eval()
    z = torch.randn(1, 512)

    def once() -> None:
        with torch.no_grad():
            generator(z, size)

    return once


def train(root: pathlib.Path, phase: str, batch: int = 8) -> Callable[[], None]:
    """One phase of the official training loop at 64x64, its optimizer step included; `Gmain` also averages weights."""
    torch, generator, discriminator = _networks(root, 64)
    import copy

    from training.loss import StyleGAN2Loss  # pyright: ignore[reportMissingImports]

    averaged = copy.deepcopy(generator).eval()
    loss = StyleGAN2Loss(
        "cpu",
        generator.mapping,
        generator.synthesis,
        discriminator,
        None,
        style_mixing_prob=0,
        r1_gamma=10,
        pl_weight=0,
    )
    modules = {"G": generator.train(), "D": discriminator.train()}
    optimizers = {
        name: torch.optim.Adam(module.parameters(), lr=0.0025, betas=(0.0, 0.99), eps=1e-8)
        for name, module in modules.items()
    }
    real, labels = torch.rand(batch, 3, 64, 64) * 2 - 1, torch.zeros(batch, 0)

    def run(name: str, gain: int) -> None:
        module, optimizer = modules[name[0]], optimizers[name[0]]
        optimizer.zero_grad(set_to_none=True)
        module.requires_grad_(True)
        loss.accumulate_gradients(name, real, labels, torch.randn(batch, 512), labels, sync=True, gain=gain)
        module.requires_grad_(False)
        for parameter in module.parameters():
            if parameter.grad is not None:
                torch.nan_to_num(parameter.grad, nan=0, posinf=1e5, neginf=-1e5, out=parameter.grad)
        optimizer.step()

    def once() -> None:
        run("Gmain", 1)
        run("Dmain", 1)
        if phase == "lazy":
            run("Dreg", 16)
        with torch.no_grad():
            for ours, theirs in zip(averaged.parameters(), generator.parameters(), strict=True):
                ours.copy_(theirs.lerp(ours, 0.999))

    return once


def main() -> None:
    """Answers until stdin ends."""
    root, task = pathlib.Path(sys.argv[1]), sys.argv[2]
    kind, _, argument = task.partition(":")
    makers = {"render": render, "super_resolve": super_resolve, "train": train}
    once = makers[kind](root, int(argument) if argument.isdigit() else argument)
    for _ in sys.stdin:
        started = time.perf_counter()
        once()
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "peak_mib": peak}), flush=True)


if __name__ == "__main__":
    main()
