"""CrowdPose: people in crowds with 14 joints, occluded or visible, without masks."""
