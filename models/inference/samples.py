"""Small generated pictures, the same on every machine, to check models on before they are used."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SAMPLE_SIDE = 32


def sample_pictures(count: int = 4) -> npt.NDArray[np.uint8]:
    """Generate pictures (count, 32, 32, 3) with what photographs have: gradients, edges, texture, colour."""
    axis = np.linspace(-1.0, 1.0, SAMPLE_SIDE)
    x, y = np.meshgrid(axis, axis)
    pictures = []
    for index in range(count):
        random = np.random.default_rng(index)
        low, high = random.uniform(0, 255, (2, 3))
        angle = random.uniform(0, 2 * np.pi)
        slope = (np.cos(angle) * x + np.sin(angle) * y + 1.5) / 3
        picture = low + (high - low) * slope[..., None]
        for _ in range(3):
            centre_x, centre_y, radius = random.uniform((-0.7, -0.7, 0.2), (0.7, 0.7, 0.6))
            inside = (x - centre_x) ** 2 + (y - centre_y) ** 2 < radius**2
            picture[inside] = random.uniform(0, 255, 3)
        picture += random.normal(0, 12, picture.shape)
        pictures.append(np.clip(picture, 0, 255).astype(np.uint8))
    return np.stack(pictures)


def enlarge(pictures: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Enlarge pictures (n, s, s, 3) to crops (n, side, side, 3) by repeating pixels, exactly on every machine."""
    index = np.arange(side) * pictures.shape[1] // side
    return np.ascontiguousarray(pictures[:, index][:, :, index])
