r"""OASNet on HRNet-W32, for MPII's test people.

Trains on train and validation people, 25,204 of them: the 3,912 others in validation pictures are not
read. `evaluate` writes the file for MPII's server, which alone knows the truth; the scores while
training are of people that were trained on.

Colours are jittered, as section 4.2 says for all rows of MPII; HRNet's code does not. Rotation of +-30
degrees is read as that code has it: normal, standard deviation 30, cut at 60, for 6 crops in 10.

Group: published row
Paper: Table 1, "ours (HRNet-W32)" | PCKh@0.5, MPII test, six scales and flip | 92.4
Command: oasjax import-weights hrnet hrnet_w32-36af842e.pth --out models/w32_imagenet --skeleton mpii
   oasjax train --config mpii_test_w32_oasnet --workdir runs/mpii_test_w32_oasnet \
       --config.data.data_dir=FOLDER --config.model.pretrained=models/w32_imagenet
   oasjax evaluate --config mpii_test_w32_oasnet --workdir runs/mpii_test_w32_oasnet \
       --config.data.data_dir=FOLDER --config.model.pretrained=models/w32_imagenet --split test
Cost: 7.6e+17 FLOP, 4.2 hours at 50 TFLOP/s: an estimate, 2 x 12.0 G multiply-adds x 6 passes x 5.29
   million people
Score: not measured
"""

from ml_collections import ConfigDict

from oasjax import published_rows


def get_config() -> ConfigDict:
    config = published_rows.mpii_hrnet(32, train_on=published_rows.MPII_TRAIN_AND_VALIDATION)
    config.eval.scales = published_rows.SIX_SCALES
    return config
