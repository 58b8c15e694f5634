"""The pipeline of ADA in NumPy, one image at a time, with arrays that grow as the transforms ask."""

from typing import Any

import numpy as np

SYM2 = np.array([1 - 3**0.5, 3 - 3**0.5, 3 + 3**0.5, 1 + 3**0.5]) / (4 * 2**0.5)
POWER = np.array([10, 1, 1, 1]) / 13


def bilinear(image: np.ndarray, transform: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Samples [height, width, channels] at transform @ (x, y, 1), all from the centres; zero outside."""
    height, width = image.shape[:2]
    rows, columns = np.meshgrid(*(np.arange(count) - (count - 1) / 2 for count in size), indexing="ij")
    x, y = np.tensordot(transform, np.stack([columns, rows, np.ones_like(rows)]), axes=1)[:2]
    x, y = x + (width - 1) / 2, y + (height - 1) / 2
    sampled = np.zeros((*size, image.shape[2]))
    for place in np.ndindex(*size):
        left, top = int(np.floor(x[place])), int(np.floor(y[place]))
        for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
            if 0 <= row < height and 0 <= column < width:
                sampled[place] += image[row, column] * (1 - abs(x[place] - column)) * (1 - abs(y[place] - row))
    return sampled


def double(values: np.ndarray, taps: np.ndarray) -> np.ndarray:
    spread = np.zeros(2 * len(values))
    spread[::2] = values
    return np.convolve(np.pad(spread, (6, 5)), 2 * taps, "valid")


def halve(values: np.ndarray, taps: np.ndarray) -> np.ndarray:
    return np.correlate(values[1:-1], taps, "valid")[::2]


def move(image: np.ndarray, inverse: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """Extends by as many mirrored pixels as the corners ask, doubles, samples, halves."""
    height, width, _ = image.shape
    half = np.array([width - 1, height - 1]) / 2
    corners = inverse @ np.array([[x * half[0], y * half[1], 1] for x in (-1, 1) for y in (-1, 1)]).T
    reached = np.concatenate([-corners[:2], corners[:2]]).max(axis=1)
    left, top, right, bottom = np.ceil(np.clip(reached + np.tile(6 - half, 2), 0, np.tile(2 * half, 2))).astype(int)
    image = np.pad(image, ((top, bottom), (left, right), (0, 0)), mode="reflect")
    inverse = translate((left - right) / 2, (top - bottom) / 2) @ inverse
    for axis in (0, 1):
        image = np.apply_along_axis(double, axis, image, taps)
    inverse = np.diag([2.0, 2, 1]) @ inverse @ np.diag([0.5, 0.5, 1])
    inverse = translate(-0.5, -0.5) @ inverse @ translate(0.5, 0.5)
    image = bilinear(image, inverse, (2 * height + 12, 2 * width + 12))
    for axis in (0, 1):
        image = np.apply_along_axis(halve, axis, image, taps)
    return image


def translate(x: float, y: float) -> np.ndarray:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])


def turn(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


def inverse_transform(settings: Any, chosen: Any, p: float, width: int, height: int) -> np.ndarray:
    size = np.array([width, height])
    once = 1 - np.sqrt(1 - min(settings.rotate * p, 1))
    steps = np.round(chosen("xint", settings.xint * p, lambda u: (2 * u - 1) * settings.xint_max, 0) * size)
    scale = chosen("scale", settings.scale * p, lambda n: 2 ** (n * settings.scale_std), 1)
    stretch = chosen("aniso", settings.aniso * p, lambda n: 2 ** (n * settings.aniso_std), 1)
    shift = chosen("xfrac", settings.xfrac * p, lambda n: n * settings.xfrac_std, 0) * size
    matrix = np.diag([1 - 2 * chosen("xflip", settings.xflip * p, lambda u: np.floor(2 * u), 0), 1, 1])
    matrix = matrix @ turn(np.pi / 2 * chosen("rotate90", settings.rotate90 * p, lambda u: np.floor(4 * u), 0))
    matrix = matrix @ np.linalg.inv(translate(*np.broadcast_to(steps, 2)))
    matrix = matrix @ np.linalg.inv(np.diag([scale, scale, 1]))
    matrix = matrix @ turn(chosen("pre_rotation", once, lambda u: (2 * u - 1) * np.pi * settings.rotate_max, 0))
    matrix = matrix @ np.linalg.inv(np.diag([stretch, 1 / stretch, 1]))
    matrix = matrix @ turn(chosen("post_rotation", once, lambda u: (2 * u - 1) * np.pi * settings.rotate_max, 0))
    return matrix @ np.linalg.inv(translate(*np.broadcast_to(shift, 2)))


def colour_matrix(settings: Any, chosen: Any, p: float) -> np.ndarray:
    luma = np.array([1, 1, 1, 0]) / np.sqrt(3)
    along = np.outer(luma, luma)
    matrix = np.eye(4)
    matrix[:3, 3] += chosen("brightness", settings.brightness * p, lambda n: n * settings.brightness_std, 0)
    factor = chosen("contrast", settings.contrast * p, lambda n: 2 ** (n * settings.contrast_std), 1)
    matrix = np.diag([factor, factor, factor, 1]) @ matrix
    flip = chosen("lumaflip", settings.lumaflip * p, lambda u: np.floor(2 * u), 0)
    matrix = (np.eye(4) - 2 * along * flip) @ matrix
    angle = chosen("hue", settings.hue * p, lambda u: (2 * u - 1) * np.pi * settings.hue_max, 0)
    basis = np.eye(4)
    for column in range(3):
        axis = basis[:3, column]
        spun = axis * np.cos(angle) + np.cross(luma[:3], axis) * np.sin(angle)
        basis[:3, column] = spun + luma[:3] * (luma[:3] @ axis) * (1 - np.cos(angle))
    factor = chosen("saturation", settings.saturation * p, lambda n: 2 ** (n * settings.saturation_std), 1)
    return (along + (np.eye(4) - along) * factor) @ basis @ matrix


def recolour(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    if image.shape[2] == 3:
        return image @ matrix[:3, :3].T + matrix[:3, 3]
    row = matrix[:3].mean(axis=0)
    return image * row[:3].sum() + row[3]


def band_filters() -> np.ndarray:
    high = SYM2 * (-1) ** np.arange(4)
    low, high = (np.convolve(taps, taps[::-1]) / 2 for taps in (SYM2, high))
    bank = [np.array([1.0])] * 4
    for level in (1, 2, 3):
        for band, taps in enumerate(bank):
            stretched = np.zeros(2 * len(taps) - 1)
            stretched[::2] = taps
            bank[band] = np.convolve(stretched, low) * (band < level)
        bank[level] = np.pad(high, (len(bank[0]) - len(high)) // 2)
    return np.stack(bank)


def amplify(image: np.ndarray, factors: np.ndarray) -> np.ndarray:
    gains = np.ones(4)
    for band, factor in enumerate(factors):
        one = np.where(np.arange(4) == band, factor, 1.0)
        gains *= one / np.sqrt(np.sum(POWER * one**2))
    taps = gains @ band_filters()
    for axis in (0, 1):
        padding = [(21, 21) if place == axis else (0, 0) for place in range(3)]
        padded = np.pad(image, padding, mode="reflect")
        image = np.apply_along_axis(np.convolve, axis, padded, taps, "valid")
    return image


def augment(settings: Any, image: np.ndarray, inputs: Any, p: float, taps: np.ndarray) -> np.ndarray:
    """Augments [height, width, channels]; the inputs are those of one image, without batch axis."""

    def chosen(name: str, probability: Any, change: Any, neutral: float) -> Any:
        return np.where(
            inputs[name].chance < probability, change(np.asarray(inputs[name].strength, np.float64)), neutral
        )

    height, width, _ = image.shape
    image = move(image, inverse_transform(settings, chosen, p, width, height), taps)
    image = recolour(image, colour_matrix(settings, chosen, p))
    bands = settings.imgfilter * p * np.array(settings.imgfilter_bands)
    image = amplify(image, chosen("imgfilter", bands, lambda n: 2 ** (n * settings.imgfilter_std), 1))
    sigma = chosen("noise", settings.noise * p, lambda n: abs(n) * settings.noise_std, 0)
    image = image + sigma * inputs["noise"].pixels
    if inputs["cutout"].chance < settings.cutout * p:
        x, y = inputs["cutout"].strength
        near_x = abs((np.arange(width) + 0.5) / width - x) < settings.cutout_size / 2
        near_y = abs((np.arange(height) + 0.5) / height - y) < settings.cutout_size / 2
        image = np.where((near_y[:, None] & near_x[None, :])[..., None], 0, image)
    return image
