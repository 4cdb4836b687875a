"""L_mimic as a part of training: which mask, which critic and how it learns, epsilon by step."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from oasjax.errors import UserError
from oasjax.losses.mimic import mimic_loss, natural_mask
from oasjax.models.critic import Critic
from oasjax.ops.choices import check_choice
from oasjax.ops.gradient_reversal import reverse_gradient
from oasjax.training.state import initial_variables

MASKS = ("ground_truth", "none", "predicted")
# Who changes the critic's weights: the loss, nobody, the loss upside down, or the loss for a copy whose
# running average is the critic.
CRITIC_TRAINING = ("adversarial", "ema", "frozen", "joint")


class Mimic:
    """Built from `config.loss.mimic` (see `oasjax.config_sections.mimic`); holds no arrays.

    A critic with weights has `params` if it learns, and `state` beside them: `initial`, the weights of step
    0, and with 'ema' the `average`.
    """

    def __init__(self, config: Any, num_steps: int, dtype: DTypeLike):
        self.config = config
        self.num_steps = num_steps
        critic = dict(config["critic"])
        self.training, self.ema_decay = critic.pop("training"), critic.pop("ema_decay")
        with_critic = config["kind"] == "ot" and critic["kind"] != "none"
        self.critic = Critic(**critic, dtype=dtype) if with_critic else None
        self.learns = self.critic is not None and self.critic.kind == "convolution"

    def init(
        self, seed: int, cells: tuple[int, int, int, int], predicts_map: bool = True
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """(params, state) at step 0 for features of shape `cells` (b, h, w, c).

        Raises UserError for an unknown choice, for a critic that does not fit these features, and for a mask
        from the predicted map where the model `predicts_map` not.
        """
        features = jax.ShapeDtypeStruct(cells, jnp.float32)
        mask = jax.ShapeDtypeStruct((*cells[:3], 1), jnp.float32)
        params: dict[str, Any] = {}
        state: dict[str, Any] = {}
        try:
            self._check_choices()
            if self.learns:
                weights = initial_variables(self.critic, features, seed=seed)["params"]
                params = {} if self.training == "frozen" else {"critic": weights}
                state = {"critic": {"initial": weights}}
                if self.training == "ema":
                    state["critic"]["average"] = weights
            if self.config["kind"] != "none":
                predicted = mask if predicts_map else None
                jax.eval_shape(self.loss, params, state, features, features, mask, predicted, 0)
        except ValueError as error:
            raise UserError(f"config.loss.mimic: {error}") from None
        return params, state

    def _check_choices(self) -> None:
        """What the losses and the critic cannot check themselves."""
        check_choice("mask.source", self.config["mask"]["source"], MASKS)
        check_choice("critic.training", self.training, CRITIC_TRAINING)
        for name in ("epsilon", "epsilon_end"):
            if not self.config["transport"][name] > 0:
                raise ValueError(f"transport.{name} is {self.config['transport'][name]}; it must be positive")

    def epsilon(self, step: Int[Array, ""] | int) -> float | Float[Array, ""]:
        """Entropic regularisation at a step: from `epsilon` to `epsilon_end`, geometrically."""
        start, end = self.config["transport"]["epsilon"], self.config["transport"]["epsilon_end"]
        if start == end:
            return start
        return start * (end / start) ** jnp.clip(step / self.num_steps, 0.0, 1.0)

    def mask(
        self, clean_map: Float[Array, "b h w 1"], predicted_map: Float[Array, "b h w 1"] | None
    ) -> Float[Array, "b h w 1"]:
        """Mask of eq. 7 from the clean image's occlusion map, true or predicted (without its gradient)."""
        source, threshold = self.config["mask"]["source"], self.config["mask"]["threshold"] or None
        if source == "none":
            return jnp.ones_like(clean_map)
        if source == "predicted":
            if predicted_map is None:
                raise ValueError("mask.source is 'predicted', but the model predicts no occlusion map")
            return natural_mask(jax.lax.stop_gradient(predicted_map), threshold)
        return natural_mask(clean_map, threshold)

    def loss(
        self,
        params: Any,
        state: Any,
        clean: Float[Array, "b h w c"],
        occluded: Float[Array, "b h w c"],
        clean_map: Float[Array, "b h w 1"],
        predicted_map: Float[Array, "b h w 1"] | None,
        step: Int[Array, ""] | int,
    ) -> tuple[Float[Array, ""], tuple[dict[str, Array], Any]]:
        """Returns (L_mimic, (further figures to log, what changes of the state)).

        Args:
            clean_map, predicted_map: H_o of the clean image, true and predicted; the latter is None
                where the model predicts none.
            step: updates made so far.
        """
        mask = self.mask(clean_map, predicted_map)

        def loss(weights: Any, clean: Array, occluded: Array) -> Float[Array, ""]:
            return mimic_loss(
                clean,
                occluded,
                mask,
                kind=self.config["kind"],
                detach=self.config["detach"],
                critic=None if self.critic is None else partial(self.critic.apply, {"params": weights}),
                **self._options(step),
            )

        if not self.learns:
            return loss({}, clean, occluded), ({}, {})
        critic = state["critic"]
        if self.training == "frozen":
            return loss(critic["initial"], clean, occluded), ({}, {})
        learned = params["critic"]
        fixed = jax.lax.stop_gradient((clean, occluded))
        # The same loss under a critic that cannot take a short cut: does it fall as well?
        logged = {"mimic_frozen_critic": loss(critic["initial"], *fixed)}
        if self.training == "joint":
            return loss(learned, clean, occluded), (logged, {})
        if self.training == "adversarial":
            return loss(reverse_gradient(learned), clean, occluded), (logged, {})
        lesson = loss(learned, *fixed)  # of value zero, for the gradient of the learned copy alone
        value = loss(critic["average"], clean, occluded) + lesson - jax.lax.stop_gradient(lesson)
        average = jax.tree.map(
            lambda old, new: self.ema_decay * old + (1 - self.ema_decay) * jax.lax.stop_gradient(new),
            critic["average"],
            learned,
        )
        return value, (logged, {"critic": critic | {"average": average}})

    def _options(self, step: Int[Array, ""] | int) -> dict[str, Any]:
        """What `losses.mimic` wants to know for this kind."""
        options = {"reduction": self.config["reduction"]}
        if self.config["kind"] in ("kl", "js"):
            options["axis"] = self.config["axis"]
        if self.config["kind"] == "ot":
            transport = dict(self.config["transport"])
            del transport["epsilon_end"]
            options |= transport | {"epsilon": self.epsilon(step)}
        return options
