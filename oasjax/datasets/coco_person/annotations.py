"""Reading COCO 2017's person keypoints as released: `annotations/` beside the folders of pictures.

v of the files is the visibility of a record, and labelled joints tell whether they are occluded. The
people are those of HRNet's protocol: no crowd, a labelled joint, an area; crowds and people without
labelled joints are what `read_ignored` gives. `test` has pictures only (test-dev): its people are a
detector's boxes.
"""

from oasjax.datasets.coco_dataset import CocoFormDataset
from oasjax.datasets.skeletons import COCO

LAYOUT = (
    "annotations/person_keypoints_train2017.json, annotations/person_keypoints_val2017.json, "
    "train2017/000000000009.jpg, ..., val2017/000000000139.jpg, ... (for the test split "
    "annotations/image_info_test-dev2017.json and test2017/)"
)
SPLITS = ("train", "validation", "test")
SKELETON = COCO

_COCO = CocoFormDataset(
    title="COCO",
    layout=LAYOUT,
    annotation_files={
        "train": ("annotations/person_keypoints_train2017.json",),
        "validation": ("annotations/person_keypoints_val2017.json",),
        "test": ("annotations/image_info_test-dev2017.json",),
    },
    image_folders={"train": ("train2017",), "validation": ("val2017",), "test": ("test2017",)},
    num_joints=COCO.num_joints,
    subfolders=("coco", "coco_mini"),
    unlabelled_splits=("test",),
)

find_folder = _COCO.find_folder
splits_of = _COCO.splits_of
annotation_file = _COCO.annotation_file
read_images = _COCO.read_images
read_people = _COCO.read_people
read_ignored = _COCO.read_ignored
read_boxes = _COCO.read_boxes
ground_truth = _COCO.ground_truth
