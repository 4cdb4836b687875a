"""TFDS builder of LSP: the annotations as given, the pictures as the bytes of their files."""

from oasjax.datasets.lsp import annotations
from oasjax.datasets.pose_dataset_builder import PoseDatasetBuilder


class Builder(PoseDatasetBuilder):
    """LSP with the splits train (pictures 1 to 1000) and test (1001 to 2000)."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    Get LSP (http://sam.johnson.io/research/lsp.html), either lsp_dataset_original.zip (original
    sizes) or lsp_dataset.zip (people of about 150 pixels), and point manual_dir at the folder with
    joints.mat and images/im0001.jpg, ..., images/im2000.jpg of one and the same archive; pictures may
    be missing.
    """

    annotations = annotations
    homepage = "http://sam.johnson.io/research/lsp.html"
