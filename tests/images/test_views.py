"""Views: what is cut, from where, and that no black comes along."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from natix_miner.images import (
    Frame,
    View,
    crops,
    enlarged,
    measure,
    mirrored,
    shrink,
    tiles,
    upright,
    whole,
)
from natix_miner.images.generations import letterbox, tilt_picture


def frame_of(pixels: np.ndarray) -> Frame:
    height, width = pixels.shape[:2]
    pixels.flags.writeable = False
    return Frame(pixels, width, height, "JPEG", measure(pixels, width, height))


def chequered(height: int, width: int, cell: int = 16) -> np.ndarray:
    """Squares of two greys with one orange in the middle: what is upright shows at once."""
    y, x = np.indices((height, width)) // cell
    pixels = np.where(((x + y) % 2)[..., None], 190, 110).astype(np.uint8).repeat(3, 2)
    middle_y, middle_x = height // 2, width // 2
    pixels[middle_y - 8 : middle_y + 8, middle_x - 8 : middle_x + 8] = (240, 90, 20)
    return pixels


def test_shrinking_averages_and_never_enlarges() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 128, 3), np.uint8)
    small = shrink(pixels, 32)
    want = pixels.reshape(16, 4, 32, 4, 3).mean((1, 3))
    assert np.abs(small - want).max() <= 1
    assert shrink(pixels, 500) is pixels


def test_whole_keeps_the_aspect() -> None:
    view = whole(frame_of(chequered(300, 600)), 224)
    assert view.pixels.shape == (112, 224, 3)
    assert view.box == (0, 0, 600, 300)
    assert view.tilt_removed == 0.0


def test_upright_of_an_upright_frame_is_the_frame() -> None:
    frame = frame_of(chequered(201, 333))
    view = upright(frame)
    assert np.array_equal(view.pixels, frame.pixels)
    assert view.box == (0, 0, 333, 201)


def test_padding_is_cut_off() -> None:
    frame = frame_of(letterbox(chequered(252, 448)))
    view = upright(frame)
    assert view.pixels.shape == (126, 224, 3)
    assert view.box == (0, 49, 224, 175)
    assert view.pixels[..., 0].min() > 60


@pytest.mark.parametrize("shape", [(126, 224), (224, 224), (225, 123), (300, 401)])
def test_squares_lie_in_the_middle(shape: tuple[int, int]) -> None:
    frame = frame_of(chequered(*shape))
    view = upright(frame, square=True)
    assert view.pixels.shape[0] == view.pixels.shape[1] == min(shape)
    left, top, right, bottom = view.box
    assert abs((left + right) - shape[1]) <= 1
    assert abs((top + bottom) - shape[0]) <= 1


@pytest.mark.parametrize("degrees", [-20.0, -11.0, -3.0, 3.0, 11.0, 20.0])
@pytest.mark.parametrize("square", [False, True])
@pytest.mark.parametrize("boxed", [False, True])
def test_tilt_is_turned_back_without_black(degrees: float, square: bool, boxed: bool) -> None:
    base = letterbox(chequered(252, 448, 32)) if boxed else chequered(224, 224)
    frame = frame_of(tilt_picture(base, degrees))
    view = upright(frame, square=square)
    assert view.tilt_removed == pytest.approx(degrees, abs=0.5)
    assert view.pixels[..., 0].min() > 50
    height, width = view.pixels.shape[:2]
    assert height * width > (0.2 if boxed and square else 0.28 if boxed else 0.5) * 224 * 224
    if square:
        assert height == width
    # The lines of the chequerboard run level and plumb again: its rows repeat themselves.
    horizontal = np.abs(np.diff(view.pixels[..., 1].astype(int), axis=1))
    steps = np.sort(horizontal.mean(0))
    assert steps[-max(2, width // 20) :].mean() > 6 * np.median(horizontal.mean(0)) + 4


def test_upright_stays_about_the_centre() -> None:
    frame = frame_of(tilt_picture(chequered(224, 224), 14.0))
    view = upright(frame)
    orange = (view.pixels[..., 0] > 200) & (view.pixels[..., 2] < 60)
    rows, columns = np.nonzero(orange)
    assert columns.mean() == pytest.approx(view.pixels.shape[1] / 2, abs=2)
    assert rows.mean() == pytest.approx(view.pixels.shape[0] / 2, abs=2)
    left, top, right, bottom = view.box
    assert 0 <= left < right <= 224
    assert 0 <= top < bottom <= 224


def test_upright_can_be_shrunk() -> None:
    assert max(upright(frame_of(chequered(600, 800)), 224).pixels.shape) == 224


def test_tiles_cover_the_road_band_of_a_large_frame() -> None:
    frame = frame_of(chequered(1080, 1920))
    cut = tiles(frame, 512)
    seen = np.zeros((1080, 1920), int)
    for view in cut:
        left, top, right, bottom = view.box
        assert right - left == bottom - top == 512
        assert np.array_equal(view.pixels, frame.pixels[top:bottom, left:right])
        seen[top:bottom, left:right] += 1
    assert (seen[324:1026] >= 1).all()
    assert len({view.name for view in cut}) == len(cut)
    lefts = sorted({view.box[0] for view in cut})
    assert all(second - first <= 512 * 0.8 for first, second in itertools.pairwise(lefts))


def test_the_middle_of_the_road_comes_first() -> None:
    cut = tiles(frame_of(chequered(1080, 1920)), 400)
    left, top, right, bottom = cut[0].box
    assert abs((left + right) / 2 - 960) < 250
    assert abs((top + bottom) / 2 - 648) < 250


@pytest.mark.parametrize("limit", [1, 2, 5, 12])
def test_no_more_tiles_than_allowed_but_the_same_ground(limit: int) -> None:
    frame = frame_of(chequered(1512, 2016))
    cut = tiles(frame, 224, limit=limit)
    assert 0 < len(cut) <= limit
    assert all(max(view.pixels.shape[:2]) <= 224 for view in cut)
    if limit >= 5:
        columns = np.zeros(2016, bool)
        for view in cut:
            columns[view.box[0] : view.box[2]] = True
        assert columns.all()


def test_tiles_leave_padding_out() -> None:
    padded = np.zeros((1000, 1000, 3), np.uint8)
    padded[219:781] = chequered(562, 1000)
    for view in tiles(frame_of(padded), 300):
        assert view.pixels[..., 0].min() > 60


@pytest.mark.parametrize("shape", [(224, 224), (100, 224), (20, 3000)])
def test_small_and_thin_frames_have_no_tiles(shape: tuple[int, int]) -> None:
    assert tiles(frame_of(chequered(*shape)), 224) == []


def test_views_do_not_touch_the_frame() -> None:
    frame = frame_of(tilt_picture(chequered(480, 640), 8.0))
    before = frame.pixels.copy()
    whole(frame, 100), upright(frame, 100, square=True), tiles(frame, 128)
    assert np.array_equal(frame.pixels, before)
    assert cv2.countNonZero(frame.pixels[..., 0]) > 0


def test_enlarged_cuts_the_padding_and_grows_what_is_left() -> None:
    view = enlarged(frame_of(letterbox(chequered(252, 448))), 448)
    assert view.pixels.shape == (252, 448, 3)
    assert view.box == (0, 49, 224, 175)
    middle = view.pixels[120:132, 218:230].reshape(-1, 3).mean(0)
    assert middle[0] > middle[2] + 80, "the orange square is where it was"


def test_enlarged_shrinks_what_is_larger() -> None:
    assert enlarged(frame_of(chequered(300, 900)), 448).pixels.shape == (149, 448, 3)


def red_dot(view: View) -> np.ndarray:
    """Where the middle of the red dot lies in a view, weighted by redness."""
    red = view.pixels[..., 0].astype(float) - view.pixels[..., 2]
    red[red < 60] = 0.0
    y, x = np.indices(red.shape) + 0.5
    return np.array([(red * x).sum(), (red * y).sum()]) / red.sum()


@pytest.mark.parametrize("tilt", [0.0, 9.0, -14.0])
@pytest.mark.parametrize(
    "cut",
    [
        upright,
        lambda frame: upright(frame, 120),
        lambda frame: enlarged(frame, 448),
        lambda frame: mirrored(upright(frame, 120)),
        lambda frame: mirrored(whole(frame, 150)),
        lambda frame: mirrored(mirrored(enlarged(frame, 448))),
    ],
)
def test_what_is_seen_in_a_view_is_found_again_in_the_frame(tilt, cut) -> None:
    pixels = np.full((300, 400, 3), 120, np.uint8)
    pixels[180:188, 230:238] = (250, 0, 0)
    frame = frame_of(tilt_picture(pixels, tilt) if tilt else pixels)
    where = red_dot(whole(frame, 400))
    view = cut(frame)
    seen = red_dot(view)
    assert view.placed(seen[None]) == pytest.approx(where[None], abs=1.0)
    box = np.concatenate((seen - 2, seen + 2))[None]
    left, top, right, bottom = view.placed_boxes(box)[0]
    assert left < where[0] < right
    assert top < where[1] < bottom


@pytest.mark.parametrize("tilt", [0.0, 9.0])
def test_crops_cover_the_picture_and_know_where_they_lie(tilt) -> None:
    pixels = np.full((300, 400, 3), 120, np.uint8)
    pixels[146:154, 196:204] = (250, 0, 0)  # in the middle: every crop shows it
    frame = frame_of(tilt_picture(pixels, tilt) if tilt else pixels)
    where = red_dot(whole(frame, 400))
    cut = crops(frame, 200)
    assert len(cut) == 5
    for view in cut:
        assert max(view.pixels.shape) <= 200
        assert view.placed(red_dot(view)[None]) == pytest.approx(where[None], abs=1.5)
    corners = np.array([view.box for view in cut[1:]])
    proper = np.array(upright(frame).box)
    assert np.abs(corners[:, :2].min(0) - proper[:2]).max() <= 40 * bool(tilt) + 1
    assert np.abs(corners[:, 2:].max(0) - proper[2:]).max() <= 40 * bool(tilt) + 1


def test_a_tiny_picture_has_no_crops() -> None:
    assert crops(frame_of(chequered(36, 36)), 200) == []


def test_no_boxes_stay_no_boxes() -> None:
    view = whole(frame_of(chequered(100, 100)), 50)
    assert view.placed_boxes(np.zeros((0, 4))).shape == (0, 4)


def test_a_mirrored_tile_lies_where_the_tile_lay() -> None:
    tile = tiles(frame_of(chequered(720, 1280)), 448)[-1]
    other = mirrored(tile)
    assert np.array_equal(other.pixels, tile.pixels[:, ::-1])
    whole_tile = np.array([[0.0, 0.0, tile.pixels.shape[1], tile.pixels.shape[0]]])
    assert other.placed_boxes(whole_tile) == pytest.approx(np.array([tile.box], float))
