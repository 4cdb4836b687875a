"""Reading one's own pictures: train.json, validation.json, test.json in COCO's form beside `images/`.

The skeleton is that of the category in the files. What is often missing is filled in: `area` is then
the box's, `bbox` the box about the labelled joints enlarged by 20 % about its centre, `iscrowd` 0, and
`num_keypoints` is counted. Joints and boxes are in pixels of the picture as it is shown: where a
camera noted how it was held (EXIF orientation), after turning.
"""

from pathlib import Path

from oasjax.datasets.coco_dataset import CocoFormDataset
from oasjax.datasets.coco_format import keypoint_category, read_document
from oasjax.datasets.skeletons import Skeleton, skeleton_from_category
from oasjax.errors import UserError

LAYOUT = (
    "train.json, validation.json or test.json in COCO's form (any of them) and the pictures, "
    "`file_name` relative to images/ or to the folder itself"
)
SPLITS = ("train", "validation", "test")

_OWN = CocoFormDataset(
    title="keypoints_json",
    layout=LAYOUT,
    annotation_files={
        "train": ("train.json",),
        "validation": ("validation.json",),
        "test": ("test.json",),
    },
    image_folders=dict.fromkeys(SPLITS, ("images", "")),
    num_joints=None,
    area_per_box_area=1.0,
    boxes_from_joints=True,
)

find_folder = _OWN.find_folder
splits_of = _OWN.splits_of
annotation_file = _OWN.annotation_file
read_images = _OWN.read_images
read_people = _OWN.read_people
read_ignored = _OWN.read_ignored
read_boxes = _OWN.read_boxes
ground_truth = _OWN.ground_truth


def skeleton_of(folder: Path) -> Skeleton:
    """The joints of the people in a folder's files.

    Raises:
        UserError: a file has no category with joints, or the files disagree about them.
    """
    skeletons = {}
    for split in splits_of(folder):
        path = annotation_file(folder, split)
        try:
            skeletons[path] = skeleton_from_category(keypoint_category(path, read_document(path)))
        except ValueError as error:
            raise UserError(f"{path}: {error}.") from None
    (first, skeleton), *others = skeletons.items()
    for path, other in others:
        if other.joints != skeleton.joints:
            raise UserError(
                f"{path} has the joints {', '.join(other.joints)}, but {first} has "
                f"{', '.join(skeleton.joints)}: all splits must have the same, in the same order."
            )
    return skeleton
