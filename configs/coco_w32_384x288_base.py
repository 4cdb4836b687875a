r"""Baseline: HRNet-W32 alone, COCO, 384x288.

Without boxes_path the annotated boxes are taken, and AP is some two points higher.

Group: published row
Paper: HRNet's README, pose_hrnet_w32 384x288 | AP, COCO val2017, detected boxes, flip | 75.8
Command: oasjax import-weights hrnet hrnet_w32-36af842e.pth --out models/w32_imagenet --skeleton coco
   oasjax train --config coco_w32_384x288_base --workdir runs/coco_w32_384x288_base \
       --config.data.data_dir=FOLDER --config.model.pretrained=models/w32_imagenet \
       --config.data.boxes_path=COCO_val2017_detections_AP_H_56_person.json
Cost: 3.2e+18 FLOP, 18.0 hours at 50 TFLOP/s: an estimate, 2 x 17.2 G multiply-adds x 3 passes x 31.46
   million people
Score: not measured
"""

from ml_collections import ConfigDict

from oasjax import published_rows


def get_config() -> ConfigDict:
    config = published_rows.coco_hrnet(32, (288, 384))
    published_rows.backbone_alone(config)
    return config
