"""Synthetic rooms: drawn by this file, so that a graph over NYU-Depth-V2 can be tried at once.

Source: this file; nothing is downloaded and nobody's rights are concerned. Results on it say how
the machinery works, never how well a method does on real rooms.

A sample is a room with furniture along its walls, seen by a camera with the Kinect's intrinsics:
``rgb``, ``depth`` (with the Kinect's growing noise, a few pixels missing), ``normals`` (of the
surfaces, without noise, zero where depth is missing) and NYU-Depth-V2's labels; half of the
pixels on outlines are unlabelled.

What tells the classes apart is known, since it was put there:

- by colour and texture alone: ``wall`` from what hangs flush on it, and those from each other
  within ``picture``, ``window``, ``whiteboard`` (sizes and heights from one distribution) and
  within ``door``, ``curtain`` (likewise, standing on the floor); ``floor mat`` from ``floor``.
  Depth and normals are the same with and without them; they can only guess where such things
  tend to be (a mat lies near the middle);
- by geometry alone: ``wall``, ``floor``, ``ceiling``, ``bed``, ``chair``, ``sofa``, ``table``,
  ``cabinet``, ``counter``, ``refridgerator`` draw their colours and textures from one
  distribution and differ in orientation, height and proportions. Colour sees no more of that than
  outlines, shading and the place in the image. Unless ``looks`` gives each kind of furniture
  colours and patterns of its own: then colour tells them apart, too, for who has seen every look.
  Few labelled rooms show few looks, but all shapes; many rooms without labels show the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np

from mstgraph.recipes import indoor
from mstgraph.store.recipe import Labels, Modality, Recipe
from mstgraph.support.errors import UserError

WALL, FLOOR, CEILING = (indoor.CLASSES.index(name) for name in ("wall", "floor", "ceiling"))
HUNG = ("picture", "window", "whiteboard")
STANDING = ("door", "curtain")
FURNITURE = ("bed", "chair", "sofa", "table", "cabinet", "counter", "refridgerator")


@dataclass
class Rooms(Recipe):
    """Synthetic rooms; see the head of the file.

    Attributes:
        samples: how many rooms.
        size: height and width in pixels; a network may ask more of them.
        seed: another seed, other rooms; room i depends on the seed and i alone.
        light: share of the light that reaches the colour camera, whose noise stays: in a dark room
            colours are hard to tell apart. Depth brings its own light and does not change.
        looks: in how many colours and patterns each kind of furniture comes, none of them shared
            with another kind; 0: all kinds draw theirs from one distribution.
        panels: whether things hang on walls, stand before them or lie on the floor that only
            colour can tell apart; without them nine kinds of surface and furniture are left, and
            the wall.
        level: whether the camera stands at one height and looks down at one angle, as on a robot;
            else both vary from room to room.
    """

    title: ClassVar[str] = "Synthetic rooms"
    source: ClassVar[str] = "drawn by the recipe"
    licence: ClassVar[str] = "none needed: drawn by the recipe"
    synthetic: ClassVar[str] = "synthetic rooms"

    samples: int = 240
    size: tuple[int, int] = (64, 96)
    seed: int = 0
    light: float = 1.0
    looks: int = 0
    panels: bool = True
    level: bool = False

    def __post_init__(self) -> None:
        """Refuse options that give no data set."""
        if self.samples < 1:
            raise UserError(f"samples={self.samples} of Rooms must be at least 1")
        if len(self.size) != 2 or min(self.size) < 1:
            raise UserError(f"size={self.size} of Rooms must be (height, width), both positive")
        if self.seed < 0:
            raise UserError(f"seed={self.seed} of Rooms must not be negative")
        if not 0 < self.light <= 1:
            raise UserError(f"light={self.light} of Rooms must be a share above 0, up to 1")
        if self.looks < 0:
            raise UserError(f"looks={self.looks} of Rooms must not be negative")

    def modalities(self) -> tuple[Modality, ...]:
        """Return ``rgb``, ``depth`` and ``normals``, as NYU-Depth-V2 has them."""
        return indoor.modalities(*self.size)

    def labels(self) -> Labels:
        """Return NYU-Depth-V2's 41 classes per pixel, of which 16 and "unlabelled" occur."""
        return indoor.labels(*self.size)

    def __len__(self) -> int:
        """Return the number of rooms."""
        return self.samples

    def sample(self, index: int) -> Mapping[str, np.ndarray]:
        """Return room ``index`` as a camera would see it."""
        rng = np.random.default_rng([self.seed, index])
        room = furnish(rng, self.looks, self.panels, self.level)
        return _sense(rng, cast(room, *self.size), self.light)

    def official_splits(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        """Return the one split, in the order of drawing: of twelve rooms 8 train, 1 validates."""
        rooms, ends = range(self.samples), (self.samples * 8 // 12, self.samples * 9 // 12)
        parts = {
            "train": rooms[: ends[0]],
            "validation": rooms[slice(*ends)],
            "test": rooms[ends[1] :],
        }
        if not all(parts.values()):  # too few rooms for it
            return {}
        return {"drawn": {name: list(ids) for name, ids in parts.items()}}

    def identifier(self, index: int) -> str:
        """Return "room" and the index."""
        return f"room {index}"


# --- what a room is -------------------------------------------------------------------------


class Paint(NamedTuple):
    """Colour of a surface at a point: two colours and how much of the second, as a pattern."""

    first: np.ndarray
    second: np.ndarray
    pattern: Callable[[np.ndarray, np.ndarray], np.ndarray]
    glow: float = 0.0


class Panel(NamedTuple):
    """A rectangle flush on one of the room's six sides; bounds along the side's two axes."""

    side: int
    low: np.ndarray
    high: np.ndarray
    label: int
    paint: Paint


@dataclass
class Room:
    """A room in metres: x and y along the floor, z up; its low corner is the origin.

    Sides are numbered 2·axis + (1 if far else 0): 4 is the floor, 5 the ceiling. Surfaces are
    numbered sides first, then panels, then pieces of furniture.
    """

    extent: np.ndarray
    camera: np.ndarray
    target: np.ndarray
    light: np.ndarray
    sides: list[Paint]
    panels: list[Panel] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    pieces: list[tuple[int, Paint]] = field(default_factory=list)
    taken: list[np.ndarray] = field(default_factory=list)


def furnish(
    rng: np.random.Generator, looks: int = 0, panels: bool = True, level: bool = False
) -> Room:
    """Draw a room: its shape, the camera in one corner, panels on the walls, furniture."""
    extent = rng.uniform((3.2, 3.2, 2.3), (4.8, 4.8, 2.8))
    corner = rng.integers(0, 2, 2)
    seen = np.abs(corner - rng.uniform((0.12, 0.12), (0.3, 0.3)))
    towards = np.abs(corner - rng.uniform((0.55, 0.55), (0.9, 0.9)))
    camera = np.append(seen * extent[:2], rng.uniform(1.2, 1.8))
    target = np.append(towards * extent[:2], rng.uniform(0.5, 1.2))
    if level:
        camera[2] = _LEVEL_HEIGHT
        target[2] = _LEVEL_HEIGHT - _LEVEL_SLOPE * np.linalg.norm(target[:2] - camera[:2])
    light = extent * np.append(rng.uniform(0.3, 0.7, 2), 0.95)
    room = Room(extent, camera, target, light, [_plain(rng) for _ in range(4)])
    room.sides = [room.sides[0]] * 4 + [room.sides[1], room.sides[2]]
    room.taken.append(np.array([camera[:2] - 0.7, camera[:2] + 0.7]))
    far = [2 * axis + int(corner[axis] == 0) for axis in range(2)]  # the two walls in view
    if panels:
        _hang(rng, room, int(far[rng.integers(2)]), STANDING, (0.8, 1.9), (1.2, 2.1), (0.0, 0.0))
        for side in far:
            for _ in range(2):
                _hang(rng, room, side, HUNG, (0.9, 0.6), (1.7, 0.9), (1.0, 1.25))
        _lay_mat(rng, room)
    for name in rng.permutation(FURNITURE)[:5]:
        for _ in range(6):  # a place may be taken
            if _place(rng, room, name, far[rng.integers(2)], looks):
                break
    return room


def _hang(
    rng: np.random.Generator,
    room: Room,
    side: int,
    names: tuple[str, ...],
    smallest: tuple[float, float],
    largest: tuple[float, float],
    bottom: tuple[float, float],
) -> None:
    """Put a panel of a random class on a wall unless its place is taken."""
    name = names[rng.integers(len(names))]
    width, height = rng.uniform(smallest, largest)
    along = 1 - side // 2
    start = rng.uniform(0.1, room.extent[along] - width - 0.1)
    low = np.array([start, rng.uniform(*bottom)])
    high = low + np.array([width, height])
    others = [panel for panel in room.panels if panel.side == side]
    if any((low < other.high).all() and (other.low < high).all() for other in others):
        return
    label = indoor.CLASSES.index(name)
    room.panels.append(Panel(side, low, high, label, _PANEL_PAINTS[name](rng, low, high)))
    if names == STANDING:  # nothing may hide it
        room.taken.append(_against_wall(room, side, start, width, 0.6))


def _lay_mat(rng: np.random.Generator, room: Room) -> None:
    """Lay a floor mat around the middle of the room."""
    half = rng.uniform(0.4, 0.8, 2)
    middle = room.extent[:2] * rng.uniform(0.4, 0.6, 2)
    low, high = middle - half, middle + half
    label = indoor.CLASSES.index("floor mat")
    room.panels.append(Panel(4, low, high, label, _PANEL_PAINTS["floor mat"](rng, low, high)))


def _against_wall(room: Room, side: int, start: float, width: float, depth: float) -> np.ndarray:
    """Return the footprint, [low/high, x/y], of what stands against a wall."""
    axis, is_far = divmod(side, 2)
    footprint = np.empty((2, 2))
    footprint[:, 1 - axis] = start, start + width
    footprint[:, axis] = (room.extent[axis] - depth, room.extent[axis]) if is_far else (0, depth)
    return footprint


def _place(rng: np.random.Generator, room: Room, name: str, side: int, looks: int) -> bool:
    """Put a piece of furniture against a wall; return False if its place is taken."""
    smallest, largest, parts = _FURNITURE[name]
    width, depth, height = rng.uniform(smallest, largest)
    axis, is_far = divmod(side, 2)
    free = room.extent[1 - axis] - width
    footprint = _against_wall(room, side, rng.uniform(0, free), width, depth)
    footprint += (rng.uniform(0, 0.3) * (1 - 2 * is_far)) * (np.arange(2) == axis)
    if any((footprint[0] < b[1]).all() and (b[0] < footprint[1]).all() for b in room.taken):
        return False
    room.taken.append(footprint)
    for along, out, up in parts:
        box = np.empty((2, 3))
        box[:, 1 - axis] = footprint[0, 1 - axis] + np.array(along) * width
        back, front = footprint[::-1, axis] if is_far else footprint[:, axis]
        box[:, axis] = np.sort(back + np.array(out) * (front - back))
        box[:, 2] = np.array(up) * height
        room.boxes.append(box)
        room.owners.append(len(room.pieces))
    paint = look(rng, name, int(rng.integers(looks))) if looks else _plain(rng)
    room.pieces.append((indoor.CLASSES.index(name), paint))
    return True


_LEVEL_HEIGHT = 1.5  # metres above the floor
_LEVEL_SLOPE = 0.25  # metres down per metre ahead
_ALL = (0.0, 1.0)
_LEGS = [(x, y, (0.0, 0.9)) for x in ((0.0, 0.08), (0.92, 1.0)) for y in ((0.0, 0.1), (0.9, 1.0))]
# Smallest and largest (width, depth, height) in metres; parts as fractions of them, along the
# wall, out from it, and up.
_FURNITURE: dict[str, tuple] = {
    "bed": ((1.3, 1.8, 0.45), (1.7, 2.0, 0.6), [(_ALL, _ALL, _ALL)]),
    "chair": (
        (0.5, 0.5, 0.85),
        (0.6, 0.6, 1.0),
        [(_ALL, _ALL, (0.25, 0.5)), (_ALL, (0.0, 0.2), _ALL)]
        + [(x, (0.8, 1.0), (0.0, 0.5)) for x in ((0.0, 0.15), (0.85, 1.0))],
    ),
    "sofa": (
        (1.5, 0.8, 0.75),
        (2.0, 0.95, 0.9),
        [(_ALL, _ALL, (0.0, 0.5)), (_ALL, (0.0, 0.3), _ALL)]
        + [(x, _ALL, (0.0, 0.75)) for x in ((0.0, 0.12), (0.88, 1.0))],
    ),
    "table": ((1.1, 0.7, 0.7), (1.6, 0.95, 0.8), [(_ALL, _ALL, (0.88, 1.0)), *_LEGS]),
    "cabinet": ((0.8, 0.4, 1.2), (1.3, 0.55, 1.5), [(_ALL, _ALL, _ALL)]),
    "counter": ((1.5, 0.55, 0.88), (2.2, 0.65, 0.96), [(_ALL, _ALL, _ALL)]),
    "refridgerator": ((0.6, 0.6, 1.7), (0.75, 0.75, 1.95), [(_ALL, _ALL, _ALL)]),
}


# --- colours --------------------------------------------------------------------------------


def _colour(hue: float, saturation: float, value: float) -> np.ndarray:
    """Return red, green, blue in 0…1."""
    place = (np.array([5.0, 3.0, 1.0]) + 6 * hue) % 6
    return value * (1 - saturation * np.clip(np.minimum(place, 4 - place), 0, 1))


def _plain(rng: np.random.Generator) -> Paint:
    """Draw what walls, floors, ceilings and furniture all are painted with: faint stripes."""
    first = _colour(rng.random(), rng.uniform(0.05, 0.45), rng.uniform(0.5, 0.9))
    angle, waves = rng.uniform(0, np.pi), 2 * np.pi * rng.uniform(1.5, 5)
    along, across = waves * np.cos(angle), waves * np.sin(angle)

    def stripes(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return 0.5 + 0.5 * np.sin(along * u + across * v)

    return Paint(first, first * rng.uniform(0.75, 1), stripes)


def look(rng: np.random.Generator, name: str, number: int) -> Paint:
    """Return look ``number`` of a kind of furniture, the same in every room but for its shade."""
    own = np.random.default_rng([FURNITURE.index(name), number])
    colours = [_colour(own.random(), own.uniform(0.5, 1), own.uniform(0.4, 0.95)) for _ in range(2)]
    kind, waves = own.integers(3), 2 * np.pi * own.uniform(1.5, 4)

    def pattern(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        along, up = np.sin(waves * u), np.sin(waves * v)
        return ((along, up, along * up)[kind] > 0).astype(np.float32)

    first, second = np.clip(rng.uniform(0.85, 1.1) * np.array(colours), 0, 1)
    return Paint(first, second, pattern)


def _window(rng: np.random.Generator, low: np.ndarray, high: np.ndarray) -> Paint:
    """Daylight behind a white cross of bars."""
    sky = _colour(rng.uniform(0.52, 0.6), rng.uniform(0.35, 0.6), rng.uniform(0.9, 1))

    def bars(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        s, t = _within(u, v, low, high)
        return (np.minimum(np.abs(s - 0.5), np.abs(t - 0.5)) < 0.05).astype(np.float32)

    return Paint(sky, np.full(3, 0.95), bars, glow=0.8)


def _picture(rng: np.random.Generator, low: np.ndarray, high: np.ndarray) -> Paint:
    """Two saturated colours in large patches."""
    hue = rng.random()
    first = _colour(hue, rng.uniform(0.75, 1), rng.uniform(0.5, 0.9))
    second = _colour(hue + rng.uniform(0.3, 0.7), rng.uniform(0.75, 1), rng.uniform(0.3, 0.7))
    phase = rng.uniform(0, 2 * np.pi, 2)

    def patches(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        s, t = _within(u, v, low, high)
        waves = np.sin(9 * s + phase[0]) * np.sin(7 * t + phase[1])
        return (waves > 0).astype(np.float32)

    return Paint(first, second, patches)


def _whiteboard(rng: np.random.Generator, low: np.ndarray, high: np.ndarray) -> Paint:
    """White with a few lines of writing."""
    ink = _colour(rng.random(), 0.5, 0.5)
    lines = rng.uniform(3, 5)

    def writing(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        s, t = _within(u, v, low, high)
        return 0.5 * ((np.sin(2 * np.pi * lines * t) > 0.8) & (np.sin(40 * s) > -0.3))

    return Paint(np.full(3, rng.uniform(0.93, 1)), ink, writing, glow=0.3)


def _door(rng: np.random.Generator, low: np.ndarray, high: np.ndarray) -> Paint:
    """Brown wood with two sunk fields."""
    wood = _colour(rng.uniform(0.05, 0.09), rng.uniform(0.6, 0.8), rng.uniform(0.4, 0.6))

    def fields(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        s, t = _within(u, v, low, high)
        return ((np.abs(s - 0.5) < 0.3) & (np.abs(np.abs(t - 0.5) - 0.23) < 0.17)).astype(float)

    return Paint(wood, 0.7 * wood, fields)


def _curtain(rng: np.random.Generator, low: np.ndarray, high: np.ndarray) -> Paint:
    """Upright folds in a strong red or violet."""
    cloth = _colour(rng.uniform(0.78, 0.98), rng.uniform(0.6, 0.85), rng.uniform(0.6, 0.85))
    folds = rng.uniform(4, 7)

    def waves(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        s, _ = _within(u, v, low, high)
        return 0.5 + 0.5 * np.sin(2 * np.pi * folds * s)

    return Paint(cloth, 0.5 * cloth, waves)


def _mat(rng: np.random.Generator, low: np.ndarray, high: np.ndarray) -> Paint:
    """Rings of two saturated greens or yellows."""
    first = _colour(rng.uniform(0.15, 0.4), rng.uniform(0.7, 0.95), rng.uniform(0.4, 0.7))

    def rings(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        s, t = _within(u, v, low, high)
        return (np.maximum(np.abs(s - 0.5), np.abs(t - 0.5)) * 10 % 2 > 1).astype(np.float32)

    return Paint(first, 0.5 * first, rings)


_PANEL_PAINTS = {
    "window": _window,
    "picture": _picture,
    "whiteboard": _whiteboard,
    "door": _door,
    "curtain": _curtain,
    "floor mat": _mat,
}


def _within(
    u: np.ndarray, v: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the place in a panel as fractions of its width and height."""
    return (u - low[0]) / (high[0] - low[0]), (v - low[1]) / (high[1] - low[1])


# --- what the camera sees -------------------------------------------------------------------


@dataclass
class View:
    """What each pixel sees, before any sensor's noise.

    Attributes:
        depth: [height, width] in metres.
        normals: [3, height, width] unit vectors in camera coordinates.
        surface: [height, width], the number of the surface; a panel is one of its own.
        solid: [height, width], the number of the body; a panel belongs to its wall or floor.
        label: [height, width], its class.
        rgb: [3, height, width], 0…1, lit.
    """

    depth: np.ndarray
    normals: np.ndarray
    surface: np.ndarray
    solid: np.ndarray
    label: np.ndarray
    rgb: np.ndarray


def cast(room: Room, height: int, width: int) -> View:
    """Cast one ray per pixel into a room."""
    pose = _pose(room)
    rays = indoor.Intrinsics.kinect(height, width).rays(height, width).reshape(3, -1)
    directions = (pose.T @ rays).astype(np.float32)
    depth, axis, owner = _nearest(room, directions)
    every = np.arange(len(depth))
    sign = np.sign(directions[axis, every])
    points = room.camera[:, None].astype(np.float32) + directions * depth
    u = np.where(axis == 0, points[1], points[0])
    v = np.where(axis == 2, points[1], points[2])
    side = np.where(owner < 0, 2 * axis + (sign > 0), -1)
    surface, label, colour, glow = _colours(room, side, owner, u, v)
    normals = np.zeros_like(directions)
    normals[axis, every] = -sign
    lit = _lit(room, points, normals, glow) * colour
    shape = (height, width)
    return View(
        depth.reshape(shape),
        (pose.astype(np.float32) @ normals).reshape(3, *shape),
        surface.reshape(shape),
        np.where(owner < 0, side, owner + 6).reshape(shape),
        label.reshape(shape),
        lit.reshape(3, *shape),
    )


def _pose(room: Room) -> np.ndarray:
    """Return the rotation from the room's to the camera's axes: right, down, forward."""
    forward = room.target - room.camera
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])


def _nearest(room: Room, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return depth, the axis of the face that is hit, and the piece (-1: a side of the room)."""
    inverse = 1 / np.where(np.abs(directions) < 1e-6, np.float32(1e-6), directions)
    camera = room.camera.astype(np.float32)
    extent = room.extent.astype(np.float32)
    exits = (np.where(inverse > 0, extent[:, None], np.float32(0)) - camera[:, None]) * inverse
    axis = exits.argmin(0)
    depth = exits.min(0)
    owner = np.full(len(depth), -1)
    boxes = np.array(room.boxes, np.float32).reshape(-1, 2, 3) - camera
    for box, piece in zip(boxes, room.owners, strict=True):
        first, second = box[0, :, None] * inverse, box[1, :, None] * inverse
        enters = np.minimum(first, second)
        enter = enters.max(0)
        hit = (enter < np.maximum(first, second).min(0)) & (enter > 0) & (enter < depth)
        depth[hit] = enter[hit]
        axis[hit] = enters[:, hit].argmax(0)
        owner[hit] = piece
    return depth, axis, owner


def _colours(
    room: Room, side: np.ndarray, owner: np.ndarray, u: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return each pixel's surface, label, colour [3, pixels] and glow."""
    surface = np.where(owner < 0, side, owner + 6 + len(room.panels))
    for number, panel in enumerate(room.panels, 6):
        inside = (u > panel.low[0]) & (u < panel.high[0])
        inside &= (v > panel.low[1]) & (v < panel.high[1])
        surface[inside & (side == panel.side)] = number
    names = [WALL] * 4 + [FLOOR, CEILING] + [panel.label for panel in room.panels]
    names += [label for label, _ in room.pieces]
    paints = room.sides + [panel.paint for panel in room.panels]
    paints += [paint for _, paint in room.pieces]
    colour = np.empty((3, len(surface)), np.float32)
    for number in np.unique(surface):
        here = np.flatnonzero(surface == number)
        paint = paints[number]
        mixed = np.asarray(paint.pattern(u[here], v[here]), np.float32)
        change = (paint.second - paint.first).astype(np.float32)[:, None]
        colour[:, here] = paint.first.astype(np.float32)[:, None] + change * mixed
    glow = np.array([paint.glow for paint in paints], np.float32)[surface]
    return surface, np.array(names, np.uint8)[surface], colour, glow


def _lit(room: Room, points: np.ndarray, normals: np.ndarray, glow: np.ndarray) -> np.ndarray:
    """Return how bright each pixel is under one lamp and the light all around."""
    towards = room.light.astype(np.float32)[:, None] - points
    distance = np.sqrt((towards**2).sum(0))
    lamp = np.clip((towards * normals).sum(0) / distance, 0, 1) / (1 + 0.05 * distance**2)
    return np.maximum(0.55 + 0.5 * lamp, glow)


def _sense(rng: np.random.Generator, view: View, light: float) -> dict[str, np.ndarray]:
    """Add the sensors' noise and leave out what they and the annotators would not get."""
    shape = view.depth.shape
    tint = rng.uniform(0.9, 1.0, (3, 1, 1))
    noise = rng.standard_normal((4, *shape), np.float32)
    rgb = light * view.rgb * tint + 0.025 * noise[:3]
    # The Kinect's axial noise: Nguyen, Izadi and Lovell, 3DIMPVT 2012.
    spread = 0.0012 + 0.0019 * (view.depth - 0.4) ** 2
    chance = rng.random(shape, np.float32)
    missing = chance < np.where(_outline(view.solid), 0.2, 0.003)
    depth = np.where(missing, 0, np.clip(view.depth + spread * noise[3], 0.01, 65))
    label = np.where(_outline(view.surface) & (chance > 0.5), indoor.UNLABELLED, view.label)
    normals = np.where(missing, 0, view.normals)
    return indoor.stored(np.rint(255 * np.clip(rgb, 0, 1)), depth, normals, label)


def _outline(surface: np.ndarray) -> np.ndarray:
    """Return where the next pixel to the right or below has another number."""
    outline = np.zeros(surface.shape, bool)
    outline[:, :-1] |= surface[:, 1:] != surface[:, :-1]
    outline[:-1] |= surface[1:] != surface[:-1]
    return outline
