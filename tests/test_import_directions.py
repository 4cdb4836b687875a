"""Who may import whom: ops know nothing of models, and nobody knows the command line.

Every `.py` file is parsed, not run, so that imports inside of functions count as well.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]

# package -> what of ours it may import besides itself. `datasets.skeletons` is that module alone.
ALLOWED = {
    "ops": set(),
    "codecs": {"ops"},
    "losses": {"ops"},
    "models": {"ops", "codecs"},
    "augmentation": {"ops", "codecs", "datasets.skeletons"},
    "evaluation": {"ops", "codecs", "datasets.skeletons", "datasets.mat_file", "text_table"},
    "datasets": {"ops", "input_pipeline", "text_table"},
    "input_pipeline": {"ops", "datasets"},
    "weights": {"ops", "models", "datasets.skeletons", "config_sections"},
}
LIBRARY = {"ops", "codecs", "losses", "models", "augmentation", "evaluation", "datasets"}
LIBRARY |= {"input_pipeline", "weights", "compilation_cache"}
ALLOWED["training"] = LIBRARY | {"inference.drawing"}
ALLOWED["inference"] = LIBRARY | {"training"}
ALLOWED["cli"] = LIBRARY | {"training", "inference", "model_catalog", "text_table"}
ALLOWED["cli"] |= {"config_sections", "config_docstrings", "training_cost"}

# Files beside the packages.
TOP_LEVEL = {"errors", "compilation_cache", "config_sections", "model_catalog", "text_table", "__main__"}
TOP_LEVEL |= {"published_rows", "config_docstrings", "training_cost"}
KNOW_NO_USER_ERRORS = {"ops", "codecs", "losses"}
# These three and flax's event writer bring TensorFlow along.
TENSORFLOW = ("tensorflow", "tensorflow_datasets", "tensorboard", "flax.metrics.tensorboard")
# Plain numpy when they are imported: worker processes load them, and should start at once.
WITHOUT_JAX = ("datasets", "evaluation", "input_pipeline.crop", "input_pipeline.order")


class Import(NamedTuple):
    target: str  # dotted, absolute; for `from a import b` it is `a.b`
    deferred: bool  # inside of a function, or for the type checker alone: costs nothing at first


def imports_of(source: str, module: str, is_package: bool) -> Iterator[Import]:
    """All imports in the text of `module`, relative ones resolved."""

    def visit(node: ast.AST, deferred: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, deferred) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = node.level - is_package
                parent = module.split(".")[: len(module.split(".")) - up]
                base = ".".join([*parent, *filter(None, [base])])
            yield from (Import(f"{base}.{alias.name}", deferred) for alias in node.names)
        defers = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (
            isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        )
        for child in ast.iter_child_nodes(node):
            yield from visit(child, deferred or defers)

    yield from visit(ast.parse(source), deferred=False)


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def is_any_of(name: str, packages) -> bool:
    return any(is_within(name, package) for package in packages)


def faults(source: str, module: str, is_package: bool = False) -> list[str]:
    """One sentence for each import in `source`, the text of `module`, that the rules forbid."""
    return [
        f"{module} imports {found.target}: {reason}"
        for found in imports_of(source, module, is_package)
        if (reason := fault(module, is_package, found)) is not None
    ]


def fault(module: str, is_package: bool, found: Import) -> str | None:
    """Why this import is forbidden, or None."""
    target = found.target
    ours = module.removeprefix("oasjax").removeprefix(".")
    if is_any_of(target, TENSORFLOW) and not may_import_tensorflow(module):
        return "TensorFlow belongs in *_dataset_builder.py and input_pipeline/tfds_source.py alone"
    if is_any_of(target, ("configs", "oasjax._configs")):
        return "configs are found by path, never imported"
    if is_any_of(target, ("jax", "jaxlib", "flax")) and is_any_of(ours, WITHOUT_JAX) and not found.deferred:
        return "this module is plain numpy when it is imported"
    if not is_within(target, "oasjax"):
        return None
    target = target.removeprefix("oasjax").removeprefix(".")
    if is_within(target, "cli"):
        allowed = is_within(ours, "cli") or module == "oasjax.__main__"
        return None if allowed else "nobody imports the command line"
    if not module.startswith("oasjax."):  # experiments, configs, and oasjax/__init__.py itself
        if module == "oasjax" and not found.deferred:
            return "`import oasjax` must cost nothing; import inside of a function"
        return None
    package = ours.partition(".")[0]
    if is_within(target, "errors"):
        return "pure functions raise ValueError" if package in KNOW_NO_USER_ERRORS else None
    if package not in ALLOWED:
        return None if package in TOP_LEVEL else "this package has no rule"
    if is_within(target, package) or is_any_of(target, ALLOWED[package]):
        return None
    return f"{package} may import {sorted(ALLOWED[package]) or 'nothing of ours'}"


def may_import_tensorflow(module: str) -> bool:
    return module.endswith("_dataset_builder") or module == "oasjax.input_pipeline.tfds_source"


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = sorted(
    path for folder in ("oasjax", "experiments", "configs") for path in (ROOT / folder).rglob("*.py")
)


def test_every_import_goes_in_an_allowed_direction():
    found = [
        sentence
        for path in SOURCES
        for sentence in faults(path.read_text(), module_name(path), path.stem == "__init__")
    ]
    assert not found, "\n".join(found)


def test_every_package_has_a_rule():
    packages = {path.parent.name for path in (ROOT / "oasjax").glob("*/__init__.py")}
    assert packages <= set(ALLOWED), packages - set(ALLOWED)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("oasjax.ops.boxes", "from oasjax.codecs import heatmap"),
        ("oasjax.ops.boxes", "from oasjax.errors import UserError"),
        ("oasjax.ops.boxes", "from ..models import hourglass"),
        ("oasjax.ops.boxes", "from .. import models"),
        ("oasjax.losses.mimic", "def f():\n    import oasjax.models.critic"),
        ("oasjax.models.oasnet", "from oasjax.datasets.skeletons import MPII"),
        ("oasjax.evaluation.pck", "from oasjax.datasets import synthetic_people"),
        ("oasjax.evaluation.pck", "import jax.numpy as jnp"),
        ("oasjax.datasets.mpii.reader", "from oasjax.models.oasnet import OASNet"),
        ("oasjax.datasets.mpii.reader", "def f():\n    import tensorflow_datasets as tfds"),
        ("oasjax.input_pipeline.order", "class A:\n    from jax import random"),
        ("oasjax.input_pipeline.batching", "import oasjax.models"),
        ("oasjax.training.loop", "from oasjax.cli.config_files import load_config"),
        ("oasjax.training.loop", "if True:\n    import tensorflow as tf"),
        ("oasjax.training.loop", "from flax.metrics import tensorboard"),
        ("oasjax.training.loop", "from configs import quickstart"),
        ("oasjax.novelty.thing", "from oasjax.ops import affine"),
        ("oasjax", "from oasjax.inference import load"),
        ("experiments.scaling", "from oasjax.cli import main"),
    ],
)
def test_a_forbidden_import_is_found(module, line):
    assert len(faults(line, module)) == 1


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("oasjax.ops.boxes", "from . import affine\nimport jax\nfrom .affine import invert"),
        ("oasjax.evaluation.pck", "from oasjax.datasets.skeletons import MPII"),
        ("oasjax.evaluation.pck", "from oasjax.errors import UserError\nimport jaxtyping"),
        ("oasjax.datasets.mpii.mpii_dataset_builder", "import tensorflow_datasets as tfds"),
        ("oasjax.input_pipeline.tfds_source", "import tensorflow as tf"),
        ("oasjax.training.loop", "from tensorboardX import SummaryWriter\nimport oasjax.models"),
        ("oasjax.cli.train", "from oasjax.cli.config_files import load_config"),
        ("oasjax", "def load(path):\n    from oasjax.inference import load_model"),
        ("oasjax", "if TYPE_CHECKING:\n    from oasjax.inference import load_model"),
        ("experiments.scaling", "from oasjax.training import loop"),
    ],
)
def test_an_allowed_import_is_let_through(module, line):
    assert faults(line, module) == []


@pytest.mark.parametrize("module", ["oasjax", "oasjax.cli.main", "oasjax.errors"])
def test_the_front_door_loads_nothing_heavy(module):
    program = (
        f"import sys, {module}\n"
        "heavy = {'jax', 'tensorflow', 'cv2', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {sorted(heavy)}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
