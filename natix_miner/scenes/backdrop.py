"""Sky, land and road: everything behind the things that stand on the road."""

from __future__ import annotations

import numpy as np

from natix_miner.scenes.camera import Camera, Road
from natix_miner.scenes.canvas import Canvas
from natix_miner.scenes.houses import draw_houses
from natix_miner.scenes.mood import Mood
from natix_miner.scenes.noise import noise
from natix_miner.scenes.palette import EARTH, near, pick, scaled
from natix_miner.scenes.shapes import Colour

FAR = 140.0


def draw_backdrop(rng: np.random.Generator, camera: Camera, mood: Mood) -> tuple[Canvas, Road]:
    """Draw sky, land, road and houses on a new canvas."""
    canvas = Canvas(np.zeros((camera.height, camera.width, 3), np.uint8))
    _sky(rng, canvas, camera, mood)
    lanes = (
        int(rng.integers(1, 6)) if mood.place in ("city", "highway") else int(rng.integers(1, 3))
    )
    lane = float(rng.uniform(2.9, 3.7))
    own = int(rng.integers(0, lanes))
    left = -lane * (own + 0.5) - float(rng.uniform(0, 2))
    right = left + lane * lanes + float(rng.uniform(0.3, 3.0))
    road = Road(left, right, lane, float(rng.uniform(1.5, 4.0)))
    _land(rng, canvas, camera, mood, road)
    if mood.place in ("city", "suburb"):
        draw_houses(rng, canvas, camera, mood, road)
    return canvas, road


