"""What a finished training run leaves for its user: overlays, a report, a model folder."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int8

from oasjax.codecs import occlusion_map
from oasjax.codecs.codec import make_codec
from oasjax.datasets.skeletons import Skeleton
from oasjax.evaluation.table import score_table
from oasjax.inference.drawing import enlarge_points, grid
from oasjax.inference.report import ExamplePerson, person_pictures, write_report
from oasjax.inference.writing import write_png
from oasjax.input_pipeline.batching import Source
from oasjax.input_pipeline.crop import crop_config, crop_example
from oasjax.training.history import read_history
from oasjax.training.loop import Result
from oasjax.training.skeleton import read_skeleton
from oasjax.training.workdir import plain
from oasjax.weights.model_folder import save_model

NUM_PEOPLE = 18
DISPLAY_PX = 320
# Where scores stand in `metrics.json`, and what stands above their tables.
TEST_TITLES = {
    "": "",
    "pasted": "with pasted occluders",
    "test": "the test split",
    "test_pasted": "the test split, with pasted occluders",
}


def example_people(
    rows: dict[str, np.ndarray], source: Source, config: Any, num: int = NUM_PEOPLE
) -> list[ExamplePerson]:
    """The first people of a test set, predicted and true, for the report: not chosen, simply the first.

    The true occlusion map is there where the model predicts one.

    They are cut out again in DISPLAY_PX, finer than the network saw them, unless occluders were pasted on
    what it saw.

    Args:
        rows: from `oasjax.training.evaluation.predict_all`.
        source: the test set.
        config: of the run.
    """
    rows = {name: column[:num] for name, column in rows.items()}
    visibility = np.where(rows["pasted"], np.int8(1), rows["visibility"])
    crop_width, crop_height = config["data"]["input_size_wh"]
    maps = true_occlusion_maps(rows, visibility, config) if "occlusion_map" in rows else None
    images, factor = list(rows["image"]), 1
    if not rows["pasted"].any():
        factor = max(1, DISPLAY_PX // max(crop_width, crop_height))
        crop = replace(crop_config(config["data"]), input_size_wh=(factor * crop_width, factor * crop_height))
        images = [crop_example(source[n], crop, None)["image"] for n in range(len(visibility))]
    return [
        ExamplePerson(
            image=images[n],
            predicted_keypoints=enlarge_points(rows["keypoints"][n], factor),
            predicted_occlusion=rows["occlusion"][n] if "occlusion" in rows else None,
            scores=rows["scores"][n],
            keypoints=enlarge_points(rows["crop_keypoints"][n], factor),
            visibility=visibility[n],
            predicted_occlusion_map=None if maps is None else rows["occlusion_map"][n],
            occlusion_map=None if maps is None else maps[n],
            caption=f"person {rows['example_id'][n]}: overlays/{n:03}.png",
        )
        for n in range(len(visibility))
    ]


def true_occlusion_maps(
    rows: dict[str, np.ndarray], visibility: Int8[np.ndarray, "n k"], config: Any
) -> Float[np.ndarray, "n h w"]:
    """Occlusion maps from the annotations, of the size of the predicted ones."""
    crop_width, crop_height = config["data"]["input_size_wh"]
    # The network's stride: its maps are whole parts of the crop.
    stride = crop_width // rows["occlusion_map"].shape[2]
    codec = make_codec(dict(config["target"]), stride=stride, input_size_wh=(crop_width, crop_height))
    known = rows["occlusion_known"] | rows["pasted"]
    hidden = jnp.asarray((visibility == 1) & known)
    drawn, _ = codec.encode(jnp.asarray(rows["crop_keypoints"]), hidden)
    return np.asarray(occlusion_map.encode(drawn, hidden))[..., 0]


def write_run_summary(workdir: Path, result: Result, command: str) -> str:
    """Write `overlays/`, `model/` and `report.html` into the workdir.

    Returns:
        The score table and the report's path, to print.
    """
    config = result.config
    skeleton = read_skeleton(config.skeleton)
    test_set = config["eval"]["test_sets"][-1]
    people = example_people(result.test_rows[test_set], result.test_source, config)
    write_overlays(workdir / "overlays", people, skeleton)
    save_model(
        workdir / "model",
        {
            "params": {"net": result.state.params["net"]},
            "model_state": {"net": result.state.model_state["net"]},
        },
        plain(config),
        card(config, skeleton, result.metrics, command),
    )
    report = write_report(
        workdir / "report.html",
        title=f"oasjax: {workdir.name}",
        metrics=result.metrics,
        history=read_history(workdir),
        people=people,
        skeleton=skeleton,
        config_text=json.dumps(plain(config), indent=2),
        command=command,
    )
    return f"{tables(result.metrics)}\n\nreport: {report}"


def tables(metrics: dict[str, Any]) -> str:
    """All score tables of a `metrics.json` as text."""
    blocks = []
    for name, title in TEST_TITLES.items():
        results = metrics.get(name, {}) if name else metrics
        if "after" in results:
            shown = {key: results[key] for key in ("mean_pose", "before", "after") if key in results}
            blocks.append(f"{title}\n{score_table(shown)}".lstrip())
    return "\n\n".join(blocks)


def write_overlays(folder: Path, people: list[ExamplePerson], skeleton: Skeleton) -> None:
    """One PNG a person: prediction, truth and both occlusion maps side by side."""
    folder.mkdir(exist_ok=True)
    for number, person in enumerate(people):
        pictures = person_pictures(person, skeleton)
        strip = grid(list(pictures.values()), list(pictures))
        write_png(folder / f"{number:03}.png", strip)


def card(config: Any, skeleton: Skeleton, metrics: dict[str, Any], command: str) -> str:
    """The model folder's `card.md`: what it is, how it was made, what it scores."""
    return (
        f"# {config['task']} ({config['model']['name']}), joints of {skeleton.name}\n\n"
        f"Trained on {config['data']['name']} for {config['train']['num_steps']} steps of"
        f" {config['train']['batch_size']} people, seed {config['seed']}:\n\n    {command}\n\n"
        "Scores on held-out people, in percent (keypoints and occlusion: fractions):\n\n"
        f"```\n{tables(metrics)}\n```\n"
    )
