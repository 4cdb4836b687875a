"""The suite `pose_step`, on networks that are small enough for a test."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import building, pose_step
from experiments.benchmarks.harness import OK, Effort, run
from oasjax.models import layers

TINY = {
    "hourglass-2": pose_step.NETWORKS["hourglass-2"]._replace(
        fields=pose_step.NETWORKS["hourglass-2"].fields | {"depth": 1, "features": 8, "stem_features": 4},
        input_size=(32, 32),
        num_joints=3,
    ),
    "hrnet-w32": pose_step.NETWORKS["hrnet-w32"]._replace(
        fields={"channels": ((4, 8),), "modules": (1,), "blocks": (1,)}, input_size=(32, 24), num_joints=3
    ),
}
CONTENDERS = pose_step.contenders(TINY)
ONE_ROUND = Effort(fewest=1, most=1)


def test_the_suite_is_declared_for_the_published_sizes():
    suite = pose_step.SUITE
    cases = suite.cases({name: axis.values for name, axis in suite.axes.items()})
    assert [suite.label(case) for case in cases] == [
        f"{network} {mode} B{batch}"
        for network in ("hourglass-2", "hrnet-w32")
        for mode in ("forward", "train")
        for batch in (1, 4)
    ]
    assert {target.contender for target in suite.targets} <= {each.name for each in suite.contenders}
    assert suite.reference in {each.name for each in suite.contenders}


def test_without_pytorch_ours_are_timed_and_the_peers_say_why_they_are_not(monkeypatch):
    real = importlib.import_module

    def missing(module):
        if module == "torch":
            raise ModuleNotFoundError(name="torch")
        return real(module)

    monkeypatch.setattr(building.importlib, "import_module", missing)
    case = {"network": "hrnet-w32", "mode": "forward", "batch": 1}
    rows = run(CONTENDERS, case, reference=pose_step.REFERENCE, effort=ONE_ROUND)
    status = {row.contender: row.status for row in rows}
    assert status.pop("ours") == OK
    assert status.pop("ours, written plainly") == "left out: only at mode train"
    assert set(status.values()) == {"torch is not installed"}
    assert rows[0].sizes["heatmaps"] > 0
    assert rows[0].temp_bytes > 0


def test_plainly_written_is_without_our_gradients_and_selects_and_for_a_while_only():
    def primitives():
        x = jnp.ones((1, 4, 4, 2))
        block = layers.ConvBlock(2)
        variables = jax.eval_shape(lambda x: block.init(jax.random.key(0), x, False), x)
        text = str(jax.make_jaxpr(lambda v, x: block.apply(v, x, False))(variables, x))
        return "name=convolution" in text or "custom_vjp_call" in text, "max" in text

    assert primitives() == (True, False)
    with pose_step.nothing_for_the_cpu():
        assert primitives() == (False, True)
    assert primitives() == (True, False)


@pytest.mark.peers
@pytest.mark.parametrize("network", TINY)
def test_all_contenders_give_the_same_heatmaps(network):
    pytest.importorskip("torch")
    case = {"network": network, "mode": "forward", "batch": 2}
    rows = run(CONTENDERS, case, reference=pose_step.REFERENCE, effort=ONE_ROUND)
    timed = [row for row in rows if row.status == OK]
    assert [row.contender for row in timed] == ["ours", "torch contiguous", "torch channels_last"]
    assert all(row.differences["heatmaps"] < 1e-5 for row in timed)
    assert all(row.sizes["heatmaps"] > 1 for row in timed)


@pytest.mark.peers
@pytest.mark.parametrize("network", TINY)
def test_all_contenders_take_the_same_steps(network):
    pytest.importorskip("torch")
    case = {"network": network, "mode": "train", "batch": 2}
    found = {}
    for contender in CONTENDERS:
        built = contender.build(case)
        # Adam's first step is the same whatever its rates of decay: they show in the third loss first.
        results = [built.run(), built.run()]
        later = [float(each["loss"] if contender.name.startswith("ours") else each) for each in results]
        found[contender.name] = built.outputs(results[-1]) | {"later losses": np.array(later)}
    reference = found[pose_step.REFERENCE]
    assert np.all(np.abs(np.diff([reference["loss"], *reference["later losses"]])) > 1e-3 * reference["loss"])
    for name, values in found.items():
        assert values.keys() == reference.keys(), name
        for output, value in values.items():
            np.testing.assert_allclose(value, reference[output], rtol=1e-4, err_msg=f"{name}: {output}")
