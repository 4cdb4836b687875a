"""Weights that others published for PyTorch become model folders (`oasjax import-weights`)."""

import hashlib
import re
import sys
import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from safetensors import SafetensorError
from safetensors.numpy import load_file

from oasjax import config_sections
from oasjax.datasets.skeletons import SKELETONS, Skeleton
from oasjax.errors import UserError
from oasjax.models import build_oasnet
from oasjax.models.layers import Conv
from oasjax.ops.choices import check_choice
from oasjax.weights.hourglass_layout import BEARPAW, PRINCETON
from oasjax.weights.hrnet_layout import HRNET
from oasjax.weights.model_folder import save_model
from oasjax.weights.state_dict import (
    Layout,
    Report,
    Rule,
    assign,
    glimpse,
    out_features,
    state_dict_of,
    torch_name,
)
from oasjax.weights.torch_file import read_torch_file

LAYOUTS = (HRNET, BEARPAW, PRINCETON)
TORCH_SUFFIXES = (".pth", ".pt", ".tar")
# Of the crops that most published weights were trained on.
INPUT_SIZES_WH = {"mpii": (256, 256), "coco": (192, 256), "lsp": (256, 256)}
PADDING = 1.25
MOST_NAMED = 8


class Network(NamedTuple):
    """The network that a state dict is of, as far as its names and shapes tell.

    Attributes:
        layout: whose names they are.
        fields: of the backbone.
        rules: the layout's, for these fields.
        num_joints: None where there is no joint head.
    """

    layout: Layout
    fields: dict[str, Any]
    rules: Sequence[Rule]
    num_joints: int | None

    @property
    def last_head(self) -> str:
        return f"head{self.fields.get('num_stacks', 1) - 1}"


class Imported(NamedTuple):
    """What was made of a file of weights.

    Attributes:
        file, sha256: the file.
        network: what it holds.
        config: of the model folder.
        num_parameters: of the model.
        never_used: names that the published pose network does not touch either, by what they are.
        strange: other names that this network has no place for.
    """

    file: str
    sha256: str
    network: Network
    config: dict[str, Any]
    num_parameters: int
    never_used: dict[str, tuple[str, ...]]
    strange: tuple[str, ...]


def import_weights(
    backbone: str,
    file: str | Path,
    folder: str | Path,
    skeleton: str | None = None,
    input_size_wh: tuple[int, int] | None = None,
) -> Imported:
    """Turn a file of published weights into a model folder, of which `oasjax.load` makes a predictor.

    Args:
        backbone: 'hrnet' or 'hourglass'; which code the weights are of is seen from their names.
        file: a PyTorch checkpoint, or a state dict as .npz or .safetensors.
        folder: the model folder, written last of all.
        skeleton: the joints it predicts; None: the skeleton that has as many.
        input_size_wh: width and height of the crop in pixels; None: that of `INPUT_SIZES_WH`.

    Raises:
        UserError: an unreadable file, weights of another network, weights that are missing, misshapen or not
            finite, a skeleton with another number of joints, a crop that does not suit the network, a folder
            that cannot be written.
    """
    file = Path(file)
    contents = read_weights(file)
    try:
        check_choice("backbone", backbone, {layout.backbone for layout in LAYOUTS})
        state = state_dict_of(contents)
        network = describe(state)
        if network.layout.backbone != backbone:
            raise ValueError(
                f"the weights are of the {network.layout.name}, so import them as {network.layout.backbone}"
            )
        chosen = choose_skeleton(network, skeleton)
        config = network_config(network, chosen, input_size_wh or INPUT_SIZES_WH[chosen.name])
        variables, report = convert(network, state, config, chosen.num_joints)
        never_used, strange = sort_unused(report.unused, network.layout.never_used(network.fields))
        refuse_misfits(report, strange, state.keys() - set(report.unused))
    except ValueError as error:
        raise UserError(f"{file}: {error}") from None
    imported = Imported(
        file=file.name,
        sha256=_sha256(file),
        network=network,
        config=config.to_dict(),
        num_parameters=sum(leaf.size for leaf in jax.tree.leaves(variables["params"])),
        never_used=never_used,
        strange=strange,
    )
    try:
        save_model(folder, variables, imported.config, card(imported))
    except OSError as error:
        raise UserError(f"cannot write the model folder {folder}: {error.strerror or error}") from None
    return imported


