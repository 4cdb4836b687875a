"""Distillation: a trained, frozen network shows its features of the clean crops (OASNet, section 3.2).

The paper tried it before the siamese network, and says that it brings nothing.
"""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from oasjax.errors import UserError
from oasjax.models import build_oasnet
from oasjax.models.oasnet import OASNetOutput
from oasjax.training.skeleton import read_skeleton
from oasjax.training.trained_model import read_model


class Teacher:
    """The network of `config.train.teacher`, a model folder or a workdir.

    Attributes:
        variables: its weights and statistics, {'params', 'batch_stats'}.
    """

    def __init__(self, path: str, config: Any):
        """Read it.

        Args:
            path: of the teacher.
            config: of the student.

        Raises:
            UserError: no model there, or one that sees other pictures than the student.
        """
        variables, own = read_model(Path(path))
        for section, name in (("data", "normalization"), ("data", "input_size_wh")):
            theirs, ours = own[section][name], config[section][name]
            if theirs != ours and list(theirs) != list(ours):
                raise UserError(
                    f"config.train.teacher: {section}.{name} of {path} is {theirs}, here it is {ours}; they"
                    " must be the same"
                )
        self.path = path
        self.net = build_oasnet(own["model"], read_skeleton(own["skeleton"]).num_joints)
        self.variables = {
            "params": variables["params"]["net"],
            "batch_stats": variables["model_state"]["net"],
        }

    def require_features(self, shape: tuple[int, ...], images: jax.ShapeDtypeStruct) -> None:
        """Raise UserError unless F^R of the teacher has the shape (b, h, w, c) of the student's."""
        apply = partial(self.net.apply, train=False)
        theirs = jax.eval_shape(apply, self.variables, images).reconstructed.shape
        if theirs != shape:
            raise UserError(
                f"config.train.teacher: the features of {self.path} are {theirs[1:]} (rows, columns,"
                f" channels), this model's are {shape[1:]}; they cannot be compared"
            )

    def __call__(self, variables: Any, images: Float[Array, "b y x 3"]) -> OASNetOutput:
        """Output for clean crops, without a gradient."""
        output = self.net.apply(variables, images, train=False)
        return jax.tree.map(lambda part: jax.lax.stop_gradient(jnp.asarray(part)), output)
