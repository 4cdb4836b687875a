r"""OASNet on HRNet-W48, COCO, 256x192.

Without boxes_path the annotated boxes are taken, and AP is some two points higher.

Group: published row
Paper: Table 4, Ours, HRNet-W48 | AP, COCO val2017, detected boxes, flip | 75.5
Command: oasjax import-weights hrnet hrnet_w48-8ef0771d.pth --out models/w48_imagenet --skeleton coco
   oasjax train --config coco_w48_oasnet --workdir runs/coco_w48_oasnet --config.data.data_dir=FOLDER \
       --config.model.pretrained=models/w48_imagenet \
       --config.data.boxes_path=COCO_val2017_detections_AP_H_56_person.json
Cost: 6.5e+18 FLOP, 36.2 hours at 50 TFLOP/s: an estimate, 2 x 17.3 G multiply-adds x 6 passes x 31.46
   million people
Score: not measured
"""

from ml_collections import ConfigDict

from oasjax import published_rows


def get_config() -> ConfigDict:
    return published_rows.coco_hrnet(48)
