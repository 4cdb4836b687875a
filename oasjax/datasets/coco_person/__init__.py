"""COCO 2017, people with 17 joints: labelled or not, occluded or visible, with masks."""
