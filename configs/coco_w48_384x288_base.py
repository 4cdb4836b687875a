r"""Baseline: HRNet-W48 alone, COCO, 384x288.

Without boxes_path the annotated boxes are taken, and AP is some two points higher. The batch of 96 is
that of HRNet's config.

Group: published row
Paper: HRNet's README, pose_hrnet_w48 384x288 | AP, COCO val2017, detected boxes, flip | 76.3
Command: oasjax import-weights hrnet hrnet_w48-8ef0771d.pth --out models/w48_imagenet --skeleton coco
   oasjax train --config coco_w48_384x288_base --workdir runs/coco_w48_384x288_base \
       --config.data.data_dir=FOLDER --config.model.pretrained=models/w48_imagenet \
       --config.data.boxes_path=COCO_val2017_detections_AP_H_56_person.json
Cost: 6.7e+18 FLOP, 37.0 hours at 50 TFLOP/s: an estimate, 2 x 35.3 G multiply-adds x 3 passes x 31.46
   million people
Score: not measured
"""

from ml_collections import ConfigDict

from oasjax import published_rows


def get_config() -> ConfigDict:
    config = published_rows.coco_hrnet(48, (288, 384), batch_size=96)
    published_rows.backbone_alone(config)
    return config
