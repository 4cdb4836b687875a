"""Reading OCHuman from its files in COCO's form, beside a folder `images/`.

v of the files is the visibility of a record, areas are the file's (those of the boxes), masks are
compressed run-length codes.
"""

from oasjax.datasets.coco_dataset import CocoFormDataset
from oasjax.datasets.skeletons import COCO

LAYOUT = (
    "ochuman_coco_format_val_range_0.00_1.00.json, ochuman_coco_format_test_range_0.00_1.00.json "
    "(or in annotations/) and images/000817.jpg, ..."
)
SPLITS = ("validation", "test")
SKELETON = COCO


def _names(split: str) -> tuple[str, ...]:
    name = f"ochuman_coco_format_{split}_range_0.00_1.00.json"
    return name, f"annotations/{name}"


_OCHUMAN = CocoFormDataset(
    title="OCHuman",
    layout=LAYOUT,
    annotation_files={
        "validation": _names("val"),
        # Of the test split alone there is a small cut of three pictures, beside them.
        "test": (*_names("test"), "test_ochuman.json"),
    },
    image_folders=dict.fromkeys(SPLITS, ("images", "")),
    num_joints=COCO.num_joints,
    subfolders=("ochuman",),
)

find_folder = _OCHUMAN.find_folder
splits_of = _OCHUMAN.splits_of
annotation_file = _OCHUMAN.annotation_file
read_images = _OCHUMAN.read_images
read_people = _OCHUMAN.read_people
read_ignored = _OCHUMAN.read_ignored
read_boxes = _OCHUMAN.read_boxes
ground_truth = _OCHUMAN.ground_truth
