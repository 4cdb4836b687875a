"""TFDS builder of MPII Human Pose: the annotations as given, the pictures as the bytes of their
files."""

from collections.abc import Sequence
from pathlib import Path

from oasjax.datasets.mpii import annotations
from oasjax.datasets.pose_dataset_builder import PoseDatasetBuilder


class Builder(PoseDatasetBuilder):
    """MPII with those of the splits train, validation (Tompson's) and test that the folder tells of."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    Get MPII Human Pose (http://human-pose.mpi-inf.mpg.de) and point manual_dir at a folder with
      images/*.jpg                           mpii_human_pose_v1.tar.gz (12.9 GB), unpacked
      annot/mpii_human_pose_v1_u12_1.mat     mpii_human_pose_v1_u12_2.zip, unpacked
      annot/valid.h5 (or .npz)               the list of Tompson's validation people, of the hourglass
                                             authors (https://github.com/princeton-vl/pose-hg-train)
      annot/gt_valid.mat                     optional: what published PCKh are computed on
    In place of the .mat: annot/train.h5 and annot/valid.h5 of the hourglass authors, or
    annot/train.json, annot/valid.json and annot/test.json of HRNet's authors
    (https://github.com/leoxiaobin/deep-high-resolution-net.pytorch; these know nothing of occlusion).
    Pictures may be missing.
    """

    annotations = annotations
    homepage = "http://human-pose.mpi-inf.mpg.de"

    def splits_of(self, folder: Path) -> Sequence[str]:
        return annotations.splits_of(folder)
