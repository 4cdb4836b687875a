"""OASNet as a task: siamese training (eq. 11), prediction, scores."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8

from oasjax.augmentation import colour, occluders
from oasjax.augmentation.siamese import SiamesePair, prepare
from oasjax.codecs import heatmap, occlusion_map
from oasjax.datasets.skeletons import flip_permutation
from oasjax.errors import UserError
from oasjax.losses.heatmap import joints_loss
from oasjax.losses.occlusion import occlusion_class_loss, occlusion_map_loss
from oasjax.models import build_oasnet
from oasjax.models.oasnet import OASNetOutput
from oasjax.ops.choices import check_choice
from oasjax.training.skeleton import read_skeleton
from oasjax.training.state import initial_variables
from oasjax.training.tasks.mimic import Mimic


def interleave(first: Float[Array, "b ..."], second: Float[Array, "b ..."]) -> Float[Array, "n ..."]:
    """(b, ...), (b, ...) -> (2b, ...) with the pair of an example side by side.

    Not one branch after the other: a batch split over devices would have to travel.
    """
    return jnp.stack([first, second], axis=1).reshape(-1, *first.shape[1:])


def branches(pairs: Float[Array, "n ..."]) -> tuple[Float[Array, "b ..."], Float[Array, "b ..."]]:
    """Undo `interleave`."""
    pairs = pairs.reshape(-1, 2, *pairs.shape[1:])
    return pairs[:, 0], pairs[:, 1]


def occlusion_loss(output: OASNetOutput, pair: SiamesePair) -> Float[Array, ""] | None:
    """L_o of interleaved branches: of eq. 2 for a map, of eq. 1 for classes, None without either."""
    if output.occlusion_maps is not None:
        return occlusion_map_loss(
            output.occlusion_maps,
            interleave(pair.occluded.occlusion_map, pair.clean.occlusion_map),
            interleave(pair.occluded.occlusion_weight, pair.clean.occlusion_weight),
        )
    if output.occlusion_logits is not None:
        classes = interleave(pair.occluded.occlusion_classes, pair.clean.occlusion_classes)
        return occlusion_class_loss(output.occlusion_logits, classes)
    return None


class OASNetTask:
    """Built from a whole config; holds no arrays.

    Variables are `{'params': {'net', 'critic'}, 'model_state': {'net', 'critic'}}`: weights that learn, and
    batch statistics and a critic's weights that do not (`Mimic`).
    """

    def __init__(self, config: Any):
        try:
            self.skeleton = read_skeleton(config["skeleton"])
        except ValueError as error:
            raise UserError(f"config.skeleton: {error}") from None
        self.config = config
        self.normalization, self.frame = (
            config["data"]["normalization"],
            ("centre" if config["target"]["codec"] == "subpixel" else "corner"),
        )
        try:
            check_choice("config.data.normalization", self.normalization, colour.NORMALIZATIONS)
        except ValueError as error:
            raise UserError(str(error)) from None
        try:
            self.net = build_oasnet(config["model"], self.skeleton.num_joints)
        except (TypeError, ValueError) as error:
            raise UserError(f"config.model: {error}") from None
        self.mimic = Mimic(config["loss"]["mimic"], config["train"]["num_steps"], self.net.dtype)
        self.permutation = flip_permutation(self.skeleton)

    @property
    def stride(self) -> int:
        return self.net.backbone.stride

    def init(self, seed: int) -> dict[str, Any]:
        """Variables at step 0 (numpy). Raises UserError where values of the config do not fit together."""
        width, height = self.config["data"]["input_size_wh"]
        images = jax.ShapeDtypeStruct((1, height, width, 3), jnp.float32)
        try:
            net = initial_variables(self.net, images, seed=seed, train=False)
        except ValueError as error:
            raise UserError(f"config.model and config.data.input_size_wh: {error}") from None
        last_head = net["params"][f"head{self.net.backbone.num_stacks - 1}"]
        channels = last_head["joints"]["kernel"].shape[2]
        cells = (1, height // self.stride, width // self.stride, channels)
        params, state = self.mimic.init(seed, cells, predicts_map=self.net.occlusion_head == "heatmap")
        return {
            "params": {"net": net["params"], **params},
            "model_state": {"net": net["batch_stats"], **state},
        }

    def loss(
        self,
        params: Any,
        model_state: Any,
        batch: dict[str, Array],
        key: PRNGKeyArray,
        step: Int[Array, ""] | int,
    ) -> tuple[Float[Array, ""], tuple[dict[str, Array], Any]]:
        """Loss of one batch of crops after `step` updates; returns (L, (parts by name, new state))."""
        augment = self.config["augment"]
        pair = prepare(
            key,
            batch,
            flip_permutation=self.permutation,
            stride=self.stride,
            sigma_cells=self.config["target"]["sigma_cells"],
            flip_probability=augment["flip_probability"],
            colour_jitter=augment["colour_jitter"],
            patches=augment["patches"],
            normalization=self.normalization,
            frame=self.frame,
        )
        return self.loss_on_pair(params, model_state, pair, step)

    def loss_on_pair(
        self, params: Any, model_state: Any, pair: SiamesePair, step: Int[Array, ""] | int
    ) -> tuple[Float[Array, ""], tuple[dict[str, Array], Any]]:
        """L = L_J + lambda_o L_o + lambda_mimic L_mimic (eq. 11), on both branches in one pass of 2B.

        Without an occlusion head there is no L_o.
        """
        weights = self.config["loss"]
        images = interleave(pair.occluded.images, pair.clean.images)
        output, updates = self.net.apply(
            {"params": params["net"], "batch_stats": model_state["net"]},
            images,
            train=True,
            mutable=["batch_stats"],
        )
        total = joints_loss(
            output.heatmaps,
            jnp.repeat(pair.heatmaps, 2, axis=0),
            jnp.repeat(pair.joint_weight, 2, axis=0),
        )
        parts = {"joints": total}
        new_state = model_state | {"net": updates["batch_stats"]}
        occlusion = occlusion_loss(output, pair)
        if occlusion is not None:
            parts["occlusion"] = occlusion
            total = total + weights["occlusion_weight"] * occlusion
        if weights["mimic"]["kind"] != "none":
            occluded, clean = branches(output.reconstructed)
            maps = output.occlusion_maps
            predicted_map = None if maps is None else branches(maps[-1])[1]
            parts["mimic"], (logged, mimic_state) = self.mimic.loss(
                params, model_state, clean, occluded, pair.clean.occlusion_map, predicted_map, step
            )
            total = total + weights["mimic"]["weight"] * parts["mimic"]
            parts |= logged
            new_state |= mimic_state
        return total, ({"loss": total, **parts}, new_state)

    def predict(self, variables: dict[str, Any], images: UInt8[Array, "b y x 3"]) -> dict[str, Array]:
        """Keypoints (b, k, 2) in crop pixels, scores (b, k), and what the occlusion head says.

        A score is the height of the heatmap's peak: near [0, 1], but not bound to it, since the ranking of
        people by keypoint AP takes it as it is.

        A head 'heatmap' adds `occlusion_map` (b, h, w) and `occlusion` (b, k), which is the map at the
        predicted joint, both clipped to [0, 1]; 'classification' adds `occlusion` alone, the probability that
        the joint is occluded if it is labelled at all. With `config.eval.flip_test` everything is averaged
        over the picture and its mirror image.
        """
        normalized = colour.normalize(colour.to_float(images), self.normalization)
        maps = self._maps(variables, normalized)
        if self.config["eval"]["flip_test"]:
            mirrored = self._maps(variables, normalized[:, :, ::-1])
            turned_back = {
                "heatmaps": lambda x: heatmap.mirror(x, self.frame)[..., self.permutation],
                "occlusion_map": lambda x: heatmap.mirror(x, self.frame),
                "occlusion": lambda x: x[:, self.permutation],
            }
            maps = {name: (value + turned_back[name](mirrored[name])) / 2 for name, value in maps.items()}
        cells, scores = heatmap.decode(maps["heatmaps"])
        predictions = {
            "keypoints": heatmap.cells_to_pixels(cells, self.stride, self.frame),
            "scores": scores,
        }
        if "occlusion_map" in maps:
            predictions["occlusion"] = occlusion_map.decode(maps["occlusion_map"], cells)
            predictions["occlusion_map"] = jnp.clip(maps["occlusion_map"][..., 0], 0.0, 1.0)
        elif "occlusion" in maps:
            predictions["occlusion"] = maps["occlusion"]
        return predictions

    def _maps(self, variables: dict[str, Any], images: Float[Array, "b y x 3"]) -> dict[str, Array]:
        """What the last stack says: heatmaps (b, h, w, k); occlusion_map (b, h, w, 1) or occlusion (b, k)."""
        output = self.net.apply(
            {"params": variables["params"]["net"], "batch_stats": variables["model_state"]["net"]},
            images,
            train=False,
        )
        maps = {"heatmaps": output.heatmaps[-1]}
        if output.occlusion_maps is not None:
            maps["occlusion_map"] = output.occlusion_maps[-1]
        if output.occlusion_logits is not None:
            _, occluded, visible = jnp.moveaxis(output.occlusion_logits[-1], -1, 0)
            # P(occluded) / (P(occluded) + P(visible))
            maps["occlusion"] = jax.nn.sigmoid(occluded - visible)
        return maps

    def paste_test_occluders(
        self, images: UInt8[Array, "b y x 3"], batch: dict[str, Array]
    ) -> tuple[UInt8[Array, "b y x 3"], Array]:
        """The fixed occluders of the test set: a function of (config.seed, example id) alone.

        Patches show flat colours or pieces of the same image, so that the result does not depend on the
        company in the batch; each image gets at least one.

        Returns:
            The images, and which joints (b, k) a patch hides.
        """
        _, height, width, _ = images.shape
        labelled = (batch["visibility"] > 0) & heatmap.inside(batch["keypoints"], height, width)
        seed = jax.random.key(self.config["seed"])
        patches = dict(self.config["augment"]["patches"]) | {"min_patches": 1}
        del patches["cutouts"]

        def one(image: Array, points: Array, labels: Array, example_id: Array):
            drawn = occluders.sample_patches(
                jax.random.fold_in(seed, example_id),
                points[None],
                labels[None],
                height=height,
                width=width,
                **patches,
            )
            hidden = occluders.covered(drawn, points[None]).any(axis=1) & labels
            return occluders.paste(colour.to_float(image)[None], drawn)[0], hidden[0]

        pasted, hidden = jax.vmap(one)(images, batch["keypoints"], labelled, batch["example_id"])
        return jnp.round(pasted * 255).astype(jnp.uint8), hidden
