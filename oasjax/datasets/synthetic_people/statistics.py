"""Statistics of how much is hidden, and by what."""

from collections.abc import Mapping

import numpy as np

from oasjax.datasets.synthetic_people.visibility import HIDDEN_BY


def occlusion_statistics(arrays: Mapping[str, np.ndarray]) -> dict[str, int | float]:
    """Fractions over the joints of `synthetic_arrays`.

    Returns:
        num_people; hidden, and hidden_by_self / _person / _object, which add up to it, as
        fractions of the labelled joints; outside_image as a fraction of all joints.
    """
    visibility, hidden_by = arrays["visibility"], arrays["hidden_by"]
    labelled = visibility > 0
    num_labelled = max(int(labelled.sum()), 1)
    result: dict[str, int | float] = {
        "num_people": len(visibility),
        "hidden": float((visibility == 1).sum() / num_labelled),
    }
    for index, cause in enumerate(HIDDEN_BY[1:], start=1):
        result[f"hidden_by_{cause}"] = float(((hidden_by == index) & labelled).sum() / num_labelled)
    result["outside_image"] = float(1.0 - labelled.mean())
    return result
