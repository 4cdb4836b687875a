"""OCHuman: heavily occluded people with COCO's 17 joints and masks; for validation and testing only."""
