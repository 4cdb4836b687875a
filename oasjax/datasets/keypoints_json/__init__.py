"""People's own pictures, annotated in COCO's form with joints of any kind."""
