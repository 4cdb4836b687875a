r"""OASNet on the 8-stack hourglass, for MPII's test people.

Trains on train and validation people, 25,204 of them: the 3,912 others in validation pictures are not
read. `evaluate` writes the file for MPII's server, which alone knows the truth; the scores while
training are of people that were trained on.

Group: published row
Paper: Table 1, "ours (hg)" | PCKh@0.5, MPII test, six scales and flip | 92.7
Command: oasjax train --config mpii_test_hg8_oasnet --workdir runs/mpii_test_hg8_oasnet \
       --config.data.data_dir=FOLDER
   oasjax evaluate --config mpii_test_hg8_oasnet --workdir runs/mpii_test_hg8_oasnet \
       --config.data.data_dir=FOLDER --split test
Cost: 2.2e+18 FLOP, 12.2 hours at 50 TFLOP/s: an estimate, 2 x 32.9 G multiply-adds x 6 passes x 5.54
   million people
Score: not measured
"""

from ml_collections import ConfigDict

from oasjax import published_rows


def get_config() -> ConfigDict:
    config = published_rows.mpii_hourglass(8, train_on=published_rows.MPII_TRAIN_AND_VALIDATION)
    config.eval.scales = published_rows.SIX_SCALES
    return config
