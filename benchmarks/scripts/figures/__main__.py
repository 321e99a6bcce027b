"""The command line of the figures: `python -m benchmarks.scripts.figures`, also `python -m cls_train.figures`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from contract.errors import UserError, unknown
from engine.cli import Parser

FIGURES = ("lr_schedules", "label_smoothing", "beta", "tricks_sheet")
EMBEDDED = Path("data/miniworld/mini/cls/val")
GENERATE = "python -m benchmarks data prepare miniworld"
HOW_TO_GET_IMAGES = f"generate it with `{GENERATE}`, or name a split of your own with --images"
TRAIN = (
    "python -m cls_train.train mini --backbone resnet10_b-w24 --data data/miniworld/mini/cls "
    "--set epochs=15 --work-dir runs/plain",
    "python -m cls_train.train mini --backbone resnet10_b-w24 --data data/miniworld/mini/cls "
    "--set epochs=15 --work-dir runs/smoothed --trick label_smoothing",
)
COLUMNS = 4
# Chosen manually: its random draws erase, cut and mix visibly.
SEED = 3555


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the figures.

    Args:
        arguments: Arguments after the command; None takes those of the process.

    Returns:
        The exit status: 0, or 2 after a user's mistake, which is printed to standard error.
    """
    try:
        _run(_parse(arguments))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="python -m cls_train.figures",
        description="Draw what the classification tricks do, with the code that trains.",
        epilog="Networks for --checkpoint: " + "; ".join(TRAIN),
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("figures", nargs="*", metavar="FIGURE", help=f"{', '.join(FIGURES)}; default: all")
    add(
        "--out",
        type=Path,
        default=Path("runs/figures"),
        metavar="DIR",
        help="default: runs/figures",
    )
    add("--images", type=Path, metavar="DIR", help=f"split DIR/<class>/*.jpg; default: {EMBEDDED}")
    add(
        "--checkpoint", action="append", default=[], metavar="NAME=FILE",
        help="measure this network's gap between logits on the images; may be repeated",
    )  # fmt: skip
    add(
        "--config",
        default="mini",
        help="the config whose test pipeline reads the images for --checkpoint",
    )
    add("--seed", type=int, default=SEED, help="seed of the sheet's random numbers")
    options = parser.parse_args(arguments)
    for name in options.figures:
        if name not in FIGURES:
            raise unknown("figure", name, FIGURES)
    options.checkpoint = _named(options.checkpoint)
    if not 0 <= options.seed < 2**32:
        raise UserError(f"--seed {options.seed} was given; it must lie in 0 to {2**32 - 1}")
    if options.checkpoint and options.figures and "label_smoothing" not in options.figures:
        raise UserError("--checkpoint was given, but only label_smoothing reads it; name it too")
    return options


def _named(texts: Sequence[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for text in texts:
        name, equals, file = text.partition("=")
        if not (name and equals and file):
            raise UserError(
                f"--checkpoint {text!r} was given; it must read NAME=FILE, such as "
                "--checkpoint smoothed=runs/smoothed/backbone.safetensors"
            )
        if name in found:
            raise UserError(f"--checkpoint names {name!r} twice; give each network its own name")
        found[name] = Path(file)
    return found


def _run(options: argparse.Namespace) -> None:
    # Imported late, because mistakes in the command are reported at once.
    from benchmarks.scripts.figures.drawing import make_folder

    wanted = list(options.figures or FIGURES)
    chosen = bool(options.figures or options.images)
    if "tricks_sheet" in wanted and not chosen and not EMBEDDED.is_dir():
        wanted.remove("tricks_sheet")
        print(f"Left out tricks_sheet: {EMBEDDED} does not exist; {HOW_TO_GET_IMAGES}.")
    if "tricks_sheet" in wanted or options.checkpoint:
        _require_images(options.images or EMBEDDED)
    make_folder(options.out)
    for name in wanted:
        paths, shows = DRAWN_BY[name](options)
        for path in paths:
            print(f"Wrote {path}: {shows}.")


def _require_images(folder: Path) -> None:
    if not folder.is_dir():
        raise UserError(f"the images {folder} do not exist; {HOW_TO_GET_IMAGES}")
    if (folder / "val").is_dir():
        raise UserError(
            f"{folder} holds splits; name one of them, such as --images {folder / 'val'}"
        )


def _rates(options: argparse.Namespace) -> tuple[list[Path], str]:
    from benchmarks.scripts.figures.rates import draw_rates

    return draw_rates(options.out / "lr_schedules"), "the learning rate of every schedule"


def _smoothing(options: argparse.Namespace) -> tuple[list[Path], str]:
    from benchmarks.scripts.figures.smoothing import draw_smoothing, measure

    images = options.images or EMBEDDED
    measured = {
        name: measure(file, images, options.config) for name, file in options.checkpoint.items()
    }
    paths = draw_smoothing(options.out / "label_smoothing", measured)
    if measured:
        return paths, f"the optimal gap, and the gap of {', '.join(measured)} on {images}"
    print(
        "Left out the gap of trained networks: name some with --checkpoint NAME=FILE. These commands train two, in "
        "minutes on a CPU:\n  " + "\n  ".join(TRAIN)
    )
    return paths, "the optimal gap between logits under label smoothing"


def _beta(options: argparse.Namespace) -> tuple[list[Path], str]:
    from benchmarks.scripts.figures.beta import draw_beta

    return draw_beta(options.out / "beta"), "the distributions of mixing's weights"


def _sheet(options: argparse.Namespace) -> tuple[list[Path], str]:
    from benchmarks.scripts.figures.contact_sheet import write_sheet
    from benchmarks.scripts.figures.sheet import choose_images, make_rows

    images = options.images or EMBEDDED
    paths, names = choose_images(images, COLUMNS)
    path = options.out / "tricks_sheet.png"
    write_sheet(make_rows(paths, names, options.seed), path)
    return [path], f"every trick that changes images, on {len(paths)} images of {images}"


DRAWN_BY: dict[str, Callable[[argparse.Namespace], tuple[list[Path], str]]] = {
    "lr_schedules": _rates,
    "label_smoothing": _smoothing,
    "beta": _beta,
    "tricks_sheet": _sheet,
}

if __name__ == "__main__":
    sys.exit(main())
