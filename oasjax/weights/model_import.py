"""A file of published PyTorch weights becomes a model folder (`oasjax import-weights`)."""

import hashlib
import sys
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict
from safetensors import SafetensorError
from safetensors.numpy import load_file

from oasjax import config_sections
from oasjax.datasets.skeletons import SKELETONS, Skeleton
from oasjax.errors import UserError
from oasjax.models import build_oasnet
from oasjax.ops.choices import check_choice
from oasjax.weights.model_folder import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, save_model
from oasjax.weights.published import (
    LAYOUTS,
    MOST_NAMED,
    Network,
    convert,
    describe,
    refuse_misfits,
    sort_unused,
)
from oasjax.weights.state_dict import glimpse, state_dict_of
from oasjax.weights.torch_file import read_torch_file

TORCH_SUFFIXES = (".pth", ".pt", ".tar")
# Of the crops that most published weights were trained on.
INPUT_SIZES_WH = {
    "mpii": (256, 256), "lsp": (256, 256),
    "coco": (192, 256), "crowdpose": (192, 256), "pedestrian": (192, 256),
}  # fmt: skip
PADDING = 1.25
MODEL_FILES = {CARD_FILE, CONFIG_FILE, WEIGHTS_FILE}


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
            that cannot be written or has other things in it.
    """
    file = Path(file)
    _require_free(Path(folder))
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
        net = build_oasnet(config.model, chosen.num_joints)
        variables, report = convert(network, state, net, config.data.input_size_wh)
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
        save_model(folder, _of_task(variables), imported.config, card(imported))
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
        raise ValueError(
            f"the weights have no joint head; name the skeleton of a new one (--skeleton): {known}"
        )
    if wanted is None:
        raise ValueError(f"the weights predict {network.num_joints} joints; the skeletons have: {known}")
    raise ValueError(f"the weights predict {network.num_joints} joints, not those of '{wanted}' ({known})")


def network_config(network: Network, skeleton: Skeleton, input_size_wh: tuple[int, int]) -> ConfigDict:
    """Config of the published network alone: no occlusion head, no erasing, no reconstruction.

    Crops and heatmaps are those that it was trained on: `hrnet` or `hourglass`, as its backbone.
    """
    backbone = network.layout.backbone
    config = config_sections.pose()
    config.skeleton = skeleton.name
    config.data.input_size_wh = input_size_wh
    config.data.geometry = backbone
    config.data.padding = PADDING
    config.data.normalization = network.layout.normalization
    config.model = config_sections.model(backbone)
    config.model.occlusion_head = "none"
    config.model.erase_reconstruct.erase = False
    config.model.erase_reconstruct.reconstruct = False
    config.model[backbone].update(network.fields)
    config.target.codec = backbone
    config.train.branches = "single"
    config.loss.mimic.kind = "none"
    return config


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


def _of_task(variables: dict[str, Any]) -> dict[str, Any]:
    """Variables of a network as those of the task `oasnet`."""
    return {"params": {"net": variables["params"]}, "model_state": {"net": variables["batch_stats"]}}


def _require_free(folder: Path) -> None:
    """Raise UserError for a folder that has more in it than an older model, as a workdir has."""
    others = {path.name for path in folder.iterdir()} - MODEL_FILES if folder.is_dir() else set()
    if others:
        raise UserError(
            f"{folder} has other things in it ({glimpse(sorted(others))}); choose a folder of its own"
        )


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
