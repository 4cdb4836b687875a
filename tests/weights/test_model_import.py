"""Published weights become model folders that predict what the original networks predict."""

import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import oasjax
from oasjax.augmentation.colour import NORMALIZATIONS
from oasjax.codecs import hourglass, hrnet
from oasjax.datasets.skeletons import SKELETONS, flip_permutation
from oasjax.errors import UserError
from oasjax.models import build_oasnet
from oasjax.weights.model_folder import flatten_variables, load_model
from oasjax.weights.model_import import import_weights, summary
from oasjax.weights.published import describe
from oasjax.weights.state_dict import state_dict_of

FAMILY = {"hrnet": "hrnet", "bearpaw": "hourglass", "princeton": "hourglass"}
NORMALIZATION = {"hrnet": "imagenet", "bearpaw": "hourglass", "princeton": "none"}


def write_npz(path, state):
    np.savez(path, **state)
    return path


def checkpoint_of(state):
    """As the training scripts save it."""
    wrapped = {f"module.{name}": array for name, array in state.items()}
    counter = {"module.bn1.num_batches_tracked": np.zeros((), np.float32)}
    return {"epoch": 3, "arch": "net", "state_dict": wrapped | counter, "optimizer": {"state": {}}}


def assert_equal_folders(first, second):
    (variables, config), (others, other_config) = load_model(first), load_model(second)
    assert config == other_config
    flat, other = flatten_variables(variables), flatten_variables(others)
    assert flat.keys() == other.keys()
    for path, array in flat.items():
        np.testing.assert_array_equal(array, other[path], err_msg=path)


@pytest.mark.parametrize("name", FAMILY)
def test_every_kind_of_file_gives_the_same_model_folder(name, small_network, write_torch_file, tmp_path):
    network, state = small_network(name)
    contents = checkpoint_of(state)
    save_file(state, tmp_path / "s.safetensors")
    files = [
        write_npz(tmp_path / "n.npz", state),
        tmp_path / "s.safetensors",
        write_torch_file(tmp_path / "zip.pth", contents, False),
        write_torch_file(tmp_path / "model_best.pth.tar", contents, True),
    ]
    for number, file in enumerate(files):
        imported = import_weights(FAMILY[name], file, tmp_path / str(number), input_size_wh=(64, 64))
        assert (imported.never_used, imported.strange) == ({}, ())
        assert imported.network.fields == network.fields
        assert_equal_folders(tmp_path / "0", tmp_path / str(number))
    variables, config = load_model(tmp_path / "0")
    kernel = variables["params"]["net"]["backbone"]["layer1"]["block0"]["conv1"]
    kernel = kernel["conv"]["kernel"] if name == "hrnet" else kernel["kernel"]
    weight = state["pre.1.conv1.conv.weight" if name == "princeton" else "layer1.0.conv1.weight"]
    np.testing.assert_array_equal(kernel, weight.transpose(2, 3, 1, 0))
    assert config["skeleton"] == "coco" and config["data"]["normalization"] == NORMALIZATION[name]
    protocol = "hrnet" if name == "hrnet" else "hourglass"
    assert config["target"]["codec"] == config["data"]["geometry"] == protocol
    assert sum(a.size for a in flatten_variables(variables["params"]).values()) == imported.num_parameters


