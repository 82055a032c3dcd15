"""Rows of houses on both sides of the road, brick and orange walls among them."""

from __future__ import annotations

import cv2
import numpy as np

from natix_miner.scenes.camera import Camera, Road
from natix_miner.scenes.canvas import Canvas
from natix_miner.scenes.mood import Mood
from natix_miner.scenes.palette import BRICKS, FACADES, near, pick, scaled
from natix_miner.scenes.shapes import Colour


def draw_houses(
    rng: np.random.Generator, canvas: Canvas, camera: Camera, mood: Mood, road: Road
) -> None:
    """Stand houses along the walks, far ones first; some streets have them on one side only."""
    tall = (6, 30) if mood.place == "city" else (4, 9)
    gap = 0.15 if mood.place == "city" else 0.5
    for side in (-1, 1):
        if rng.random() < 0.12:
            continue
        edge = (road.left if side < 0 else road.right) + side * (
            road.walk + float(rng.uniform(0, 6))
        )
        ahead, row = 110.0, []
        while ahead > 5:
            deep = float(rng.uniform(7, 24))
            if rng.random() > gap:
                row.append((max(ahead - deep, 2.5), ahead, float(rng.uniform(*tall))))
            ahead -= deep
        for close, far, high in row:
            bricks = rng.random() < 0.4
            wall = scaled(
                pick(rng, BRICKS if bricks else FACADES, 12), float(rng.uniform(0.6, 1.1))
            )
            _house(rng, canvas, camera, (edge, side, close, far, high), wall, mood)


def _house(
    rng: np.random.Generator,
    canvas: Canvas,
    camera: Camera,
    place: tuple[float, int, float, float, float],
    wall: Colour,
    mood: Mood,
) -> None:
    edge, side, close, far, high = place

    def at(ahead: float, up: float, out: float = 0.0) -> tuple[float, float]:
        x, y = camera.ground(edge + side * out, ahead)
        return x, y - up * camera.scale(ahead)

    canvas.poly([at(close, 0), at(close, high), at(far, high), at(far, 0)], wall)
    front = scaled(wall, float(rng.uniform(0.7, 1.15)))
    canvas.poly([at(close, 0), at(close, high), at(close, high, 14), at(close, 0, 14)], front)
    glass = near(rng, (70, 82, 95), 18) if mood.hour != "night" else near(rng, (95, 90, 75), 15)
    storeys, bays = max(1, int(high / 3.3)), max(1, int((far - close) / 3))
    panes: list[list[tuple[float, float]]] = []
    lamps: list[list[tuple[float, float]]] = []
    shine = 0.25 if mood.hour == "night" else 0.0
    for storey in range(min(storeys, 9)):
        low, up = storey * 3.3 + 1, storey * 3.3 + 2.6
        for bay in range(min(bays, 7)):
            one = close + (far - close) * (bay + 0.25) / bays
            two = close + (far - close) * (bay + 0.72) / bays
            pane = [at(one, low), at(one, up), at(two, up), at(two, low)]
            (lamps if rng.random() < shine else panes).append(pane)
        for bay in range(3):
            out = 1 + bay * 4
            panes.append(
                [
                    at(close, low, out),
                    at(close, up, out),
                    at(close, up, out + 1.6),
                    at(close, low, out + 1.6),
                ]
            )
    _fill(canvas, panes, glass)
    for pane in lamps:
        canvas.poly(pane, (255, 215, 140), 0.9)


def _fill(canvas: Canvas, polygons: list[list[tuple[float, float]]], colour: Colour) -> None:
    if polygons:
        corners = np.clip(np.asarray(polygons), -20000, 40000)
        cv2.fillPoly(
            canvas.pixels, list(np.rint(corners * 16).astype(np.int32)), colour, cv2.LINE_AA, 4
        )