def read_weights(file: Path) -> Any:
    """What a file of weights holds; its suffix says of which kind it is.

    Raises UserError for another suffix, and for a file that is missing, broken or of another kind.
    """
    suffix = file.suffix.lower()
    if suffix in TORCH_SUFFIXES:
        return read_torch_file(file)
    if suffix not in (".npz", ".safetensors"):
        kinds = ", ".join((*TORCH_SUFFIXES, ".npz", ".safetensors"))
        raise UserError(f"{file} is no file of weights by its name; these are read: {kinds}")
    if not file.is_file():
        raise UserError(f"no such file of weights: {file}")
    try:
        if suffix == ".safetensors":
            return load_file(file)
        with open(file, "rb") as stream, np.lib.npyio.NpzFile(stream, allow_pickle=False) as arrays:
            return dict(arrays)
    except (SafetensorError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{file} is broken or no {suffix} file ({error})") from None


def describe(state: Mapping[str, np.ndarray]) -> Network:
    """The network that these weights are of.

    Raises ValueError where it is none of `LAYOUTS`, or several at once, or where a size cannot be read.
    """
    found = [layout for layout in LAYOUTS if any(name.startswith(layout.mark) for name in state)]
    if not found:
        known = ", ".join(layout.name for layout in LAYOUTS)
        raise ValueError(f"the weights are of no network known here ({known}); found {glimpse(list(state))}")
    if len(found) > 1:
        raise ValueError(
            f"the weights are of the {' and of the '.join(layout.name for layout in found)} at once"
        )
    (layout,) = found
    fields = layout.fields(state)
    network = Network(layout, fields, layout.rules(fields), None)
    if layout.may_lack_head and not head_names(network) & state.keys():
        return network
    weight = torch_name(f"params/{network.last_head}/joints/kernel", network.rules)
    return network._replace(num_joints=out_features(state, weight.removesuffix(".weight")))


def head_names(network: Network) -> set[str]:
    """Names of the last joint head in the state dict."""
    paths = (f"params/{network.last_head}/joints/{leaf}" for leaf in ("kernel", "bias"))
    return {torch_name(path, network.rules) for path in paths}


def choose_skeleton(network: Network, wanted: str | None) -> Skeleton:
    """The wanted skeleton, or the one with as many joints as the weights.

    Raises ValueError where it has another number, or where only the user can tell.
    """
    if wanted is not None:
        check_choice("skeleton", wanted, SKELETONS)
    fitting = [
        skeleton
        for skeleton in SKELETONS.values()
        if wanted in (None, skeleton.name) and network.num_joints in (None, skeleton.num_joints)
    ]
    if len(fitting) == 1:
        return fitting[0]
    known = ", ".join(f"{skeleton.name} {skeleton.num_joints}" for skeleton in SKELETONS.values())
    if network.num_joints is None:
        raise ValueError(f"the weights have no joint head; choose the skeleton of a new one: {known}")
    if wanted is None:
        raise ValueError(f"the weights predict {network.num_joints} joints; the skeletons have: {known}")
    raise ValueError(f"the weights predict {network.num_joints} joints, not those of '{wanted}' ({known})")


def network_config(network: Network, skeleton: Skeleton, input_size_wh: tuple[int, int]) -> ConfigDict:
    """Config of the published network alone: no occlusion head, no erasing, no reconstruction.

    It has what prediction needs. Cells of the published heatmaps sit at their first pixel.
    """
    backbone = network.layout.backbone
    config = ConfigDict({"task": "oasnet", "skeleton": skeleton.name})
    config.data = ConfigDict()
    config.data.input_size_wh = input_size_wh
    config.data.padding = PADDING
    config.data.normalization = network.layout.normalization
    config.model = config_sections.model(backbone)
    config.model.occlusion_head = "none"
    config.model.erase_reconstruct.erase = False
    config.model.erase_reconstruct.reconstruct = False
    config.model[backbone].update(network.fields)
    config.target = ConfigDict({"frame": "corner"})
    config.loss = ConfigDict({"mimic": config_sections.mimic()})
    config.loss.mimic.kind = "none"
    config.train = ConfigDict({"num_steps": 0})
    config.eval = ConfigDict({"flip_test": True})
    return config


def convert(
    network: Network, state: Mapping[str, np.ndarray], config: ConfigDict, num_joints: int
) -> tuple[dict[str, Any], Report]:
    """The variables of `config`'s task, and what of the state dict does not fit.

    A joint head that the state dict does not have gets random weights and is not called missing.
    Raises ValueError where the crop does not suit the network.
    """
    net = build_oasnet(config.model, num_joints)
    width, height = config.data.input_size_wh
    images = jax.ShapeDtypeStruct((1, height, width, 3), jnp.float32)
    expected = jax.eval_shape(lambda x: net.init(jax.random.key(0), x, False), images)
    variables, report = assign(expected, network.rules, state)
    if network.num_joints is None:
        channels = expected["params"][network.last_head]["joints"]["kernel"].shape[2]
        head = Conv(num_joints, 1).init(jax.random.key(0), jnp.zeros((1, 1, 1, channels)))["params"]
        variables["params"][network.last_head] = {"joints": jax.tree.map(np.asarray, head)}
        missing = tuple(name for name in report.missing if name not in head_names(network))
        report = report._replace(missing=missing)
    return {
        "params": {"net": variables["params"]},
        "model_state": {"net": variables["batch_stats"]},
    }, report


def sort_unused(
    names: Collection[str], never_used: Mapping[str, str]
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Unused names that match one of the patterns, by what they are, and the others."""
    sorted_names = {
        what: tuple(name for name in names if re.search(pattern, name))
        for what, pattern in never_used.items()
    }
    known = {name for group in sorted_names.values() for name in group}
    return (
        {what: group for what, group in sorted_names.items() if group},
        tuple(name for name in names if name not in known),
    )


def refuse_misfits(report: Report, strange: Collection[str], used: Collection[str]) -> None:
    """Raise ValueError that names what does not fit.

    A strange name is a misfit inside of a module that the network has, where it would change what the
    network computes; it is none beside them.
    """
    modules = {name.partition(".")[0] for name in used}
    misfits = {
        "missing": report.missing,
        "of another shape": report.misshapen,
        "not finite": report.not_finite,
        "not a part of it": [name for name in strange if name.partition(".")[0] in modules],
    }
    found = [f"{what}: {glimpse(list(names), MOST_NAMED)}" for what, names in misfits.items() if names]
    if found:
        raise ValueError(f"the weights do not fit the network that they describe; {'; '.join(found)}")


def summary(imported: Imported, most: int = MOST_NAMED) -> list[str]:
    """What was imported, one line for each fact; of arrays without a use at most so many are named."""
    network, config = imported.network, imported.config
    sizes = ", ".join(f"{name} {value}" for name, value in network.fields.items())
    width, height = config["data"]["input_size_wh"]
    lines = [
        network.layout.name,
        f"sizes: {sizes}",
        f"joints: {SKELETONS[config['skeleton']].num_joints} ({config['skeleton']})",
        f"crops: {width}x{height} pixels, colours normalised as '{network.layout.normalization}'",
        f"parameters: {imported.num_parameters:,}",
    ]
    if network.num_joints is None:
        lines.append("joint head: none in the file; a random one, to be trained")
    unused = {**imported.never_used, "no place for them in this network": imported.strange}
    lines += [f"not used: {glimpse(list(names), most)} ({what})" for what, names in unused.items() if names]
    return lines


def card(imported: Imported) -> str:
    """Markdown for the model folder: where the weights come from, and what they are."""
    facts = "\n".join(f"- {line}" for line in summary(imported, most=sys.maxsize))
    return (
        f"# {imported.network.layout.name}\n\n"
        f"Published weights, converted by `oasjax import-weights` from the file `{imported.file}`\n"
        f"(sha256 {imported.sha256}).\n"
        "Their licence is their authors'. No score was measured here.\n\n"
        f"{facts}\n"
    )


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