@pytest.mark.golden
@pytest.mark.parametrize("folder", ["hrnet", "hourglass_bearpaw", "hourglass_princeton"])
def test_an_imported_model_predicts_what_the_original_network_gives(folder, golden_dir, tmp_path):
    """First the heatmaps of the reference input, then `predict` on pictures against those same heatmaps'
    recipe: published normalisation, mirrored pass (HRNet's shifted by a cell), published decoding."""
    evaluation = dict(np.load(golden_dir / folder / "eval_forward.npz"))
    state = state_dict_of(dict(np.load(golden_dir / folder / "state_dict.npz")))
    if describe(state).num_joints not in {skeleton.num_joints for skeleton in SKELETONS.values()}:
        pytest.skip("this reference set has the joints of no skeleton")
    images = evaluation["input"]
    images = images if images.shape[-1] == 3 else images.transpose(0, 2, 3, 1)
    _, height, width, _ = images.shape
    file = golden_dir / folder / "state_dict.npz"
    imported = import_weights(folder.split("_")[0], file, tmp_path / "m", input_size_wh=(width, height))

    variables, config = load_model(tmp_path / "m")
    skeleton = SKELETONS[config["skeleton"]]
    net = build_oasnet(config["model"], skeleton.num_joints)
    variables = {
        "params": variables["params"]["net"],
        "batch_stats": variables["model_state"]["net"],
    }
    forward = jax.jit(lambda v, x: net.apply(v, x, False).heatmaps)
    heatmaps = np.asarray(forward(variables, images)).transpose(0, 1, 4, 2, 3)
    for stack, maps in enumerate(heatmaps):
        np.testing.assert_allclose(maps, evaluation[f"output.{stack}"], rtol=1e-3, atol=2e-3)

    pictures = np.random.default_rng(0).integers(0, 256, images.shape, np.uint8)
    mean, std = NORMALIZATIONS[imported.network.layout.normalization]
    normalized = ((pictures / 255 - mean) / std).astype(np.float32)
    straight = np.asarray(forward(variables, normalized))[-1]
    mirrored = np.asarray(forward(variables, normalized[:, :, ::-1]))[-1]
    back = mirrored[:, :, ::-1][..., flip_permutation(skeleton)]
    if folder == "hrnet":
        back[:, :, 1:] = back[:, :, :-1].copy()
    cells, scores = {"hrnet": hrnet, "hourglass": hourglass}[config["target"]["codec"]].decode(
        jnp.asarray((straight + back) / 2)
    )
    # The middle of a cell of the hourglass, less the pixel by which its crops are off.
    pixels = 4 * np.asarray(cells) + {"hrnet": 0, "hourglass": 2 - 1}[config["target"]["codec"]]

    people = [result.people[0] for result in oasjax.load(tmp_path / "m", len(images)).predict(list(pictures))]
    for person, expected, score in zip(people, pixels, np.asarray(scores), strict=True):
        np.testing.assert_allclose(person.keypoints, expected, atol=0.02)
        np.testing.assert_allclose(person.scores, np.clip(score, 0, 1), atol=1e-3)
        assert person.occlusion is None


def imagenet_state(small_network):
    """What HRNets for classification have: no joint head, full fusion at the end, and more."""
    _, state = small_network("hrnet")
    del state["final_layer.weight"], state["final_layer.bias"]
    extra = {
        "stage3.1.fuse_layers.1.0.0.0.weight": np.ones((8, 6, 3, 3), np.float32),
        "incre_modules.0.0.conv1.weight": np.ones((4, 6, 1, 1), np.float32),
        "downsamp_modules.0.0.weight": np.ones((4, 4, 3, 3), np.float32),
        "final_layer.0.weight": np.ones((9, 4, 1, 1), np.float32),
        "classifier.bias": np.ones(1000, np.float32),
        "aux_head.weight": np.ones(3, np.float32),
    }
    return state | extra


def test_weights_of_a_classification_get_a_new_joint_head_and_the_rest_is_told(small_network, tmp_path):
    file = write_npz(tmp_path / "hrnet_w4.npz", imagenet_state(small_network))
    with pytest.raises(UserError, match=r"no joint head; name the skeleton .*: mpii 16, lsp 14, coco 17"):
        import_weights("hrnet", file, tmp_path / "m")
    assert not (tmp_path / "m").exists()
    imported = import_weights("hrnet", file, tmp_path / "m", skeleton="lsp")
    assert imported.network.num_joints is None
    assert sorted(len(names) for names in imported.never_used.values()) == [1, 4]
    assert imported.strange == ("aux_head.weight",)
    text = "\n".join(summary(imported))
    assert "joint head: none in the file" in text and "joints: 14 (lsp)" in text and "256x256" in text
    assert "not used: aux_head.weight (no place for them in this network)" in text
    variables, _ = load_model(tmp_path / "m")
    head = variables["params"]["net"]["head0"]["joints"]
    assert head["kernel"].shape == (1, 1, 6, 14) and not head["bias"].any()
    assert 0.2 < head["kernel"].std() * np.sqrt(6) < 2


