"""What the published data sets hold, to be printed beside what a folder holds.

A figure is of the complete data set with this project's splits; a folder with fewer pictures is as
good as any, only smaller.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedCount:
    """A figure and where it comes from.

    Attributes:
        number: the figure.
        source: who states it.
        certain: False where it was not found stated anywhere and is quoted from memory.
    """

    number: int
    source: str
    certain: bool = True


def _counts(source: str, certain: bool = True, /, **numbers: int) -> dict[str, PublishedCount]:
    return {quantity: PublishedCount(number, source, certain) for quantity, number in numbers.items()}


_HRNET_LOG = "training log of HRNet's code"
_TOMPSON = "bearpaw/pytorch-pose issue 80 (Tompson's validation split)"
_CROWDPOSE = "CrowdPose paper (20,000 pictures, split 5:1:4)"
_OCHUMAN = (
    "Pose2Seg paper, quoted from memory; both splits together: 4,731 pictures, 8,110 people (OCHumanApi)"
)

# Data set -> split -> quantity (pictures named by the annotations, people that can be used, labelled
# joints, those of them that are occluded) -> figure.
PUBLISHED_COUNTS: dict[str, dict[str, dict[str, PublishedCount]]] = {
    "mpii": {
        "train": {
            **_counts(_HRNET_LOG, pictures=14_679),
            **_counts(_TOMPSON, people=22_246),
        },
        "validation": {
            **_counts(_HRNET_LOG, pictures=2_729),
            **_counts(_TOMPSON, people=2_958),
            **_counts("gt_valid.mat and valid.h5, counted", labelled=44_240, occluded=10_243),
        },
        "test": _counts("HRNet's test.json (single people)", people=7_247),
    },
    "lsp": {
        "train": _counts("joints.mat, counted", pictures=1000, people=1000, labelled=14_000, occluded=990),
        "test": _counts("joints.mat, counted", pictures=1000, people=1000, labelled=14_000, occluded=1_054),
    },
    "lsp_extended": {
        "train": _counts("joints.mat, counted", pictures=9_600, people=9_600, labelled=118_230),
        "test": _counts("joints.mat, counted", pictures=400, people=400, labelled=4_983),
    },
    "coco_person": {
        "train": _counts(_HRNET_LOG, pictures=118_287, people=149_813),
        "validation": _counts(_HRNET_LOG, pictures=5_000, people=6_352),
    },
    "crowdpose": {
        "train": _counts(_CROWDPOSE, pictures=10_000),
        "validation": _counts(_CROWDPOSE, pictures=2_000),
        "test": _counts(_CROWDPOSE, pictures=8_000),
    },
    "ochuman": {
        "validation": _counts(_OCHUMAN, False, pictures=2_500, people=4_291),
        "test": _counts(_OCHUMAN, False, pictures=2_231, people=3_819),
    },
}
