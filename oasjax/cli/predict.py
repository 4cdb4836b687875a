"""Find the joints of people in pictures: overlay pictures and predictions.json.

    oasjax predict --model runs/quickstart photo.jpg
    oasjax predict --model M a.jpg b.jpg --boxes boxes.json --out results

The JSON's schema stands in `oasjax/inference/results.py`, the forms of the boxes in
`oasjax/inference/boxes.py`.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `oasjax predict`."""
    parser.add_argument(
        "--model",
        required=True,
        metavar="M",
        help="a model folder or the workdir of a training run",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="JPEG or PNG files")
    parser.add_argument(
        "--boxes",
        metavar="J",
        help='JSON with person boxes: {"file.jpg": [[x, y, w, h], ...]} or a list of COCO '
        "detections; without it each picture is one person",
    )
    parser.add_argument(
        "--out", default="predictions", metavar="D", help="output folder (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Predict, draw, write, and print what was written. No file is written if an input is bad."""
    from oasjax import compilation_cache
    from oasjax.inference.boxes import read_boxes
    from oasjax.inference.predictor import load
    from oasjax.inference.writing import make_folder, write_predictions

    # The cheap check comes first: loading the model takes seconds.
    boxes = read_boxes(args.boxes, args.images) if args.boxes else None
    compilation_cache.enable()
    predictor = load(args.model)
    results = predictor.predict(args.images, boxes)
    paths = write_predictions(
        make_folder(args.out),
        results,
        predictor.skeleton,
        predictor.model_name,
        show_boxes=boxes is not None,
    )
    for path, result in zip(paths, results, strict=False):
        count = len(result.people)
        print(f"{result.file}: {count} {'person' if count == 1 else 'people'} -> {path}")
    print(f"keypoints, scores, occlusion: {paths[-1]}")
    return 0
