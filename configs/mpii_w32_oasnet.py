r"""OASNet on HRNet-W32, MPII validation.

Colours are jittered, as section 4.2 says for all rows of MPII; HRNet's code does not. Rotation of +-30
degrees is read as that code has it: normal, standard deviation 30, cut at 60, for 6 crops in 10.

Group: published row
Paper: Table 2, HRNet+Ours | PCKh@0.5, MPII validation, one scale, flip | 90.71
Paper: Table 5, HRNet | PCKh@0.5 of occluded and of un-occluded joints, MPII validation | +1.51 and
   +0.19 over mpii_w32_base
Command: oasjax import-weights hrnet hrnet_w32-36af842e.pth --out models/w32_imagenet --skeleton mpii
   oasjax train --config mpii_w32_oasnet --workdir runs/mpii_w32_oasnet --config.data.data_dir=FOLDER \
       --config.model.pretrained=models/w32_imagenet
Cost: 6.7e+17 FLOP, 3.7 hours at 50 TFLOP/s: an estimate, 2 x 12.0 G multiply-adds x 6 passes x 4.67
   million people
Score: not measured
"""

from ml_collections import ConfigDict

from oasjax import published_rows


def get_config() -> ConfigDict:
    return published_rows.mpii_hrnet(32)
