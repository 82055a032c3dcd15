"""What happens to light on its way: haze, night, rain, snow, and the camera's own faults."""

from __future__ import annotations

import cv2
import numpy as np

from natix_miner.scenes.camera import Camera
from natix_miner.scenes.canvas import Canvas
from natix_miner.scenes.mood import Mood
from natix_miner.scenes.noise import noise


def weather(rng: np.random.Generator, canvas: Canvas, camera: Camera, mood: Mood) -> None:
    """Apply haze, night, rain or snow to the canvas in place."""
    picture = canvas.pixels.astype(np.float32)
    rows = np.arange(camera.height, dtype=np.float32)
    away = np.abs(rows - camera.horizon) / camera.height
    if mood.weather == "fog" or rng.random() < 0.3:
        strength = (
            float(rng.uniform(0.5, 0.9)) if mood.weather == "fog" else float(rng.uniform(0, 0.35))
        )
        reach = 0.35 if mood.weather == "fog" else 0.12
        veil = (strength * np.exp(-away / reach))[:, None, None]
        picture += (float(rng.uniform(190, 230)) - picture) * veil
    if mood.hour != "day":
        _darken(rng, picture, canvas, camera, mood)
    if mood.weather == "rain":
        streaks = np.zeros(picture.shape[:2], np.float32)
        unit = camera.height / 336
        for _ in range(int(rng.integers(40, 130))):
            x, y = rng.uniform(0, camera.width), rng.uniform(0, camera.height)
            long = float(rng.uniform(6, 18)) * unit
            cv2.line(
                streaks,
                (int(x), int(y)),
                (int(x + long * 0.15), int(y + long)),
                float(rng.uniform(8, 26)),
                max(1, int(unit)),
            )
        picture += streaks[..., None]
    if mood.weather == "snow":
        spots = noise(rng, camera.height, camera.width, 1, 1.0) > 2.6
        flakes = cv2.dilate(spots.astype(np.float32), np.ones((2, 2), np.uint8))
        picture += (235 - picture) * (0.7 * cv2.blur(flakes, (2, 2)))[..., None]
    canvas.pixels[:] = np.clip(picture, 0, 255).astype(np.uint8)


def _darken(
    rng: np.random.Generator, picture: np.ndarray, canvas: Canvas, camera: Camera, mood: Mood
) -> None:
    """Dim what does not shine, add the own head-lights and the lamps' halos."""
    level = float(rng.uniform(0.1, 0.32)) if mood.hour == "night" else float(rng.uniform(0.4, 0.75))
    tint = np.array([0.9, 0.95, 1.15] if rng.random() < 0.6 else [1.15, 0.95, 0.7], np.float32)
    x = (np.arange(camera.width, dtype=np.float32) - camera.width / 2) / camera.width
    y = (np.arange(camera.height, dtype=np.float32) - camera.horizon) / camera.height - 0.2
    beam = np.exp(-((x[None] / 0.42) ** 2) - (y[:, None] / 0.2) ** 2)
    beam *= float(rng.uniform(0.2, 0.7)) if mood.hour == "night" else 0.05
    lit = canvas.lit
    dim = (level + beam)[..., None] * tint
    picture *= dim + (1 - dim) * (lit * float(rng.uniform(0.55, 1.0)))[..., None]
    size = max(3, camera.width // 40) | 1
    quarter = (camera.width // 4 + 1, camera.height // 4 + 1)
    small = cv2.resize(picture, quarter, interpolation=cv2.INTER_AREA)
    small *= (cv2.resize(lit, quarter, interpolation=cv2.INTER_AREA) > 0.6)[..., None]
    halo = cv2.blur(cv2.blur(small, (size, size)), (size, size))
    picture += cv2.resize(halo, (camera.width, camera.height)) * float(rng.uniform(0.5, 1.6))


def lens(rng: np.random.Generator, canvas: Canvas) -> None:
    """Bonnet, overlay text, exposure, colour cast, vignette, blur, noise: the camera's part."""
    height, width = canvas.height, canvas.width
    if rng.random() < 0.35:
        _bonnet(rng, canvas)
    if rng.random() < 0.15:
        place = (int(width * rng.uniform(0.02, 0.7)), int(height * rng.choice([0.06, 0.96])))
        text = str(rng.integers(10**9))
        colour = tuple(int(c) for c in rng.choice([(240, 240, 240), (240, 210, 60), (70, 90, 170)]))
        cv2.putText(
            canvas.pixels,
            text,
            place,
            cv2.FONT_HERSHEY_SIMPLEX,
            width / 1100,
            colour,
            1,
            cv2.LINE_AA,
        )
    if rng.random() < 0.45:
        sigma = float(rng.uniform(0.3, 1.1)) * width / 448
        canvas.pixels[:] = cv2.GaussianBlur(canvas.pixels, (0, 0), sigma)
    gain = float(rng.uniform(0.78, 1.22)) * (1 + rng.normal(0, 0.035, 3)).astype(np.float32)
    gamma = float(rng.uniform(0.75, 1.3))
    steps = np.linspace(0, 1, 256, dtype=np.float32)[:, None] ** gamma * 255 * gain
    table = np.clip(steps + rng.uniform(-8, 12), 0, 255).astype(np.uint8)[None]
    canvas.pixels[:] = cv2.LUT(canvas.pixels, table)
    picture = canvas.pixels.astype(np.float32)
    if rng.random() < 0.8:  # surfaces are never as even as drawn ones
        grain = max(2, width // int(rng.integers(60, 200)))
        uneven = noise(rng, height, width, grain, float(rng.uniform(0.01, 0.05)))
        uneven = uneven + noise(rng, height, width, 6 * grain, float(rng.uniform(0.01, 0.07)))
        picture *= (1 + uneven)[..., None]
    if rng.random() < 0.4:
        grey = picture.mean(2, keepdims=True)
        picture = grey + (picture - grey) * float(rng.uniform(0.55, 1.35))
    if rng.random() < 0.4:
        x = np.linspace(-1, 1, width, dtype=np.float32)[None] ** 2
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] ** 2
        picture *= (1 - float(rng.uniform(0.05, 0.3)) * (x + y))[..., None]
    if rng.random() < 0.7:
        grain = float(rng.uniform(1, 7)) * min(1.0, 448 / width)  # large sensors average it out
        picture += noise(rng, height, width, 1, grain)[..., None]
    canvas.pixels[:] = np.clip(picture, 0, 255).astype(np.uint8)


def _bonnet(rng: np.random.Generator, canvas: Canvas) -> None:
    height, width = canvas.height, canvas.width
    high = height * float(rng.uniform(0.03, 0.14))
    x = np.linspace(0, width, 14)
    bend = high * (1 - 0.8 * ((x - width / 2) / (width / 2)) ** 2)
    points = [(0, height), *zip(x, height - bend, strict=True), (width, height)]
    tone = float(rng.choice([25, 60, 150, 205]))
    canvas.poly(points, (tone, tone, tone * 1.05))
    canvas.line(list(zip(x, height - bend, strict=True)), height / 150, (tone * 1.2 + 20,) * 3)
    canvas.mark(points, 0)
