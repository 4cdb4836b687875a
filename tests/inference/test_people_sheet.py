"""Contact sheets show the right people, the right joints, and what is known of them."""

import numpy as np
import pytest

from oasjax.datasets.skeletons import COCO
from oasjax.inference.drawing import BOX_COLOUR, LEFT_COLOUR, OUTLINE_COLOUR, RIGHT_COLOUR
from oasjax.inference.people_sheet import (
    TILE_PX,
    crop_square,
    draw_annotated_person,
    people_sheet,
    person_tiles,
)

GREY = np.full((200, 300, 3), 90, np.uint8)


def person(image_id="a.jpg", **joints):
    """A record whose joints are absent but for `name=(x, y, visibility, known)`."""
    record = {
        "image": GREY, "image_id": image_id, "example_id": 0,
        "keypoints": np.full((17, 2), np.nan, np.float32), "visibility": np.zeros(17, np.int8),
        "occlusion_known": np.ones(17, bool), "bbox_xywh": np.array([100, 50, 80, 100], np.float32),
    }  # fmt: skip
    for name, (x, y, visibility, known) in joints.items():
        index = COCO.joints.index(name)
        record["keypoints"][index] = x, y
        record["visibility"][index], record["occlusion_known"][index] = visibility, known
    return record


def pixel(tile, x, y):
    """The tile's pixel of a place in the picture; the crop is 125 pixels about the box's centre."""
    left, top, side = crop_square((200, 300), np.full((1, 2), np.nan), np.array([100.0, 50, 80, 100]))
    place = (np.array([x - left, y - top]) + 0.5) * TILE_PX / side - 0.5
    column, row = np.rint(place).astype(int)
    return tuple(tile[row, column])


def test_a_joint_is_a_disc_a_ring_a_square_or_absent():
    place = (140, 100)
    tiles = {
        label: draw_annotated_person(GREY, person(left_wrist=(*place, *state)), COCO)
        for label, state in {
            "visible": (2, True), "hidden": (1, True), "unknown": (2, False), "absent": (0, True),
        }.items()
    }  # fmt: skip
    assert pixel(tiles["visible"], *place) == pixel(tiles["unknown"], *place) == LEFT_COLOUR
    assert pixel(tiles["hidden"], *place) == OUTLINE_COLOUR
    assert pixel(tiles["absent"], *place) == (90, 90, 90)
    assert len({tile.tobytes() for tile in tiles.values()}) == 4


def test_the_crop_follows_box_and_joints_and_stays_in_the_picture():
    nothing, box = np.full((2, 2), np.nan), np.array([100.0, 50, 80, 100])
    assert crop_square((200, 300), nothing, box) == (77, 37, 125)
    assert crop_square((200, 300), nothing, np.array([0.0, 0, 40, 40])) == (0, 0, 50)
    assert crop_square((200, 300), nothing, np.array([260.0, 160, 40, 40])) == (250, 150, 50)
    # More than there is: the whole picture, somewhere in the square.
    assert crop_square((200, 300), nothing, np.array([0.0, 0, 300, 200])) == (-38, -88, 375)
    # A box that reaches beyond the picture stays whole.
    left, _, side = crop_square((200, 300), nothing, np.array([200.0, 50, 200, 100]))
    assert left <= 200 and left + side >= 400
    # A joint outside of the box widens the crop; one at the end of the world does not.
    joints = np.array([[20.0, 60], [np.nan, np.nan]])
    left, _, side = crop_square((200, 300), joints, box)
    assert left < 20 and side == 200 and left + side > 180
    assert crop_square((200, 300), np.array([[1e6, -1e6]]), box)[2] < 1500


def test_a_crop_larger_than_the_picture_is_dark_around_it():
    tile = draw_annotated_person(GREY, person() | {"bbox_xywh": np.array([0, 0, 300, 200], np.float32)}, COCO)
    assert tile.shape == (TILE_PX, TILE_PX, 3)
    assert tuple(tile[0, 0]) == tuple(tile[-1, -1]) == OUTLINE_COLOUR
    assert tuple(tile[TILE_PX // 2, TILE_PX // 2]) == (90, 90, 90)


def test_the_box_is_drawn_about_the_person():
    tile = draw_annotated_person(GREY, person(), COCO)
    rows, columns = np.nonzero((tile == BOX_COLOUR).all(-1))
    scale = TILE_PX / 125
    np.testing.assert_allclose([columns.min(), rows.min()], [23 * scale, 13 * scale], atol=3)
    np.testing.assert_allclose([columns.max(), rows.max()], [103 * scale, 113 * scale], atol=3)


def test_the_choice_depends_on_the_seed_alone_and_broken_pictures_are_passed_over(tmp_path):
    people = [person(f"{n}.jpg") | {"example_id": n, "person_number": 100 + n} for n in range(20)]
    chosen = person_tiles(people, COCO, 5, 0, "train")[1]
    assert (
        chosen == person_tiles(people, COCO, 5, 0, "train")[1] != person_tiles(people, COCO, 5, 1, "train")[1]
    )
    assert len(set(chosen)) == 5 and all(caption.startswith("train  ") for caption in chosen)
    broken = int(chosen[0].split()[1].removesuffix(".jpg"))
    (tmp_path / "broken.jpg").write_bytes(b"")
    del people[broken]["image"]
    people[broken]["image_path"] = str(tmp_path / "broken.jpg")
    others = person_tiles(people, COCO, 5, 0, "train")[1]
    assert others[:4] == chosen[1:] and len(others) == 5
    assert len(person_tiles(people, COCO, 50, 0, "train")[0]) == 19
    assert person_tiles([], COCO, 5, 0, "train") == ([], [])


def test_captions_name_picture_and_person_and_stay_short():
    people = [person("folder/" + 60 * "x" + ".jpg") | {"person_number": 123456789}]
    (caption,) = person_tiles(people, COCO, 1, 0, "validation")[1]
    assert len(caption) <= 46 and caption.endswith("person 123456789") and "..." in caption
    assert person_tiles([person()], COCO, 1, 0, "test")[1] == ["test  a.jpg  person 0"]


def test_the_sheet_has_rows_of_tiles_and_a_legend_of_all_signs():
    tiles, captions = person_tiles([person(left_wrist=(140, 100, 2, True))] * 7, COCO, 7, 0, "test")
    sheet = people_sheet(tiles, captions, columns=3)
    assert sheet.shape[1] == 3 * (TILE_PX + 8) + 8
    assert 3 * TILE_PX < sheet.shape[0] < 3 * TILE_PX + 150
    foot = sheet[-30:]
    assert all((foot == colour).all(-1).any() for colour in (RIGHT_COLOUR, LEFT_COLOUR))
    with pytest.raises(ValueError, match="at least one"):
        people_sheet([], [])
