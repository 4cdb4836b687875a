"""Reading CrowdPose as its authors released it: JSON files in COCO's form beside a folder `images/`.

There are no masks and no areas: a person's area is 0.53 times that of the box, as the evaluator of
CrowdPose takes it. Of head and neck the files do not tell whether they are occluded. `crowdIndex` of
the pictures stays in `ground_truth`. crowdpose_trainval.json is not read: it is train and validation
together.
"""

from oasjax.datasets.coco_dataset import CocoFormDataset
from oasjax.datasets.skeletons import CROWDPOSE, CROWDPOSE_UNTOLD

LAYOUT = (
    "annotations/crowdpose_train.json, annotations/crowdpose_val.json, annotations/crowdpose_test.json "
    "(or in json/) and images/100000.jpg, ..."
)
SPLITS = ("train", "validation", "test")
SKELETON = CROWDPOSE


def _names(split: str) -> tuple[str, ...]:
    name = f"crowdpose_{split}.json"
    return f"annotations/{name}", f"json/{name}", name


_CROWDPOSE = CocoFormDataset(
    title="CrowdPose",
    layout=LAYOUT,
    annotation_files={
        "train": _names("train"),
        "validation": _names("val"),
        # Of the test split alone there is a small cut of two pictures, beside them.
        "test": (*_names("test"), "test_crowdpose.json"),
    },
    image_folders=dict.fromkeys(SPLITS, ("images", "")),
    num_joints=CROWDPOSE.num_joints,
    subfolders=("crowdpose",),
    annotated_area=False,
    area_per_box_area=0.53,
    untold_joints=CROWDPOSE_UNTOLD,
)

find_folder = _CROWDPOSE.find_folder
splits_of = _CROWDPOSE.splits_of
annotation_file = _CROWDPOSE.annotation_file
read_images = _CROWDPOSE.read_images
read_people = _CROWDPOSE.read_people
read_ignored = _CROWDPOSE.read_ignored
read_boxes = _CROWDPOSE.read_boxes
ground_truth = _CROWDPOSE.ground_truth
