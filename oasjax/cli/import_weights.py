"""Turn published PyTorch weights into a model folder.

    oasjax import-weights hrnet pose_hrnet_w32_256x192.pth --out models/hrnet_w32
    oasjax import-weights hourglass model_best.pth.tar --out models/hourglass_8 --skeleton mpii

PyTorch is not needed, and no code in the file is run.
"""

import argparse
import re

from oasjax.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `oasjax import-weights`."""
    parser.add_argument("backbone", metavar="hrnet|hourglass", help="the network that the weights are of")
    parser.add_argument("file", metavar="FILE", help=".pth, .pt, .tar (PyTorch), .npz or .safetensors")
    parser.add_argument("--out", required=True, metavar="M", help="the model folder to write")
    parser.add_argument(
        "--skeleton",
        metavar="S",
        help="mpii, coco, ...; by default the one with as many joints as the weights",
    )
    parser.add_argument(
        "--input", metavar="WxH", help="crop in pixels; by default 192x256 for coco, 256x256 for the others"
    )


def run(args: argparse.Namespace) -> int:
    """Convert, and print what was read. Nothing is written if anything is wrong."""
    input_size_wh = parse_size(args.input) if args.input else None

    from oasjax.weights.model_import import import_weights, summary

    imported = import_weights(args.backbone, args.file, args.out, args.skeleton, input_size_wh)
    print(f"{args.file}: " + "\n  ".join(summary(imported)))
    print(f"model folder: {args.out}")
    return 0


def parse_size(text: str) -> tuple[int, int]:
    """Width and height from a text like 192x256. Raises UserError."""
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise UserError(f"--input is '{text}'; write width and height in pixels, as in 192x256")
    return int(match[1]), int(match[2])
