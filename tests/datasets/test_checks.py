"""Pictures of every kind get their defined outcome, and joints are counted right."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import scipy.io
from PIL import Image

from oasjax.datasets import checks
from oasjax.datasets.checks import AnnotatedSplit, check_picture, check_pictures, check_split, joint_report
from oasjax.datasets.published_counts import PUBLISHED_COUNTS
from oasjax.datasets.skeletons import LSP
from oasjax.input_pipeline import DATA

WIDTH, HEIGHT = 40, 24


def smooth_picture():
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return Image.fromarray(np.stack([x * 6, y * 10, 255 - x * 3 - y * 3], -1).astype(np.uint8))


def encoded(picture, form="JPEG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def with_orientation(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(smooth_picture(), exif=exif)


def huge_png(side=30_000):
    """A whole PNG of side x side grey pixels, all 0: about a megabyte."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj(1)
    row = bytes(1 + side)
    body = b"".join([*(packer.compress(row) for _ in range(side)), packer.flush()])
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def deep_png():
    grey = np.asarray(smooth_picture().convert("L")).astype(np.uint16) * 257
    return encoded(Image.fromarray(grey), "PNG")


JPEG = encoded(smooth_picture())

# What the file holds, its name -> what the reader does about it.
READABLE = {
    "colour": (JPEG, "a.jpg", ()),
    "capital ending": (JPEG, "a.JPG", ()),
    "grey": (encoded(smooth_picture().convert("L")), "a.jpg", ("grey",)),
    "CMYK": (encoded(smooth_picture().convert("CMYK")), "a.jpg", ("CMYK",)),
    "16 bits": (deep_png(), "a.png", ("16 bits",)),
    "transparent": (encoded(smooth_picture().convert("RGBA"), "PNG"), "a.png", ("transparent",)),
    "palette": (encoded(smooth_picture().convert("P"), "PNG"), "a.png", ("palette",)),
    "PNG named .jpg": (encoded(smooth_picture(), "PNG"), "a.jpg", ("other ending",)),
    "JPEG named .png": (JPEG, "a.png", ("other ending",)),
    "upside down": (with_orientation(3), "a.jpg", ("EXIF orientation",)),
    "turned": (with_orientation(6), "a.jpg", ("EXIF orientation",)),
}
BROKEN = {
    "empty": (b"", "not a JPEG or PNG"),
    "truncated": (JPEG[:-40], "truncated"),
    "a web page": (b"<!DOCTYPE html><html><body>404</body></html>", "not a JPEG or PNG"),
    "another format": (encoded(smooth_picture(), "GIF"), "not a JPEG or PNG"),
    "huge": (huge_png(), "30000 x 30000 pixels"),
}


@pytest.mark.parametrize("headers_only", [False, True])
@pytest.mark.parametrize("case", READABLE)
def test_a_readable_picture_has_its_size_and_traits(case, headers_only, tmp_path):
    data, name, traits = READABLE[case]
    (tmp_path / name).write_bytes(data)
    check = check_picture(str(tmp_path / name), name, headers_only)
    assert check.problem is None and check.traits == traits
    assert check.size_wh == ((HEIGHT, WIDTH) if case == "turned" else (WIDTH, HEIGHT))


@pytest.mark.parametrize("headers_only", [False, True])
@pytest.mark.parametrize("case", BROKEN)
def test_an_unreadable_picture_is_named_with_the_reason(case, headers_only, tmp_path):
    data, reason = BROKEN[case]
    (tmp_path / "a.jpg").write_bytes(data)
    check = check_picture(str(tmp_path / "a.jpg"), "images/a.jpg", headers_only)
    assert check.size_wh is None
    assert check.problem.startswith("images/a.jpg") and reason in check.problem


def test_a_picture_that_vanished_is_a_broken_one(tmp_path):
    assert "not found" in check_picture(str(tmp_path / "gone.jpg"), "gone.jpg", False).problem


