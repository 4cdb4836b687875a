r"""Baseline: HRNet-W32 alone, MPII validation.

Colours are jittered, as section 4.2 says for all rows of MPII; HRNet's code does not. Rotation of +-30
degrees is read as that code has it: normal, standard deviation 30, cut at 60, for 6 crops in 10.

Group: published row
Paper: Table 2, HRNet | PCKh@0.5, MPII validation, one scale, flip | 90.33
Paper: HRNet's README, pose_hrnet_w32 | PCKh@0.5, MPII validation, one scale, flip | 90.3
Command: oasjax import-weights hrnet hrnet_w32-36af842e.pth --out models/w32_imagenet --skeleton mpii
   oasjax train --config mpii_w32_base --workdir runs/mpii_w32_base --config.data.data_dir=FOLDER \
       --config.model.pretrained=models/w32_imagenet
Cost: 2.9e+17 FLOP, 1.6 hours at 50 TFLOP/s: an estimate, 2 x 10.2 G multiply-adds x 3 passes x 4.67
   million people
Score: not measured
"""

from ml_collections import ConfigDict

from oasjax import published_rows


def get_config() -> ConfigDict:
    config = published_rows.mpii_hrnet(32)
    published_rows.backbone_alone(config)
    return config
