"""TFDS builder of COCO 2017's person keypoints."""

from oasjax.datasets.coco_person import annotations
from oasjax.datasets.pose_dataset_builder import CocoFormBuilder


class Builder(CocoFormBuilder):
    """People of COCO 2017 with the splits train and validation, and in train_ignored and
    validation_ignored the crowds and people without labelled joints, which scores ignore."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    From https://cocodataset.org/#download get and unpack train2017.zip, val2017.zip and
    annotations_trainval2017.zip, and point manual_dir at the folder with
    annotations/person_keypoints_train2017.json, annotations/person_keypoints_val2017.json,
    train2017/000000000009.jpg, ... and val2017/000000000139.jpg, ...; a split without its annotation
    file is left out, and pictures may be missing.
    """
    annotations = annotations
    homepage = "https://cocodataset.org"
