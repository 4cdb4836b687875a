"""Checkpoints that can be trusted: Orbax, digests, fallback.

`checkpoints/STEP/{state,params,meta}` is written by Orbax; `checkpoints/STEP.sha256` (the format of
`sha256sum`, so `sha256sum --check` verifies it from inside `checkpoints/`) follows when Orbax has committed.
Without it a step is incomplete and ignored; a step whose files do not match it is damaged, is named, and the
one before it is used.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from oasjax.errors import UserError
from oasjax.training.state import TrainState


def digest_path(folder: Path, step: int) -> Path:
    return folder / f"{step}.sha256"


def file_digests(folder: Path, step: int) -> dict[str, str]:
    """SHA-256 of every file of a step, by its path relative to `folder`."""
    files = sorted(path for path in (folder / str(step)).rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def damage(folder: Path, step: int) -> str | None:
    """What is wrong with a step, or None when every file matches its digest."""
    try:
        lines = digest_path(folder, step).read_text(encoding="ascii").splitlines()
        expected = {path: digest for digest, path in (line.split("  ", 1) for line in lines)}
    except FileNotFoundError:
        return "incomplete: its saving was interrupted"
    except ValueError:
        return f"its digest file {step}.sha256 is unreadable"
    found = file_digests(folder, step)
    if not expected:
        return f"its digest file {step}.sha256 is empty"
    for path in sorted(expected.keys() | found.keys()):
        if path not in found:
            return f"{path} is missing"
        if expected.get(path) != found[path]:
            return f"{path} has changed since it was saved"
    return None


class Checkpoints:
    """The checkpoints of one workdir.

    Args:
        workdir: its `checkpoints` folder is used.
        keep: newest steps to keep.
        say: receives one line when a step must be passed over.
    """

    def __init__(self, workdir: Path, keep: int, say: Callable[[str], None]):
        self.folder = (workdir / "checkpoints").absolute()
        self.keep = keep
        self.say = say
        self._checkpointer = ocp.Checkpointer(ocp.CompositeCheckpointHandler())

    def steps(self) -> list[int]:
        """Steps that have a folder, newest first."""
        if not self.folder.is_dir():
            return []
        names = (path.name for path in self.folder.iterdir() if path.is_dir())
        return sorted((int(name) for name in names if name.isdigit()), reverse=True)

    def latest_good(self) -> int | None:
        """The newest undamaged step; None when nothing was ever saved completely.

        Raises UserError when complete steps exist and all of them are damaged.
        """
        damaged = False
        for step in self.steps():
            reason = damage(self.folder, step)
            if reason is None:
                return step
            self.say(f"checkpoint {step} is passed over: {reason}")
            damaged |= digest_path(self.folder, step).exists()
        if damaged:
            raise UserError(
                f"every checkpoint in {self.folder} is damaged; restore the folder from a copy, or move"
                " it away to start anew"
            )
        return None

    def save(self, state: TrainState, meta: dict[str, Any]) -> None:
        """Save, then write the digests, then delete what is older than the `keep` newest steps."""
        step = int(state.step)
        path = self.folder / str(step)
        if jax.process_index() == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            digest_path(self.folder, step).unlink(missing_ok=True)
            # What an interrupted or damaged save of this step left: the folder, or Orbax's temporary one.
            for left_over in self.folder.glob(f"{step}*"):
                if left_over.name == str(step) or left_over.name.startswith(f"{step}.orbax"):
                    shutil.rmtree(left_over)
        params = {"params": state.params, "model_state": state.model_state}
        self._checkpointer.save(
            path,
            ocp.args.Composite(
                state=ocp.args.StandardSave({"step": state.step, "opt_state": state.opt_state}),
                params=ocp.args.StandardSave(params),
                meta=ocp.args.JsonSave(meta),
            ),
        )
        if jax.process_index() == 0:
            self._write_digests(step)
            for old in self.steps()[self.keep :]:
                digest_path(self.folder, old).unlink(missing_ok=True)
                shutil.rmtree(self.folder / str(old))

    def _write_digests(self, step: int) -> None:
        lines = [f"{digest}  {path}\n" for path, digest in file_digests(self.folder, step).items()]
        temporary = digest_path(self.folder, step).with_suffix(".tmp")
        with open(temporary, "w", encoding="ascii") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(digest_path(self.folder, step))

    def restore(self, step: int, like: TrainState) -> TrainState:
        """The state saved at `step`, in the shapes, types and shardings of `like`."""
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        params = {"params": abstract.params, "model_state": abstract.model_state}
        restored = self._checkpointer.restore(
            self.folder / str(step),
            ocp.args.Composite(
                state=ocp.args.StandardRestore({"step": abstract.step, "opt_state": abstract.opt_state}),
                params=ocp.args.StandardRestore(params),
            ),
        )
        return TrainState(
            step=restored["state"]["step"],
            params=restored["params"]["params"],
            model_state=restored["params"]["model_state"],
            opt_state=restored["state"]["opt_state"],
        )


def restore_params(workdir: Path, say: Callable[[str], None] = print) -> dict[str, Any]:
    """`{'params', 'model_state'}` of the latest good checkpoint, as numpy arrays.

    Raises UserError when the workdir holds none.
    """
    checkpoints = Checkpoints(Path(workdir), keep=1, say=say)
    step = checkpoints.latest_good()
    if step is None:
        raise UserError(f"{workdir} holds no complete checkpoint; train first: oasjax train")
    path = checkpoints.folder / str(step)
    handler = ocp.CompositeCheckpointHandler(
        params=ocp.StandardCheckpointHandler(),
        state=ocp.StandardCheckpointHandler(),
        meta=ocp.JsonCheckpointHandler(),
    )
    with ocp.Checkpointer(handler) as checkpointer:
        # As plain arrays: the devices that saved them need not be here.
        saved = checkpointer.metadata(path).item_metadata["params"].tree
        arrays = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), saved)
        restored = checkpointer.restore(path, ocp.args.Composite(params=ocp.args.StandardRestore(arrays)))
    return restored["params"]
