"""Where things stand: street life for every scene, work zones for those with roadwork."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from natix_miner.scenes import devices, furniture, machines, vehicles
from natix_miner.scenes.camera import Road
from natix_miner.scenes.canvas import NEUTRAL, NOTHING, WORK
from natix_miner.scenes.mood import Mood
from natix_miner.scenes.shapes import Shape


@dataclass(frozen=True, slots=True)
class Placed:
    """A shape on the ground: metres right and ahead, mask value, tip in degrees, mirrored."""

    shape: Shape
    across: float
    ahead: float
    mask: int
    degrees: float = 0.0
    mirror: bool = False


Maker = Callable[..., Shape]
LINES: tuple[Maker, ...] = (devices.cone, devices.cone, devices.cone, devices.drum, devices.drum,
                            devices.tube, devices.panel, devices.plastic_barrier,
                            devices.barricade, devices.fence)  # fmt: skip
SINGLES: tuple[Maker, ...] = (devices.work_sign, devices.work_sign, devices.barricade,
                              devices.cone, devices.drum, machines.arrow_board,
                              machines.message_board)  # fmt: skip
MACHINES: tuple[Maker, ...] = (
    machines.excavator,
    machines.excavator,
    machines.loader,
    machines.roller,
    machines.work_truck,
    machines.work_truck,
)


def street_life(rng: np.random.Generator, road: Road, mood: Mood, loud: float) -> list[Placed]:
    """Cars, people, trees and furniture; ``loud`` is the share in roadwork's colours."""
    placed: list[Placed] = []

    def add(shape: Shape, across: float, ahead: float, mask: int = NOTHING) -> None:
        placed.append(Placed(shape, across, ahead, mask, 0.0, bool(rng.random() < 0.5)))

    def distance(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    def beside() -> float:
        out = float(rng.uniform(0.4, road.walk + 1.5))
        return road.left - out if rng.random() < 0.5 else road.right + out

    for _ in range(int(rng.integers(0, 7))):
        lanes = max(1, round((road.right - road.left) / road.lane))
        across = (
            road.left + road.lane * (float(rng.integers(lanes)) + 0.5) + float(rng.normal(0, 0.2))
        )
        kind = rng.random()
        ahead = distance(6, 70)
        if kind < 0.6:
            add(vehicles.car(rng, loud), across, ahead)
        elif kind < 0.85:
            add(vehicles.truck(rng, loud), across, ahead)
        elif kind < 0.93:
            add(vehicles.cyclist(rng, loud), across, ahead)
        else:
            add(vehicles.rickshaw(rng), across, ahead)
    if rng.random() < 0.35:
        side = vehicles.side_truck if rng.random() < 0.5 else vehicles.side_car
        add(side(rng, loud), float(rng.uniform(-9, 9)), distance(10, 45))
    if rng.random() < 0.05:
        add(
            machines.dump_truck(rng, rng.random() < 0.5),
            float(rng.uniform(-7, 7)),
            distance(9, 40),
            NEUTRAL,
        )
    if rng.random() < 0.04:
        add(furniture.animal(rng), float(rng.uniform(road.left, road.right)), distance(7, 30))
    if mood.place in ("city", "suburb"):
        for _ in range(int(rng.integers(0, 5))):
            add(
                vehicles.car(rng, loud),
                road.left + 1.0 if rng.random() < 0.5 else road.right - 1.0,
                distance(6, 50),
            )
        for _ in range(int(rng.integers(0, 5))):
            add(vehicles.person(rng, loud), beside(), distance(5, 45))
        for _ in range(int(rng.integers(0, 4))):
            add(furniture.bin_or_box(rng), beside(), distance(5, 40))
        for _ in range(int(rng.integers(0, 3))):
            add(furniture.bollard(rng), beside(), distance(5, 40))
        if rng.random() < 0.3:
            add(
                (furniture.awning if rng.random() < 0.6 else furniture.umbrella)(rng),
                beside() * 1.3,
                distance(10, 40),
            )
        if rng.random() < 0.3:
            add(furniture.traffic_light(rng), beside(), distance(10, 40))
    for _ in range(int(rng.integers(0, 4))):
        add(furniture.road_sign(rng), beside(), distance(6, 45))
    for _ in range(int(rng.integers(0, 4))):
        add(furniture.pole(rng), beside(), distance(8, 60))
    if rng.random() < 0.25:
        add(furniture.board(rng), beside() * 1.5, distance(12, 60))
    for _ in range(int(rng.integers(0, 8))):
        add(
            furniture.tree(rng, mood.autumn),
            beside() * float(rng.uniform(1, 2.5)),
            distance(10, 90),
        )
    for _ in range(int(rng.integers(0, 4))):
        add(furniture.bush(rng, mood.autumn), beside() * float(rng.uniform(1, 2)), distance(6, 60))
    for _ in range(int(rng.integers(0, 4))):
        add(furniture.clutter(rng), float(rng.uniform(-8, 8)), distance(5, 40))
    if rng.random() < 0.05:  # a concrete median wall
        across = road.left - 0.3
        for ahead in np.geomspace(5, 60, 14):
            add(devices.concrete_barrier(rng), across, float(ahead), NEUTRAL)
    return placed


def work_zone(rng: np.random.Generator, road: Road, plain: bool, close: float) -> list[Placed]:
    """One to four groups of roadwork; ``plain`` ones have no orange, ``close`` is metres."""
    placed: list[Placed] = []
    groups = int(rng.choice([1, 2, 3, 4], p=(0.35, 0.3, 0.22, 0.13)))
    for index in range(groups):
        kind = rng.random()
        if kind < 0.5:
            placed += _line(rng, road, plain, close)
        elif kind < 0.72:
            maker = SINGLES[int(rng.integers(len(SINGLES)))]
            placed.append(_stand(rng, maker(rng, plain), road, close, 28))
        elif kind < 0.9 or index == 0:
            placed += _crew(rng, road, plain, close)
        else:
            for _ in range(int(rng.integers(1, 4))):
                placed.append(_stand(rng, machines.worker(rng, plain), road, close, 25))
    return placed


def _stand(
    rng: np.random.Generator, shape: Shape, road: Road, close: float, far: float, mask: int = WORK
) -> Placed:
    """Anywhere on or just beside the road, near enough to be seen."""
    across = float(rng.uniform(road.left - 1.5, road.right + 1.5))
    low = max(close * 1.1, shape.metres * 1.5)
    ahead = float(np.exp(rng.uniform(np.log(low), np.log(max(low * 1.5, far)))))
    across = float(np.clip(across, -0.42 * ahead, 0.42 * ahead))
    tip = 0.0
    if shape.kind in ("cone", "tube", "panel", "drum"):
        tip = float(rng.choice([-90, 90])) if rng.random() < 0.05 else float(rng.normal(0, 3))
    return Placed(shape, across, ahead, mask, tip, bool(rng.random() < 0.5))


def _line(rng: np.random.Generator, road: Road, plain: bool, close: float) -> list[Placed]:
    maker = LINES[int(rng.integers(len(LINES)))]
    seed = int(rng.integers(2**32))
    count = int(rng.choice([1, 2, 3, 4, 6, 8, 11], p=(0.2, 0.15, 0.15, 0.15, 0.15, 0.1, 0.1)))
    start = close * float(rng.uniform(1.15, 4))
    step = float(rng.uniform(1.2, 6.0))
    across = float(rng.uniform(road.left - 0.5, road.right + 0.5))
    across = float(np.clip(across, -0.4 * start, 0.4 * start))
    drift = float(rng.normal(0, 0.08))
    placed = []
    for index in range(count):
        # the same seed draws devices of one kind and colour, as one crew would set them out
        shape = maker(np.random.default_rng(seed), plain)
        place = across + drift * index * step + float(rng.normal(0, 0.12))
        tip = float(rng.normal(0, 2)) if shape.metres < 1.4 else 0.0
        if shape.kind == "cone" and rng.random() < 0.03:
            tip = 90.0
        placed.append(Placed(shape, place, start + index * step, WORK, tip))
    if plain and rng.random() < 0.35:
        for index in range(int(rng.integers(2, 7))):
            wall = devices.concrete_barrier(rng)
            placed.append(Placed(wall, across + 1.0, start + index * 3.0, NEUTRAL))
    return placed


def _crew(rng: np.random.Generator, road: Road, plain: bool, close: float) -> list[Placed]:
    """A machine with workers, earth and perhaps a tipper around it."""
    maker = MACHINES[int(rng.integers(len(MACHINES)))]
    machine = _stand(rng, maker(rng, plain), road, close * 1.6, 35)
    placed = [machine]
    for _ in range(int(rng.integers(0, 4))):
        spot = (
            machine.across + float(rng.normal(0, 2.5)),
            max(close, machine.ahead + float(rng.normal(-1, 2))),
        )
        placed.append(Placed(machines.worker(rng, plain), *spot, WORK))
    if rng.random() < 0.5:
        spot = (
            machine.across + float(rng.normal(0, 2)),
            max(close, machine.ahead - float(rng.uniform(0, 2))),
        )
        placed.append(Placed(machines.earth_heap(rng), *spot, WORK))
    if rng.random() < 0.3:
        truck = machines.dump_truck(rng, plain)
        placed.append(Placed(truck, machine.across + 4, machine.ahead + 5, NEUTRAL))
    return placed
