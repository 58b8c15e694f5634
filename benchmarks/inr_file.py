"""Size of the file of one image against that of its generator, worked out from shapes.

python -m benchmarks.inr_file --output=benchmarks/results/inr_file.json
"""

import argparse
import dataclasses
import json
import pathlib

from configs import digits, ffhq
from inr_gan_jax.config.parse import parse_config
from inr_gan_jax.inference.inr_file import file_sizes
from inr_gan_jax.models.build import build_generator

CONFIGURATIONS = {
    "configs/digits.py": digits.get_config,
    **{f"configs/ffhq.py:{name}": lambda name=name: ffhq.get_config(name) for name in ("256", "1024")},
    **{f"configs/ffhq.py:256,{name}": lambda name=name: ffhq.get_config(f"256,{name}") for name in ("release", "cips")},
}


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=pathlib.Path, required=True)
    result = {}
    for name, make in CONFIGURATIONS.items():
        settings = build_generator(parse_config(make())).network.settings
        sizes = file_sizes(settings)
        result[name] = {
            **{f"{key}_bytes": size for key, size in dataclasses.asdict(sizes).items()},
            "generator_over_image": round(sizes.generator / sizes.image, 2),
        }
    text = json.dumps(result, indent=2)
    parser.parse_args().output.write_text(f"{text}\n")
    print(text)


if __name__ == "__main__":
    main()
