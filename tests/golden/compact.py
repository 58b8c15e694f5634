"""Makes the compact recordings of this folder: `python -m tests.golden.compact FOLDER`, with the full ones in FOLDER.

The same input gives the same bytes. README.md says what is kept.
"""

import argparse
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.golden.records import FOLDER, SHORT, Summary

NETWORKS = (
    "original-32", "tiny-inr-gan-32", "tiny-inr-gan-bil-32", "tiny-cips-16", "tiny-stylegan2-16", "misc-sigmoid-32",
    "traj-tiny-inr-gan-32", "ada",
)  # fmt: skip
# Inputs that the file of results repeats.
INPUTS = {"images", "cotangent", "reals", "z"}
# Results that are inputs of something else, and filters that are compared to the last digit.
KEPT = {"img", "weights", "Hz_geom", "Hz_fbank"}
JSON = ("variants.json", *(f"full-{name}-256.json" for name in ("inr-gan", "inr-gan-bil", "cips", "stylegan2")))
INCEPTION_CASES = ("s64", "s256", "s299", "rect")
# Files are split so that none is larger than this many bytes before compression; one array may be.
PART_BYTES = 950_000


def network(path: Path) -> dict[str, Any]:
    """Weights and inputs as float32, results from their computation in float64."""
    single, double = np.load(path), np.load(path.with_suffix("").with_suffix(".f64.npz"))
    chosen: dict[str, Any] = {}
    for name in sorted({*single.files, *double.files}):
        is_input = name not in double.files or name in INPUTS
        chosen[name] = single[name] if is_input else brief(name, double[name])
    return chosen


def brief(name: str, array: np.ndarray) -> Any:
    """An array as it is if it is short or among those that are kept, else its summary."""
    return array if array.size <= SHORT or name in KEPT else Summary.of(name, array)


def metrics(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Feature vectors, logits and every short value; radii of neighbours in brief."""
    chosen: dict[str, Any] = {name: arrays[name] for name in ("gen", "real", "logits")}
    for name in ("pr.radius_gen_k3", "pr.radius_real_k3"):
        chosen[name] = Summary.of(name, arrays[name])
    return chosen | {name: array for name, array in arrays.items() if array.size <= SHORT}


def path_lengths(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The toy generator and every distance."""
    return {name: array for name, array in arrays.items() if name != "r32.image_of_z0_0_f64"}


def vgg(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """All but the map of distances, which nothing here computes."""
    return {name: array for name, array in arrays.items() if name != "lpips.far_spatial_f32"}


def inception(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Of the first image of every synthetic case: features, blocks, points of its resized version."""
    chosen: dict[str, Any] = {name: array for name, array in arrays.items() if name.startswith("weights.")}
    for name, array in arrays.items():
        case, *rest = name.split(".")
        if case in INCEPTION_CASES and rest[0] in ("f64", "resized_f64_grid13"):
            chosen[name] = array[:1]
        elif case in INCEPTION_CASES and rest[0] == "block":
            chosen[name] = brief(name, array)
    return chosen


METRICS: Mapping[str, Callable[[Mapping[str, np.ndarray]], dict[str, Any]]] = {
    "metrics": metrics, "ppl": path_lengths, "vgg_lpips": vgg, "inception": inception,
}  # fmt: skip


def packed(recording: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Arrays for a file: summaries become rows of a table."""
    arrays = {name: value for name, value in recording.items() if not isinstance(value, Summary)}
    rows = [value for value in recording.values() if isinstance(value, Summary)]
    if rows:
        width = max(len(row.shape) for row in rows)
        padded = [(*row.shape, *(-1,) * (width - len(row.shape))) for row in rows]
        arrays["summary/names"] = np.array([row.name for row in rows])
        arrays["summary/shapes"] = np.array(padded, np.int32)
        arrays["summary/largest_at"] = np.array([row.largest_at for row in rows])
        arrays["summary/numbers"] = np.array([(row.norm, row.largest, *row.products) for row in rows])
    return arrays


def parts(arrays: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """Arrays by the file that holds them."""
    part: dict[str, np.ndarray] = {}
    for name in sorted(arrays):
        if part and sum(array.nbytes for array in part.values()) + arrays[name].nbytes > PART_BYTES:
            yield part
            part = {}
        part[name] = arrays[name]
    yield part


def write(folder: Path, name: str, recording: Mapping[str, Any]) -> None:
    """Writes a recording as NAME.partN.npz; entries carry no time, so the bytes depend on the arrays alone."""
    for path in folder.glob(f"{name}.part*.npz"):
        path.unlink()
    for number, part in enumerate(parts(packed(recording))):
        with zipfile.ZipFile(folder / f"{name}.part{number}.npz", "w") as archive:
            for key, array in part.items():
                info = zipfile.ZipInfo(f"{key}.npy")
                info.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(info, "w") as entry:
                    np.lib.format.write_array(entry, array, allow_pickle=False)


def write_texts(source: Path, folder: Path) -> None:
    """Copies names, shapes and arguments; of the noise and of the original's settings, what the tests read."""
    for name in JSON:
        write_json(folder / name, json.loads((source / "golden" / name).read_text()))
    floors = json.loads((source / "golden/fp32_noise_floor.json").read_text())
    write_json(folder / "fp32_noise_floor.json", {name: floors[name] for name in NETWORKS})
    settings = json.loads((source / "golden/original-32.json").read_text())["config"]["hp"]
    kept = {"hp": {key: settings[key] for key in ("generator", "inr")}}
    write_json(folder / "original-32.json", {"config": kept})
    name = "inception_key_map.tsv"
    (folder / name).write_bytes((source / "golden_metrics" / name).read_bytes())


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")


def compact(source: Path, folder: Path) -> None:
    """Makes all compact recordings."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in NETWORKS:
        write(folder, name, network(source / "golden" / f"{name}.npz"))
    for name, choose in METRICS.items():
        write(folder, name, choose(dict(np.load(source / "golden_metrics" / f"{name}.npz"))))
    write_texts(source, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes the compact recordings from the full ones.")
    parser.add_argument("source", type=Path, help="folder with golden/ and golden_metrics/")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder to write to; default: this one")
    arguments = parser.parse_args()
    compact(arguments.source, arguments.output)


if __name__ == "__main__":
    main()
