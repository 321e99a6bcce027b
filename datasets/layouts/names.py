"""Text files of a dataset: lists of images and of classes."""

from __future__ import annotations

from pathlib import Path

from contract.errors import UserError


def read_text(path: Path) -> str:
    """Return the text of a file, without a byte-order mark.

    Raises:
        UserError: The file cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not text in the encoding UTF-8 ({error}); save it as UTF-8."
        ) from None
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror or error}.") from None


def read_list(path: Path) -> list[str]:
    """Return the first column of a list, without blank lines.

    Pascal VOC's per-class lists have a second column, which states whether the image contains the class.
    """
    return [words[0] for line in read_text(path).splitlines() if (words := line.split())]


def read_classes(path: Path) -> tuple[str, ...]:
    """Read a `classes.txt`: one name per line, or a number counted from 1, a tab and a name.

    Raises:
        UserError: The file has no names, a repeated name, or numbers that do not count from 1.
    """
    lines = [line.strip() for line in read_text(path).splitlines()]
    cells = [line.split("\t", maxsplit=1) for line in lines if line]
    if cells and all(len(cell) == 2 and cell[0].isdigit() for cell in cells):
        numbers = [int(cell[0]) for cell in cells]
        if numbers != list(range(1, len(cells) + 1)):
            raise UserError(
                f"{path} numbers its classes {numbers[:3]}…; expected 1, 2, 3 and so on in order, "
                "since 0 stands for pixels of no class. Number them again, or leave the numbers out."
            )
    names = tuple(cell[-1].strip() for cell in cells)
    if not names:
        raise UserError(f"{path} names no class; write one a line, or remove the file.")
    require_different(names, path)
    return names


def require_different(names: tuple[str, ...], path: Path) -> None:
    """Check that class names are unique, because per-class results are stored by name.

    Raises:
        UserError: A name is repeated.
    """
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UserError(f"{path} names {', '.join(map(repr, repeated))} twice; names must differ.")
