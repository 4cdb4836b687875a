"""State dicts are found, freed of wrappers, and laid out as our variables."""

import re

import jax
import numpy as np
import pytest

from oasjax.weights.state_dict import Report, assign, num_children, out_features, state_dict_of, torch_name

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3, 1, 1)
BIAS = np.ones(2, np.float32)
STATE = {"conv.weight": WEIGHT, "conv.bias": BIAS}


def same(state, expected) -> bool:
    return list(state) == list(expected) and all(state[name] is expected[name] for name in expected)


@pytest.mark.parametrize("place", [None, "state_dict", "model", "best_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "model.module.", "module.module."])
def test_a_state_dict_is_found_where_training_scripts_put_it_whatever_wraps_the_model(place, prefix):
    wrapped = {prefix + name: array for name, array in STATE.items()}
    others = {
        "epoch": 3,
        "arch": "hg",
        "best_acc": np.float64(0.9),
        "optimizer": {"state": {0: {"exp": BIAS}}},
    }
    contents = {**others, place: wrapped} if place else wrapped
    assert same(state_dict_of(contents), STATE)


def test_counters_of_batch_norms_and_what_is_no_array_are_left_out():
    extra = {"bn.num_batches_tracked": np.array(7), "lr": 0.1, 5: BIAS}
    assert same(state_dict_of(STATE | extra), STATE)


def test_a_name_that_only_begins_like_a_wrapper_is_kept():
    assert list(state_dict_of({"modules.weight": WEIGHT})) == ["modules.weight"]


def test_the_same_weights_in_two_places_are_one_state_dict():
    wrapped = {f"module.{name}": array.copy() for name, array in STATE.items()}
    contents = {"model": "pose_hrnet", "state_dict": wrapped, "best_state_dict": dict(STATE)}
    np.testing.assert_array_equal(state_dict_of(contents)["conv.weight"], WEIGHT)


def test_two_state_dicts_that_differ_are_both_named():
    contents = {"state_dict": STATE, "best_state_dict": STATE | {"conv.bias": 2 * BIAS}}
    with pytest.raises(ValueError, match="under 'state_dict' and under 'best_state_dict'"):
        state_dict_of(contents)
    with pytest.raises(ValueError, match="at the top level and under 'model'"):
        state_dict_of(STATE | {"model": {"fc.weight": BIAS}})


def test_two_names_that_differ_by_their_wrappers_are_both_named():
    with pytest.raises(ValueError, match=r"conv\.weight and module\.conv\.weight"):
        state_dict_of(STATE | {"module.conv.weight": WEIGHT})


@pytest.mark.parametrize(
    "contents, seen",
    [
        ({}, "nothing"),
        ([WEIGHT], "a list"),
        (WEIGHT, "a ndarray"),
        ({"epoch": 3, "a": {"b.weight": WEIGHT}}, "epoch, a"),
        ({f"x{n}": WEIGHT for n in range(7)}, "x0, x1, x2, x3, x4 and 2 more"),
    ],
)
def test_where_there_is_none_it_is_said_what_there_is(contents, seen):
    with pytest.raises(ValueError, match=f"no state dict: .* found is {re.escape(seen)}$"):
        state_dict_of(contents)


def test_numbered_layers_are_counted_and_a_gap_is_named():
    state = dict.fromkeys(["hg.0.a.weight", "hg.1.a.weight", "hg.10.b.weight", "hgs.2.a.weight"], WEIGHT)
    assert num_children({name: a for name, a in state.items() if "10" not in name}, "hg.") == 2
    assert num_children(state, "hg.1.") == 0
    with pytest.raises(ValueError, match=r"hg\.10 is there, but hg\.2 is not"):
        num_children(state, "hg.")
    stages = dict.fromkeys(["stage2.0.weight", "stage3.0.weight"], WEIGHT)
    assert num_children(stages, "stage", first=2) == 2


def test_a_size_that_cannot_be_read_is_named():
    assert out_features(STATE, "conv") == 2
    with pytest.raises(ValueError, match=r"fc\.weight is missing"):
        out_features(STATE, "fc")
    with pytest.raises(ValueError, match=r"bn\.weight has shape \(2,\)"):
        out_features({"bn.weight": BIAS}, "bn")


RULES = ((r"^backbone/", ""), (r"/conv$", "/0"), (r"/bn$", "/1"))


def test_names_follow_the_rules_and_the_leaves_of_each_kind():
    path = "backbone/stem"
    names = [
        torch_name(f"{collection}/{path}/{layer}", RULES)
        for collection, layer in [
            ("params", "conv/kernel"),
            ("params", "conv/bias"),
            ("params", "bn/scale"),
            ("params", "bn/bias"),
            ("batch_stats", "bn/mean"),
            ("batch_stats", "bn/var"),
        ]
    ]
    assert names == [
        "stem.0.weight", "stem.0.bias", "stem.1.weight", "stem.1.bias", "stem.1.running_mean",
        "stem.1.running_var",
    ]  # fmt: skip


def expected_of(**shapes):
    leaves = {name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in shapes.items()}
    return {"params": {"stem": {"conv": leaves}}}


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.float32])
def test_convolutions_are_turned_from_oihw_to_hwio_and_made_float32(dtype):
    weight = np.arange(2 * 3 * 5 * 7).reshape(2, 3, 5, 7).astype(dtype)
    variables, report = assign(expected_of(kernel=(5, 7, 3, 2)), RULES, {"stem.0.weight": weight})
    kernel = variables["params"]["stem"]["conv"]["kernel"]
    assert kernel.dtype == np.float32 and kernel.flags.c_contiguous
    for o, i, y, x in [(0, 0, 0, 0), (1, 2, 3, 4), (1, 0, 4, 6)]:
        assert kernel[y, x, i, o] == weight[o, i, y, x]
    assert report == Report((), (), (), ())


def test_what_does_not_fit_is_reported_by_name_and_left_out():
    state = {
        "stem.0.weight": WEIGHT,
        "stem.0.bias": np.array([1, np.nan, 2], np.float32),
        "fc.weight": WEIGHT,
        "fc.bias": BIAS,
    }
    expected = expected_of(kernel=(3, 3, 3, 2), bias=(3,), scale=(4,))
    variables, report = assign(expected, RULES, state)
    assert list(variables["params"]["stem"]["conv"]) == ["bias"]
    assert report.missing == ()
    assert report.misshapen == (
        "stem.0.weight is (2, 3, 1, 1), not (2, 3, 3, 3)",
        "stem.0.weight is (2, 3, 1, 1), not (4,)",
    )
    assert report.not_finite == ("stem.0.bias",)
    assert report.unused == ("fc.weight", "fc.bias")
    _, report = assign(expected, RULES, {"fc.bias": BIAS})
    assert report.missing == ("stem.0.weight", "stem.0.bias", "stem.0.weight")


def test_a_weight_of_too_few_axes_is_misshapen():
    _, report = assign(expected_of(kernel=(1, 1, 3, 2)), RULES, {"stem.0.weight": BIAS})
    assert report.misshapen == ("stem.0.weight is (2,), not (2, 3, 1, 1)",)
