r"""Baseline: HRNet-W32 alone, COCO, 256x192.

Without boxes_path the annotated boxes are taken, and AP is some two points higher.

Group: published row
Paper: Table 4, HRNet-W32, pretrain Y | AP, COCO val2017, detected boxes, flip | 74.4
Command: oasjax import-weights hrnet hrnet_w32-36af842e.pth --out models/w32_imagenet --skeleton coco
   oasjax train --config coco_w32_base --workdir runs/coco_w32_base --config.data.data_dir=FOLDER \
       --config.model.pretrained=models/w32_imagenet \
       --config.data.boxes_path=COCO_val2017_detections_AP_H_56_person.json
Cost: 1.4e+18 FLOP, 8.0 hours at 50 TFLOP/s: an estimate, 2 x 7.6 G multiply-adds x 3 passes x 31.46
   million people
Score: not measured
"""

from ml_collections import ConfigDict

from oasjax import published_rows


def get_config() -> ConfigDict:
    config = published_rows.coco_hrnet(32)
    published_rows.backbone_alone(config)
    return config
