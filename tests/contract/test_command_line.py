"""The parser that all commands share."""

import pytest

from contract.command_line import Parser
from contract.errors import UserError


def _parser() -> Parser:
    parser = Parser(prog="tool")
    parser.add_argument("--verbose", action="store_true")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    train = commands.add_parser("train")
    train.add_argument("config")
    train.add_argument("--budget", choices=("full", "smoke"))
    train.add_argument("--seed", type=int)
    return parser


def test_valid_options():
    options = _parser().parse_args(["train", "mini", "--budget", "smoke", "--seed", "3"])
    assert (options.command, options.config, options.budget, options.seed) == (
        "train",
        "mini",
        "smoke",
        3,
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["trian"], "unknown command 'trian'; did you mean 'train'?"),
        (["train", "mini", "--bugdet=full"], "unknown option '--bugdet'; did you mean '--budget'?"),
        (["--verbos", "train", "mini"], "unknown option '--verbos'; did you mean '--verbose'?"),
        (["train", "mini", "--bud", "full"], "unknown option '--bud'"),
        (["train", "mini", "--budget", "smok"], "unknown budget 'smok'; did you mean 'smoke'?"),
        (["train", "mini", "more"], "'more' is one word too many; see tool train --help"),
        (
            ["train", "mini", "--seed", "x"],
            "argument --seed: invalid int value: 'x'; see tool train --help",
        ),
        (["train"], "the following arguments are required: config; see tool train --help"),
        ([], "the following arguments are required: COMMAND; see tool --help"),
    ],
)
def test_mistakes_suggest_closest_name(words, sentence):
    with pytest.raises(UserError) as error:
        _parser().parse_args(words)
    assert str(error.value).startswith(sentence)


def test_commands_share_wording(capsys):
    from backbones.__main__ import main as backbones
    from benchmarks.cli import main as benchmarks
    from contract.tasks import TASKS
    from engine.cli import parse

    assert backbones(["describe", "resnet50", "--jsn"]) == 2
    assert "unknown option '--jsn'; did you mean '--json'?" in capsys.readouterr().err
    assert benchmarks(["run", "--bugdet", "smoke"]) == 2
    assert "unknown option '--bugdet'; did you mean '--budget'?" in capsys.readouterr().err
    with pytest.raises(UserError, match="unknown option '--bugdet'; did you mean '--budget'"):
        parse("task", ["mini", "--data", "d", "--work-dir", "w", "--bugdet", "x"], TASKS["cls"])
