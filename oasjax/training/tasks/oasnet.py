"""OASNet as a task: siamese training (eq. 11) and its variants, prediction, test occluders."""

from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8

from oasjax.augmentation import colour, occluders
from oasjax.augmentation.siamese import Branch, SiamesePair, prepare
from oasjax.codecs import heatmap
from oasjax.codecs.codec import make_codec
from oasjax.datasets.skeletons import flip_permutation
from oasjax.errors import UserError
from oasjax.losses.heatmap import REDUCTIONS, joints_loss
from oasjax.losses.occlusion import occlusion_class_loss, occlusion_map_loss
from oasjax.models import build_oasnet
from oasjax.models.oasnet import OASNetOutput
from oasjax.ops.affine import crop_center
from oasjax.ops.choices import check_choice
from oasjax.training.skeleton import joint_weights, read_skeleton
from oasjax.training.state import initial_variables
from oasjax.training.tasks import prediction
from oasjax.training.tasks.branches import PASSES, branch_output, interleave
from oasjax.training.tasks.mimic import Mimic
from oasjax.training.tasks.teacher import Teacher

# config.train.branches: both, or the occluded one alone.
BRANCHES = ("siamese", "single")
# config.loss.branches: which of two carry L_J and L_o.
SUPERVISED = ("both", "occluded")
# Shape of the bank that occluders are cut from.
CUTOUTS = (256, 96, 96, 4)


def occlusion_loss(output: OASNetOutput, target: Branch, reduction: str) -> Float[Array, ""] | None:
    """L_o: of eq. 2 for a map, of eq. 1 for classes, None without either."""
    if output.occlusion_maps is not None:
        return occlusion_map_loss(
            output.occlusion_maps, target.occlusion_map, target.occlusion_weight, reduction=reduction
        )
    if output.occlusion_logits is not None:
        return occlusion_class_loss(output.occlusion_logits, target.occlusion_classes)
    return None


