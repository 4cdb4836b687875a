"""TFDS builder of people's own pictures in COCO's form."""

from oasjax.datasets.keypoints_json import annotations
from oasjax.datasets.pose_dataset_builder import CocoFormBuilder


class Builder(CocoFormBuilder):
    """The splits train, validation and test, as far as the folder has them, and in NAME_ignored the
    crowds and people without labelled joints."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    Nothing to download: point manual_dir at a folder with train.json, validation.json or test.json (any
    of them, in COCO's form: images, categories, annotations) and the pictures in images/.
    """
    annotations = annotations

    def num_joints(self) -> None:
        """Only the folder tells."""
        return None
