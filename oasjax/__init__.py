"""oasjax: seeing people who are partly hidden (JAX, Flax).

predictor = oasjax.load("runs/quickstart")
people = predictor.predict(["photo.jpg"])[0].people
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oasjax.inference.predictor import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    # Lazy: `import oasjax` and `oasjax --help` must load neither JAX nor OpenCV.
    if name == "load":
        from oasjax.inference.predictor import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
