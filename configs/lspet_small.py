"""OASNet on real photographs: LSP-extended at 128x128, artificial occluders, two CPU cores.

Command: OASJAX_DATA_DIR=... oasjax train --config lspet_small --workdir runs/lspet_small
   (or --config.data.data_dir=FOLDER, the folder that holds joints.mat and images/)
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    return config
