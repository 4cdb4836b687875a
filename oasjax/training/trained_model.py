"""A trained model, whichever way it was kept."""

from pathlib import Path
from typing import Any

from oasjax.errors import UserError
from oasjax.weights.model_folder import CONFIG_FILE, WEIGHTS_FILE, load_model, read_config

CHECKPOINTS_FOLDER = "checkpoints"


def read_model(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(variables, config) of a model folder, or of the latest good checkpoint of a workdir.

    Raises:
        UserError: no such folder, neither of the two, or a broken one.
    """
    if not path.is_dir():
        raise UserError(f"no such model: {path} is not a folder")
    if (path / WEIGHTS_FILE).is_file():
        return load_model(path)
    if (path / CHECKPOINTS_FOLDER).is_dir():
        # A model folder is read without Orbax, which takes a second to import.
        from oasjax.training.checkpoints import restore_params

        return restore_params(path), read_config(path / CONFIG_FILE)
    raise UserError(
        f"{path} holds no model: expected {WEIGHTS_FILE} (a model folder) or "
        f"{CHECKPOINTS_FOLDER}/ (the workdir of a training run)"
    )