def _sky(rng: np.random.Generator, canvas: Canvas, camera: Camera, mood: Mood) -> None:
    rows = int(np.clip(camera.horizon + 3, 0, camera.height))
    if rows == 0:
        return
    if mood.hour == "dusk":
        top, low = (
            pick(rng, ((90, 100, 150), (120, 110, 140)), 15),
            pick(rng, ((250, 170, 100), (245, 130, 80), (240, 190, 150)), 15),
        )
    elif mood.weather == "clear":
        top, low = (
            pick(rng, ((70, 120, 195), (95, 150, 215), (60, 100, 170)), 12),
            pick(rng, ((190, 215, 235), (225, 230, 235)), 10),
        )
    else:
        top, low = (
            pick(rng, ((170, 178, 188), (205, 208, 212), (140, 148, 160)), 12),
            pick(rng, ((205, 208, 210), (230, 230, 230)), 10),
        )
    part = np.linspace(0, 1, rows, dtype=np.float32)[:, None, None] ** 0.8
    sky = np.asarray(top, np.float32) * (1 - part) + np.asarray(low, np.float32) * part
    sky = np.broadcast_to(sky, (rows, camera.width, 3))
    if rng.random() < 0.6:
        grain = max(2, camera.width // int(rng.integers(5, 14)))
        cloud = noise(rng, rows, camera.width, grain, 1.0) + 0.5 * noise(
            rng, rows, camera.width, max(2, grain // 3), 1.0
        )
        cover = np.clip(cloud * 0.6, 0, 0.85)[..., None]
        sky = sky * (1 - cover) + np.asarray(near(rng, (240, 240, 242), 8), np.float32) * cover
    canvas.pixels[:rows] = np.clip(sky, 0, 255).astype(np.uint8)


def _land(rng: np.random.Generator, canvas: Canvas, camera: Camera, mood: Mood, road: Road) -> None:
    top = int(np.clip(camera.horizon, 0, camera.height))
    if mood.weather == "snow":
        ground: Colour = near(rng, (225, 228, 235), 8)
    elif mood.place in ("city", "highway") and rng.random() < 0.7:
        ground = near(rng, (135, 132, 128), 15)
    else:
        ground = pick(rng, ((95, 115, 60), (120, 125, 75), (80, 105, 55), *EARTH), 12)
    canvas.pixels[top:] = ground
    near_edge = camera.nearest() * 0.9
    grey = float(rng.uniform(70, 165)) - (15 if mood.weather == "rain" else 0)
    surface = near(rng, (grey, grey, grey * float(rng.uniform(0.95, 1.06))), 4)
    if rng.random() < 0.15:
        surface = near(rng, (grey * 1.1, grey * 0.98, grey * 0.9), 5)
    walk = near(rng, (165, 160, 152), 15)
    if mood.place in ("city", "suburb"):
        for side, edge in ((-1, road.left), (1, road.right)):
            outer = edge + side * road.walk
            canvas.poly(camera.strip(min(edge, outer), max(edge, outer), near_edge, FAR), walk)
    canvas.poly(camera.strip(road.left, road.right, near_edge, FAR), surface)
    rows = camera.height - top
    if rows > 2:
        grain = max(2, camera.width // 50)
        texture = noise(rng, rows, camera.width, grain, 5) + noise(
            rng, rows, camera.width, max(2, grain // 4), 3
        )
        texture += noise(
            rng, rows, camera.width, 1, float(rng.uniform(2, 7)) * min(1.0, 448 / camera.width)
        )
        area = canvas.pixels[top:]
        area[:] = np.clip(area + texture[..., None], 0, 255).astype(np.uint8)
    _stains(rng, canvas, camera, road, surface)
    _markings(rng, canvas, camera, mood, road)
    if mood.place in ("city", "suburb"):
        kerb = near(rng, (185, 182, 175), 12)
        if rng.random() < 0.08:
            kerb = pick(rng, ((190, 60, 50), (220, 180, 50)), 12)
        for edge in (road.left, road.right):
            canvas.poly(camera.strip(edge - 0.12, edge + 0.12, near_edge, 60), kerb)


def _stains(
    rng: np.random.Generator, canvas: Canvas, camera: Camera, road: Road, surface: Colour
) -> None:
    """Cracks, patches, pot-holes, puddles and man-holes: no roadwork by themselves."""
    for _ in range(int(rng.integers(0, 6))):
        across, ahead = float(rng.uniform(road.left, road.right)), float(rng.uniform(3, 30))
        kind = rng.random()
        if kind < 0.35:
            path = [(across, ahead)]
            for _ in range(7):
                path.append((path[-1][0] + float(rng.normal(0, 0.3)), path[-1][1] * 1.07))
            points = [camera.ground(*spot) for spot in path]
            canvas.line(points, camera.scale(ahead) * 0.03, scaled(surface, 0.55))
        elif kind < 0.6:
            patch = scaled(surface, float(rng.uniform(0.6, 1.2)))
            wide, long = float(rng.uniform(0.6, 2.5)), float(rng.uniform(1.1, 1.6))
            canvas.poly(camera.strip(across, across + wide, ahead, ahead * long, 3), patch)
        else:
            x, y = camera.ground(across, ahead)
            scale = camera.scale(ahead) * float(rng.uniform(0.3, 0.9))
            angles = np.linspace(0, 6.28, 14, endpoint=False)
            reach = rng.uniform(0.7, 1.1, 14) * scale
            flat = camera.eye / ahead
            ring = np.stack([x + np.cos(angles) * reach, y + np.sin(angles) * reach * flat], 1)
            canvas.poly(ring, scaled(surface, 0.6))
            inner = (ring - (x, y)) * 0.8 + (x, y)
            fill = (
                scaled(surface, 0.5)
                if rng.random() < 0.6
                else pick(rng, ((150, 140, 125), (190, 200, 210)), 12)
            )
            canvas.poly(inner, fill)


def _markings(
    rng: np.random.Generator, canvas: Canvas, camera: Camera, mood: Mood, road: Road
) -> None:
    if (mood.weather == "snow" and rng.random() < 0.6) or rng.random() < 0.1:
        return
    white = near(rng, (225, 225, 220), 12)
    yellow = pick(rng, ((225, 180, 60), (215, 160, 40), (230, 150, 50), (235, 195, 100)), 10)
    wide = float(rng.uniform(0.1, 0.18))
    start = camera.nearest() * 0.9
    for edge, colour in (
        (road.left + 0.35, yellow if rng.random() < 0.4 else white),
        (road.right - 0.35, white),
    ):
        if rng.random() < 0.7:
            canvas.poly(camera.strip(edge - wide / 2, edge + wide / 2, start, 90), colour)
    count = round((road.right - road.left) / road.lane)
    middle = int(rng.integers(1, count)) if count > 1 and rng.random() < 0.5 else -1
    dash, gap = float(rng.uniform(2, 4)), float(rng.uniform(3, 9))
    for index in range(1, count):
        across = road.left + index * road.lane
        if index == middle:
            for side in (-0.15, 0.15):
                canvas.poly(
                    camera.strip(across + side - 0.06, across + side + 0.06, start, 90), yellow
                )
            continue
        ahead = start + float(rng.uniform(0, dash + gap))
        while ahead < 60:
            canvas.poly(
                camera.strip(across - wide / 2, across + wide / 2, ahead, ahead + dash, 3), white
            )
            ahead += dash + gap
    if rng.random() < 0.2:
        ahead = float(rng.uniform(6, 25))
        for across in np.arange(road.left, road.right, 1.0):
            canvas.poly(camera.strip(across, across + 0.5, ahead, ahead + 3, 2), white)
    if rng.random() < 0.2:
        ahead, across = float(rng.uniform(5, 15)), float(rng.uniform(-3, 3))
        canvas.poly(camera.strip(across - 0.1, across + 0.1, ahead, ahead + 2.5, 2), white)
        tip = [camera.ground(across - 0.45, ahead + 2.2), camera.ground(across + 0.45, ahead + 2.2),
               camera.ground(across, ahead + 4)]  # fmt: skip
        canvas.poly(tip, white)
