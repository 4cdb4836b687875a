r"""OASNet on HRNet-W32, COCO, 256x192.

Without boxes_path the annotated boxes are taken, and AP is some two points higher.

Group: published row
Paper: Table 4, Ours, HRNet-W32 | AP, COCO val2017, detected boxes, flip | 75.0
Command: oasjax import-weights hrnet hrnet_w32-36af842e.pth --out models/w32_imagenet --skeleton coco
   oasjax train --config coco_w32_oasnet --workdir runs/coco_w32_oasnet --config.data.data_dir=FOLDER \
       --config.model.pretrained=models/w32_imagenet \
       --config.data.boxes_path=COCO_val2017_detections_AP_H_56_person.json
Cost: 3.4e+18 FLOP, 18.9 hours at 50 TFLOP/s: an estimate, 2 x 9.0 G multiply-adds x 6 passes x 31.46
   million people
Score: not measured
"""

from ml_collections import ConfigDict

from oasjax import published_rows


def get_config() -> ConfigDict:
    return published_rows.coco_hrnet(32)
