"""MPII Human Pose: everyday photographs with 16 joints, occlusion labelled, and head boxes."""
