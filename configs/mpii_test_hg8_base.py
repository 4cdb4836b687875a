r"""Baseline: the 8-stack hourglass alone, for MPII's test people.

Trains on train and validation people, 25,204 of them: the 3,912 others in validation pictures are not
read. `evaluate` writes the file for MPII's server, which alone knows the truth; the scores while
training are of people that were trained on. Trained as OASNet here, not as Newell et al. did.

Group: published row
Paper: Table 1, Newell et al. | PCKh@0.5, MPII test, six scales and flip | 90.9
Command: oasjax train --config mpii_test_hg8_base --workdir runs/mpii_test_hg8_base \
       --config.data.data_dir=FOLDER
   oasjax evaluate --config mpii_test_hg8_base --workdir runs/mpii_test_hg8_base \
       --config.data.data_dir=FOLDER --split test
Cost: 9.3e+17 FLOP, 5.2 hours at 50 TFLOP/s: an estimate, 2 x 28.1 G multiply-adds x 3 passes x 5.54
   million people
Score: not measured
"""

from ml_collections import ConfigDict

from oasjax import published_rows


def get_config() -> ConfigDict:
    config = published_rows.mpii_hourglass(8, train_on=published_rows.MPII_TRAIN_AND_VALIDATION)
    published_rows.backbone_alone(config)
    config.eval.scales = published_rows.SIX_SCALES
    return config