class OASNetTask:
    """Built from a whole config; holds no arrays (but a teacher's, once it is asked for).

    Variables are `{'params': {'net', 'critic'}, 'model_state': {'net', 'critic', 'teacher', 'cutouts'}}`:
    weights that learn, and what does not: batch statistics, a critic's weights (`Mimic`), a frozen teacher,
    the bank that occluders are cut from. All but `net` are there where the config asks for them.
    """

    def __init__(self, config: Any):
        self.config = config
        try:
            self.skeleton = read_skeleton(config["skeleton"])
        except ValueError as error:
            raise UserError(f"config.skeleton: {error}") from None
        self.normalization = config["data"]["normalization"]
        try:
            self._check_choices()
        except ValueError as error:
            raise UserError(str(error)) from None
        try:
            self.net = build_oasnet(config["model"], self.skeleton.num_joints)
        except (TypeError, ValueError) as error:
            raise UserError(f"config.model: {error}") from None
        try:
            size_wh = tuple(config["data"]["input_size_wh"])
            stride = self.net.backbone.stride
            self.codec = make_codec(dict(config["target"]), stride=stride, input_size_wh=size_wh)
        except ValueError as error:
            raise UserError(f"config.target: {error}") from None
        self.mimic = Mimic(config["loss"]["mimic"], config["train"]["num_steps"], self.net.dtype)
        self.permutation = flip_permutation(self.skeleton)

    def _check_choices(self) -> None:
        train, loss = self.config["train"], self.config["loss"]
        check_choice("config.data.normalization", self.normalization, colour.NORMALIZATIONS)
        check_choice("config.train.branches", train["branches"], BRANCHES)
        check_choice("config.train.batch_norm", train["batch_norm"], PASSES)
        check_choice("config.loss.branches", loss["branches"], SUPERVISED)
        check_choice("config.loss.reduction", loss["reduction"], REDUCTIONS)
        joints = self.skeleton.num_joints
        if loss["hard_joints"] > joints:
            raise ValueError(f"config.loss.hard_joints is {loss['hard_joints']}; there are {joints} joints")
        for section, patches in (("augment", self._patches()), ("eval", self.config["eval"]["patches"])):
            try:
                occluders.check_settings(**patches)
            except ValueError as error:
                raise ValueError(f"config.{section}.patches: {error}") from None
        mimics = loss["mimic"]["kind"] != "none"
        if train["branches"] == "siamese" and train["teacher"]:
            raise ValueError(
                "config.train.teacher stands in for the clean branch; set config.train.branches=single"
            )
        if train["branches"] == "single" and mimics != bool(train["teacher"]):
            raise ValueError(
                "config.train.branches=single has nobody to mimic; set config.loss.mimic.kind=none, or name a"
                " model that is mimicked as config.train.teacher"
                if mimics
                else "config.train.teacher is named, but config.loss.mimic.kind is none: nothing is mimicked"
            )

    def _patches(self) -> dict[str, Any]:
        """`config.augment.patches`, but for where cut-outs come from."""
        return {name: value for name, value in self.config["augment"]["patches"].items() if name != "cutouts"}

    @cached_property
    def teacher(self) -> Teacher | None:
        """The model of `config.train.teacher`, read when it is first wanted: prediction can do without."""
        path = self.config["train"]["teacher"]
        return Teacher(path, self.config) if path else None

    @property
    def pastes_cutouts(self) -> bool:
        patches = self.config["augment"]["patches"]
        return patches["max_patches"] > 0 and patches["kinds"]["cutout"] > 0

    @property
    def plain_scale(self) -> int:
        """Which of `config.eval.scales` is nearest to 1."""
        return int(np.argmin(np.abs(np.array(self.config["eval"]["scales"]) - 1.0)))

    def init(self, seed: int, cutouts: UInt8[np.ndarray, "n s s 4"] | None = None) -> dict[str, Any]:
        """Variables at step 0 (numpy).

        Args:
            seed: of the weights.
            cutouts: the bank (`oasjax.datasets.cutouts`), repeated up to CUTOUTS; None leaves it empty, for a
                state to be restored.

        Raises:
            UserError: values of the config that do not fit together.
        """
        width, height = self.config["data"]["input_size_wh"]
        images = jax.ShapeDtypeStruct((1, height, width, 3), jnp.float32)
        try:
            net = initial_variables(self.net, images, seed=seed, train=False)
        except ValueError as error:
            raise UserError(f"config.model and config.data.input_size_wh: {error}") from None
        last_head = net["params"][f"head{self.net.backbone.num_stacks - 1}"]
        stride, channels = self.net.backbone.stride, last_head["joints"]["kernel"].shape[2]
        cells = (1, height // stride, width // stride, channels)
        params, state = self.mimic.init(seed, cells, predicts_map=self.net.occlusion_head == "heatmap")
        if self.teacher is not None:
            self.teacher.require_features(cells, images)
            state["teacher"] = self.teacher.variables
        if self.pastes_cutouts:
            state["cutouts"] = np.zeros(CUTOUTS, np.uint8) if cutouts is None else np.resize(cutouts, CUTOUTS)
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
            codec=self.codec,
            flip_permutation=self.permutation,
            flip_probability=augment["flip_probability"],
            colour_jitter=augment["colour_jitter"],
            patches=augment["patches"],
            normalization=self.normalization,
            cutouts=model_state.get("cutouts"),
        )
        return self.loss_on_pair(params, model_state, pair, step)

    def loss_on_pair(
        self, params: Any, model_state: Any, pair: SiamesePair, step: Int[Array, ""] | int
    ) -> tuple[Float[Array, ""], tuple[dict[str, Array], Any]]:
        """L = L_J + lambda_o L_o + lambda_mimic L_mimic (eq. 11).

        Without an occlusion head there is no L_o. L_mimic compares the two branches, or a single one with the
        teacher.
        """
        weights = self.config["loss"]
        siamese = self.config["train"]["branches"] == "siamese"
        apply = partial(self._train, params["net"])
        if siamese:
            run = PASSES[self.config["train"]["batch_norm"]]
            output, statistics = run(apply, model_state["net"], pair)
            occluded, clean = branch_output(output, 0), branch_output(output, 1)
        else:
            output, statistics = apply(model_state["net"], pair.occluded.images)
            occluded = output
            if self.teacher is not None:
                clean = self.teacher(model_state["teacher"], pair.clean.images)
        new_state = model_state | {"net": statistics}

        if siamese and weights["branches"] == "both":
            parts = self._supervised(output, jax.tree.map(interleave, pair.occluded, pair.clean), pair)
        else:
            parts = self._supervised(occluded, pair.occluded, pair)
        total = parts["joints"] + weights["occlusion_weight"] * parts.get("occlusion", 0.0)
        if weights["mimic"]["kind"] != "none":
            maps = clean.occlusion_maps
            parts["mimic"], (logged, mimic_state) = self.mimic.loss(
                params,
                model_state,
                clean.reconstructed,
                occluded.reconstructed,
                pair.clean.occlusion_map,
                None if maps is None else maps[-1],
                step,
            )
            total = total + weights["mimic"]["weight"] * parts["mimic"]
            parts |= logged
            new_state |= mimic_state
        return total, ({"loss": total, **parts}, new_state)

    def _train(self, weights: Any, statistics: Any, images: Array) -> tuple[OASNetOutput, Any]:
        """One pass in training; returns (output, new batch statistics)."""
        variables = {"params": weights, "batch_stats": statistics}
        output, updates = self.net.apply(variables, images, train=True, mutable=["batch_stats"])
        return output, updates["batch_stats"]

    def _supervised(self, output: OASNetOutput, target: Branch, pair: SiamesePair) -> dict[str, Array]:
        """L_J, L_o and, to be logged, the accuracy of people of one branch, or of both side by side."""
        weights = self.config["loss"]
        copies = output.heatmaps.shape[1] // len(pair.heatmaps)
        joint_weight = pair.joint_weight
        if self.config["target"]["joint_weights"]:
            # HRNet multiplies both maps by the weight before it takes the square.
            joint_weight = joint_weight * jnp.asarray(np.square(joint_weights(self.skeleton)), jnp.float32)
        heatmaps = jnp.repeat(pair.heatmaps, copies, axis=0)
        joints = joints_loss(
            output.heatmaps,
            heatmaps,
            jnp.repeat(joint_weight, copies, axis=0),
            reduction=weights["reduction"],
            hard_joints=weights["hard_joints"],
        )
        parts = {
            "joints": weights["factor"] * joints,
            "accuracy": self.codec.accuracy(output.heatmaps[-1], heatmaps).mean,
        }
        occlusion = occlusion_loss(output, target, weights["reduction"])
        if occlusion is not None:
            parts["occlusion"] = weights["factor"] * occlusion
        return parts

    def predict(
        self, variables: dict[str, Any], images: UInt8[Array, "b y x 3"] | UInt8[Array, "b s y x 3"]
    ) -> dict[str, Array]:
        """Keypoints (b, k, 2) in crop pixels, scores (b, k), and what the occlusion head says.

        A score is the peak of the joint's heatmap as it is: not confined to [0, 1], since a ranking of all
        people by keypoint AP takes it as it is.

        A head 'heatmap' adds `occlusion_map` (b, h, w) and `occlusion` (b, k), which is the map at the
        predicted joint, both clipped to [0, 1]; 'classification' adds `occlusion` alone, the probability that
        the joint is occluded if it is labelled at all. With `config.eval.flip_test` everything is averaged
        over the picture and its mirror image.

        Args:
            images: a crop a person, or one for each of `config.eval.scales`, whose maps are put together.
        """
        normalized = colour.normalize(colour.to_float(images), self.normalization)

        def maps_of(images: Float[Array, "b y x 3"]) -> prediction.Maps:
            output = self.net.apply(
                {"params": variables["params"]["net"], "batch_stats": variables["model_state"]["net"]},
                images,
                train=False,
            )
            return prediction.last_maps(output)

        flat = normalized.reshape(-1, *normalized.shape[-3:])
        if self.config["eval"]["flip_test"]:
            maps = prediction.with_mirror_image(maps_of, flat, self.codec, self.permutation)
        else:
            maps = maps_of(flat)
        if images.ndim == 4:
            return prediction.predictions_of(maps, self.codec)
        maps = {name: value.reshape(*images.shape[:2], *value.shape[1:]) for name, value in maps.items()}
        size_wh = tuple(self.config["data"]["input_size_wh"])
        return prediction.predictions_over_scales(
            maps,
            self.codec,
            size_wh,
            crop_center(size_wh, self.config["data"]["geometry"]),
            tuple(self.config["eval"]["scales"]),
        )

    def paste_test_occluders(
        self, images: UInt8[Array, "b y x 3"], batch: dict[str, Array]
    ) -> tuple[UInt8[Array, "b y x 3"], Array]:
        """The fixed occluders of the test set: a function of (config.eval.seed, example id) alone.

        They are those of `config.eval.patches`, with pieces of the same image in place of other ones, so that
        the result does not depend on the company in the batch.

        Returns:
            The images, and which joints (b, k) a patch hides.
        """
        _, height, width, _ = images.shape
        labelled = (batch["visibility"] > 0) & heatmap.inside(batch["keypoints"], height, width)
        seed = jax.random.key(self.config["eval"]["seed"])

        def one(image: Array, points: Array, labels: Array, example_id: Array):
            drawn = occluders.sample_patches(
                jax.random.fold_in(seed, example_id),
                points[None],
                labels[None],
                height=height,
                width=width,
                **self.config["eval"]["patches"],
            )
            hidden = occluders.hidden_joints(drawn, points[None]).any(axis=1) & labels
            return occluders.paste(colour.to_float(image)[None], drawn)[0], hidden[0]

        pasted, hidden = jax.vmap(one)(images, batch["keypoints"], labelled, batch["example_id"])
        return jnp.round(pasted * 255).astype(jnp.uint8), hidden