def test_a_huge_picture_costs_next_to_no_memory(tmp_path):
    (tmp_path / "bomb.png").write_bytes(BROKEN["huge"][0])
    tracemalloc.start()
    check_picture(str(tmp_path / "bomb.png"), "bomb.png", False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30_000 * 30_000 / 100


def test_the_digest_belongs_to_the_contents_not_to_the_name(tmp_path):
    (tmp_path / "a.jpg").write_bytes(JPEG)
    (tmp_path / "b.jpg").write_bytes(JPEG)
    (tmp_path / "c.jpg").write_bytes(encoded(smooth_picture(), quality=50))
    a, b, c = (check_picture(str(tmp_path / f"{name}.jpg"), name, True).digest for name in "abc")
    assert a == b != c


@pytest.mark.parametrize("num_threads", [1, 3])
def test_all_pictures_are_checked_in_their_order_whatever_the_threads(num_threads, tmp_path):
    names = [f"{n}.jpg" for n in range(40)]
    for n, name in enumerate(names):
        (tmp_path / name).write_bytes(JPEG if n % 7 else b"broken")
    calls = []
    files = {name: str(tmp_path / name) for name in names}
    result = check_pictures(files, False, num_threads, lambda done, total: calls.append((done, total)))
    assert list(result) == names
    assert [name for name, check in result.items() if check.problem] == names[::7]
    assert calls == [(n + 1, 40) for n in range(40)]


def test_few_pictures_are_in_the_making_at_a_time(monkeypatch):
    started, most_ahead = [], 0

    def check(path, name, headers_only):
        started.append(name)
        return checks.PictureCheck((1, 1), None)

    def consumed(done, total):
        nonlocal most_ahead
        most_ahead = max(most_ahead, len(started) - done)

    monkeypatch.setattr(checks, "check_picture", check)
    check_pictures({str(n): str(n) for n in range(1000)}, False, 2, consumed)
    assert len(started) == 1000 and most_ahead <= 4 * 2


def person(image_id, visibility, known, keypoints):
    return {
        "image_id": image_id,
        "visibility": np.array(visibility, np.int8),
        "occlusion_known": np.array(known, bool),
        "keypoints": np.array(keypoints, np.float32),
        "bbox_xywh": np.array([0, 0, 5, 5], np.float32),
    }


def two_people():
    """5 visible, 4 occluded, 3 unlabelled, 2 unknown joints in a picture of 40 x 24; 14 unknown elsewhere."""
    first = person(
        "a.jpg", [2] * 5 + [1] * 4 + [0] * 3 + [2] * 2, [True] * 12 + [False] * 2,
        [[-0.5, 0], [-0.6, 0], [39.4, 23], [39.5, 23]] + [[5, 23.4], [5, 23.5]] + [[-9, -9]] * 8,
    )  # fmt: skip
    return [first, person("b.jpg", [2] * 14, [False] * 14, [[1000, 1000]] * 14)]


def test_joints_are_counted_by_visibility_place_and_name():
    report = joint_report(two_people(), LSP, {"a.jpg": (WIDTH, HEIGHT)})
    by_joint = report.pop("per_joint")
    assert report == {
        "total": 28, "labelled": 25, "visible": 5, "occluded": 4, "unknown": 16, "outside": 8,
        "hidden_share": 4 / 9,
    }  # fmt: skip
    assert list(by_joint) == list(LSP.joints)
    assert by_joint["right_knee"] == {
        "labelled": 2, "visible": 1, "occluded": 0, "unknown": 1, "outside": 1, "hidden_share": 0.0,
    }  # fmt: skip
    assert by_joint["head_top"]["hidden_share"] is None
    for key in ("labelled", "visible", "occluded", "unknown", "outside"):
        assert sum(row[key] for row in by_joint.values()) == report[key]


def test_a_split_is_reported_with_all_it_lacks(tmp_path):
    (tmp_path / "a.jpg").write_bytes(JPEG)
    (tmp_path / "b.jpg").write_bytes(JPEG[:-40])
    people = [{**each, "image_path": str(tmp_path / each["image_id"])} for each in two_people()]
    ignored = [{"image_id": "a.jpg", "image_path": people[0]["image_path"]}]
    split = AnnotatedSplit(
        people, ignored, {each["image_id"]: each["image_path"] for each in people}, ["c.jpg"] * 30,
        {"a.jpg": (HEIGHT, WIDTH), "b.jpg": (1, 1), "c.jpg": (1, 1)}, {"without a labelled joint": 2},
    )  # fmt: skip
    report, pictures = check_split(split, LSP, False, 2)
    (other_size,) = report["pictures"].pop("other_size_names")
    assert other_size == "a.jpg: 24 x 40 by the annotations, 40 x 24 in fact"
    missing_names = report["pictures"].pop("missing_names")
    (broken,) = report["pictures"].pop("broken_names")
    assert broken["file"] == "b.jpg" and "truncated" in broken["reason"]
    assert missing_names == ["c.jpg"] * 20
    assert report["pictures"] == {
        "named": 32, "present": 2, "missing": 30, "broken": 1, "other_size": 1, "traits": {},
    }  # fmt: skip
    assert report["people"] == {"usable": 2, "left_out": {"without a labelled joint": 2}, "ignored": 1}
    assert report["joints"]["outside"] == 8
    assert pictures["a.jpg"].size_wh == (WIDTH, HEIGHT)


def test_pictures_in_memory_need_no_files():
    people = [{**two_people()[0], "image": np.zeros((HEIGHT, WIDTH, 3), np.uint8)}]
    report, pictures = check_split(AnnotatedSplit(people, None, {}, [], {}, {}), LSP, False, 2)
    assert pictures == {} and report["people"]["ignored"] is None
    assert (report["pictures"]["present"], report["joints"]["outside"]) == (1, 8)


def test_nobody_at_all_is_counted_as_nothing():
    report, _ = check_split(AnnotatedSplit([], None, {}, [], {}, {}), LSP, False, 2)
    assert report["joints"]["total"] == 0 and report["joints"]["hidden_share"] is None


def test_every_published_figure_has_a_source_and_a_place_in_the_report():
    assert set(PUBLISHED_COUNTS) < set(DATA)
    for splits in PUBLISHED_COUNTS.values():
        for figures in splits.values():
            assert set(figures) <= {"pictures", "people", "labelled", "occluded"}
            assert all(figure.source and figure.number > 0 for figure in figures.values())


def lsp_flags(data_dir):
    """(split of each person, labelled (N, 14), occluded (N, 14)) as the file has them."""
    flags = scipy.io.loadmat(data_dir / "lsp" / "joints.mat")["joints"][2].T
    return np.where(np.arange(len(flags)) < 1000, "train", "test"), np.ones_like(flags), flags == 1


def lsp_extended_flags(data_dir):
    flags = scipy.io.loadmat(data_dir / "lspet" / "joints.mat")["joints"][:, 2].T
    return np.where(np.arange(len(flags)) % 25 == 0, "test", "train"), flags == 1, None


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "read", "num_people"), [("lsp", lsp_flags, 2000), ("lsp_extended", lsp_extended_flags, 10_000)]
)
def test_the_published_figures_of_lsp_are_those_of_its_files(name, read, num_people, data_dir):
    splits, labelled, occluded = read(data_dir)
    if len(splits) != num_people:
        pytest.skip("these are not the joints of the release")
    for split, figures in PUBLISHED_COUNTS[name].items():
        of_split = splits == split
        assert figures["people"].number == figures["pictures"].number == of_split.sum()
        assert figures["labelled"].number == labelled[of_split].sum()
        if occluded is not None:
            assert figures["occluded"].number == occluded[of_split].sum()
