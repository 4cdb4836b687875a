"""TFDS builder of CrowdPose."""

from oasjax.datasets.crowdpose import annotations
from oasjax.datasets.pose_dataset_builder import CocoFormBuilder


class Builder(CocoFormBuilder):
    """CrowdPose with the splits train, validation and test, and in NAME_ignored the people without
    labelled joints."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    Get CrowdPose (https://github.com/jeffffffli/CrowdPose: images.zip and the annotations), unpack it
    and point manual_dir at the folder with annotations/crowdpose_train.json,
    annotations/crowdpose_val.json, annotations/crowdpose_test.json and images/100000.jpg, ...; a split
    without its annotation file is left out, and pictures may be missing.
    """
    annotations = annotations
    homepage = "https://github.com/jeffffffli/CrowdPose"
