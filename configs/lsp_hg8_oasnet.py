r"""OASNet on the 8-stack hourglass, LSP.

Trains on MPII (without its validation people, as PyraNet), all of LSP-extended, and the first half of
LSP. Where LSP-extended does not know what is occluded, the maps of a network trained on MPII stand in.
FOLDER holds mpii, lspet and lsp. The paper does not say how many stacks; 8, as in Table 1. Boxes of LSP
are those about the joints; PyraNet estimates the person's size from the lengths of limbs.

Group: published row
Paper: Table 3, "ours (hg)" | PCK@0.2, LSP test, six scales and flip | 94.5
Command: oasjax train --config mpii_test_hg8_oasnet --workdir runs/mpii_test_hg8_oasnet \
       --config.data.data_dir=FOLDER
   oasjax train --config lsp_hg8_oasnet --workdir runs/lsp_hg8_oasnet --config.data.data_dir=FOLDER \
       --config.data.pseudo_labels=runs/mpii_test_hg8_oasnet
Cost: 2.9e+18 FLOP, 16.1 hours at 50 TFLOP/s: an estimate, 2 x 32.9 G multiply-adds x 6 passes x 7.31
   million people
Score: not measured
"""

from ml_collections import ConfigDict

from oasjax import published_rows


def get_config() -> ConfigDict:
    return published_rows.lsp_hourglass(8)