def test_nothing_but_the_joint_head_may_be_missing_from_weights_of_a_classification(small_network, tmp_path):
    state = imagenet_state(small_network)
    del state["conv2.weight"]
    file = write_npz(tmp_path / "hrnet_w4.npz", state)
    with pytest.raises(UserError, match=r"missing: conv2\.weight$"):
        import_weights("hrnet", file, tmp_path / "m", skeleton="lsp")


def test_the_skip_layers_that_princeton_never_uses_are_told(small_network, tmp_path):
    _, state = small_network("princeton")
    unused = {"hgs.0.0.up1.skip_layer.conv.weight": np.ones((6, 6, 1, 1), np.float32)}
    file = write_npz(tmp_path / "p.npz", state | unused)
    imported = import_weights("hourglass", file, tmp_path / "m", input_size_wh=(64, 64))
    assert imported.never_used == {"skip layers of residuals that keep their width": tuple(unused)}


def test_the_card_names_the_file_its_digest_and_every_unused_array(small_network, tmp_path):
    state = imagenet_state(small_network)
    state |= {f"incre_modules.1.{n}.weight": np.ones(1, np.float32) for n in range(50)}
    file = write_npz(tmp_path / "hrnet_w4.npz", state)
    imported = import_weights("hrnet", file, tmp_path / "m", skeleton="coco")
    card = (tmp_path / "m" / "card.md").read_text()
    assert hashlib.sha256(file.read_bytes()).hexdigest() in card and "`hrnet_w4.npz`" in card
    assert "leoxiaobin" in card and "incre_modules.1.49.weight" in card
    assert not any("incre_modules.1.49.weight" in line for line in summary(imported))
    assert json.loads((tmp_path / "m" / "config.json").read_text())["data"]["input_size_wh"] == [192, 256]


def without(name):
    def change(state):
        del state[name]

    return change


def with_array(name, array):
    def change(state):
        state[name] = array

    return change


ONES = np.ones((4, 4, 3, 3), np.float32)


@pytest.mark.parametrize(
    "change, says",
    [
        (without("stage3.1.branches.2.1.bn2.running_var"), "missing: stage3.1.branches.2.1.bn2.running_var$"),
        (without("final_layer.bias"), "missing: final_layer.bias$"),
        (without("final_layer.weight"), "final_layer.weight is missing"),
        (without("stage2.0.branches.1.0.conv1.weight"), "stage2.0.branches.1.0.conv1.weight is missing"),
        (
            with_array("conv1.weight", ONES),
            r"of another shape: conv1.weight is \(4, 4, 3, 3\), not \(64, 3, 3, 3\)$",
        ),
        (with_array("bn2.bias", np.full(64, np.inf, np.float32)), "not finite: bn2.bias$"),
        (
            with_array("stage2.0.branches.0.0.se.fc.weight", ONES),
            "not a part of it: stage2.0.branches.0.0.se.fc.weight$",
        ),
        (with_array("layer1.4.conv1.weight", ONES), "not a part of it: layer1.4.conv1.weight$"),
        (with_array("stage3.7.branches.0.0.conv1.weight", ONES), "stage3.7 is there, but stage3.2 is not"),
    ],
)
def test_weights_that_do_not_make_a_whole_network_are_refused(change, says, small_network, tmp_path):
    _, state = small_network("hrnet")
    change(state)
    file = write_npz(tmp_path / "w.npz", state)
    with pytest.raises(UserError, match=says) as error:
        import_weights("hrnet", file, tmp_path / "m", input_size_wh=(64, 64))
    assert str(file) in str(error.value)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    "options, says",
    [
        ({"backbone": "hourglass"}, "HRNet .* so import them as hrnet"),
        ({"backbone": "resnet"}, r"backbone is 'resnet'; choose one of hourglass, hrnet"),
        ({"skeleton": "mpii"}, "predict 17 joints, not those of 'mpii' .mpii 16, lsp 14, coco 17"),
        ({"skeleton": "hands"}, "skeleton is 'hands'; choose one of"),
        ({"input_size_wh": (100, 64)}, "multiples of 16, got 100x64"),
    ],
)
def test_options_that_do_not_suit_the_weights_are_refused(options, says, small_network, tmp_path):
    file = write_npz(tmp_path / "w.npz", small_network("hrnet")[1])
    arguments = {"backbone": "hrnet", "file": file, "folder": tmp_path / "m"} | options
    with pytest.raises(UserError, match=says):
        import_weights(**arguments)
    assert not (tmp_path / "m").exists()


