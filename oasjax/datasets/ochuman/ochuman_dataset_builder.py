"""TFDS builder of OCHuman."""

from oasjax.datasets.ochuman import annotations
from oasjax.datasets.pose_dataset_builder import CocoFormBuilder


class Builder(CocoFormBuilder):
    """OCHuman with the splits validation and test."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    Get OCHuman (https://github.com/liruilong940607/OCHumanApi) and point manual_dir at the folder with
    ochuman_coco_format_val_range_0.00_1.00.json, ochuman_coco_format_test_range_0.00_1.00.json and
    images/000817.jpg, ...; a split without its annotation file is left out, and pictures may be missing.
    """
    annotations = annotations
    homepage = "https://github.com/liruilong940607/OCHumanApi"
