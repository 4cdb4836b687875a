"""TFDS builder of LSP-extended: the annotations as given, the pictures as the bytes of their
files."""

from oasjax.datasets.lsp_extended import annotations
from oasjax.datasets.pose_dataset_builder import PoseDatasetBuilder


class Builder(PoseDatasetBuilder):
    """LSP-extended with the splits train and test (picture numbers n with n mod 25 == 1)."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    Get LSP-extended (http://sam.johnson.io/research/lspet.html) and point manual_dir at the folder
    with joints.mat and images/im00001.jpg, images/im00002.jpg, ...; pictures may be missing.
    """

    annotations = annotations
    homepage = "http://sam.johnson.io/research/lspet.html"