def test_a_number_of_joints_that_no_skeleton_has_is_refused(small_network, tmp_path):
    file = write_npz(tmp_path / "w.npz", small_network("bearpaw", 5)[1])
    with pytest.raises(UserError, match="predict 5 joints; the skeletons have: mpii 16, lsp 14, coco 17"):
        import_weights("hourglass", file, tmp_path / "m")


@pytest.mark.parametrize(
    "name, contents, says",
    [
        ("w.onnx", b"x", r"no file of weights by its name; .* \.pth, \.pt, \.tar, \.npz, \.safetensors"),
        ("w.npz", b"not a zip", r"w\.npz is broken or no \.npz file"),
        ("w.safetensors", b"\x00" * 30, r"w\.safetensors is broken or no \.safetensors file"),
        ("w.pth", b"not a pickle", r"w\.pth"),
    ],
)
def test_a_file_of_another_kind_is_refused(name, contents, says, tmp_path):
    file = tmp_path / name
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        import_weights("hrnet", file, tmp_path / "m")
    file.write_bytes(contents)
    with pytest.raises(UserError, match=says):
        import_weights("hrnet", file, tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_an_npz_with_pickled_objects_is_refused_unread(tmp_path):
    np.savez(tmp_path / "w.npz", **{"conv1.weight": np.array([{}], object)})
    with pytest.raises(UserError, match=r"w\.npz is broken or no \.npz file"):
        import_weights("hrnet", tmp_path / "w.npz", tmp_path / "m")


def test_a_folder_that_cannot_be_made_is_named(small_network, tmp_path):
    file = write_npz(tmp_path / "w.npz", small_network("princeton")[1])
    with pytest.raises(UserError, match=r"cannot write the model folder .*w\.npz/m"):
        import_weights("hourglass", file, file / "m", input_size_wh=(64, 64))


def test_an_older_model_is_replaced_and_a_folder_of_other_things_is_left_alone(small_network, tmp_path):
    file = write_npz(tmp_path / "w.npz", small_network("princeton")[1])
    for size in ((64, 64), (128, 64)):
        import_weights("hourglass", file, tmp_path / "m", input_size_wh=size)
    assert load_model(tmp_path / "m")[1]["data"]["input_size_wh"] == [128, 64]
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"run has other things in it \(checkpoints\); choose a folder"):
        import_weights("hourglass", file, tmp_path / "run", input_size_wh=(64, 64))
    assert (tmp_path / "run" / "config.json").read_text() == "{}"


@pytest.mark.peers
@pytest.mark.golden
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("folder", ["hrnet", "hourglass_bearpaw", "hourglass_princeton"])
def test_files_written_by_pytorch_give_the_same_model_folder(folder, zipped, golden_dir, tmp_path):
    torch = pytest.importorskip("torch")
    file = golden_dir / folder / "state_dict.npz"
    state = {f"module.{name}": torch.tensor(array) for name, array in np.load(file).items()}
    network = {"epoch": 1, "arch": "net", "state_dict": state, "best_acc": torch.tensor(0.5)}
    torch.save(network, tmp_path / "c.pth", _use_new_zipfile_serialization=zipped)
    family = folder.split("_")[0]
    import_weights(family, file, tmp_path / "npz", input_size_wh=(128, 128))
    import_weights(family, tmp_path / "c.pth", tmp_path / "pth", input_size_wh=(128, 128))
    assert_equal_folders(tmp_path / "npz", tmp_path / "pth")
