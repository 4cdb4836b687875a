"""Drawn data: articulated, textured people with exact keypoints and known occlusion."""

from oasjax.datasets.synthetic_people.appearance import LOOKS
from oasjax.datasets.synthetic_people.contact_sheet import contact_sheet
from oasjax.datasets.synthetic_people.renderer import render_person, synthetic_arrays
from oasjax.datasets.synthetic_people.statistics import occlusion_statistics
from oasjax.datasets.synthetic_people.visibility import HIDDEN_BY

__all__ = [
    "HIDDEN_BY",
    "LOOKS",
    "contact_sheet",
    "occlusion_statistics",
    "render_person",
    "synthetic_arrays",
]
