"""Read the work dir of a finished run: its config, and the weights that were evaluated."""

from __future__ import annotations

import ast
import copy
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from contract.errors import UserError
from contract.files import file_sha256
from contract.result import CURVES_FILE, RESULT_FILE
from contract.tasks import TASKS, Task
from engine.resume import _resume_types, latest_checkpoint


@dataclass(frozen=True)
class TrainedRun:
    """A finished run.

    Attributes:
        work_dir: Its work dir.
        result: The content of `result.json`.
        config: Its Runner config.
        classes: Names in label order.
        state: The evaluated tensors: the average if weights were averaged.
        checkpoint: The file that contains them.
        sha256: Digest of that file, in hexadecimal.
    """

    work_dir: Path
    result: dict[str, Any]
    config: Config
    classes: tuple[str, ...]
    state: dict[str, Tensor]
    checkpoint: Path
    sha256: str


def read(work_dir: Path, task: str) -> TrainedRun:
    """Read a work dir. No code in it is run, because it may come from an untrusted source.

    Args:
        work_dir: The task's `--work-dir`.
        task: A key of `TASKS`.

    Raises:
        UserError: The folder is not a finished run of the task, or its last checkpoint is not the evaluated one.
    """
    result = _result(work_dir, task)
    torch.serialization.add_safe_globals(_resume_types())
    path = latest_checkpoint(work_dir)
    if path is None:
        raise UserError(
            f"{work_dir} holds no whole checkpoint (epoch_*.pth or iter_*.pth); start the run again"
        )
    # mmengine's EMA hook stores the averaged weights, which it evaluates, in `state_dict`.
    content = torch.load(path, map_location="cpu", weights_only=True)
    _require_evaluated(work_dir, path, content["meta"]["iter"])
    return TrainedRun(
        work_dir,
        result,
        parse_config(content["meta"]["cfg"], path),
        tuple(content["meta"]["dataset_meta"]["classes"]),
        content["state_dict"],
        path,
        file_sha256(path),
    )


def task_of(work_dir: Path) -> Task:
    """Return the task of a finished run.

    Raises:
        UserError: The folder is not the work dir of a finished run.
    """
    return TASKS[_read_result(work_dir)["stage"]]


def _result(work_dir: Path, task: str) -> dict[str, Any]:
    result = _read_result(work_dir)
    if result["stage"] != task:
        other = TASKS.get(result["stage"])
        package = other.module.partition(".")[0] if other is not None and other.trains else None
        hint = f"use python -m {package}.export" if package else "that task trains no network"
        raise UserError(f"{work_dir} is a run of the task {result['stage']}, not {task}; {hint}")
    return result


def _read_result(work_dir: Path) -> dict[str, Any]:
    path = work_dir / RESULT_FILE
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise UserError(
            f"{work_dir} is not the work dir of a finished run (it has no {RESULT_FILE}); give the --work-dir of a "
            "task, or in a suite's run folder that of a row, task and seed"
        ) from None
    except ValueError:
        raise UserError(f"{path} is damaged; start the run again") from None


def _require_evaluated(work_dir: Path, checkpoint: Path, iteration: int) -> None:
    curves = json.loads((work_dir / CURVES_FILE).read_text(encoding="utf-8"))
    evaluated = curves["val"][-1]["step"]
    if evaluated != iteration:
        raise UserError(
            f"{checkpoint} is of iteration {iteration}, and the result of {work_dir} of iteration {evaluated}: these "
            "are not the weights that were evaluated; start the run again with a checkpoint at its end"
        )


def build(run: TrainedRun, scope: str, **changes: Any) -> nn.Module:
    """Build the network of a run, with its weights, in evaluation mode on the CPU.

    Args:
        run: The run.
        scope: mmengine's default scope of the task.
        changes: Keys of the model's config to set before building.

    Raises:
        UserError: The weights do not fit the network that this version builds from the config.
    """
    model = copy.deepcopy(run.config.model)
    for key, value in changes.items():
        model[key] = value
    # The weights come from the run's checkpoint; the pretrained one may be missing.
    model.backbone.checkpoint = None
    model.backbone.channels_last = False
    try:
        with DefaultScope.overwrite_default_scope(scope), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # mmdet and mmseg warn about their own arguments
            network = MODELS.build(model)
        network.load_state_dict(run.state, strict=True)
    except (TypeError, KeyError, RuntimeError) as error:
        version = run.result["code"]["git_sha"] or "unknown"
        raise UserError(
            f"{run.checkpoint} does not fit what its config builds in this version of TrickBench ({error}); "
            f"export it with the version that trained it ({version})"
        ) from None
    return network.eval()


def parse_config(text: str, path: Path) -> Config:
    """Read the config that mmengine writes into checkpoints, without running it as code.

    Raises:
        UserError: The config contains more than names, numbers, strings, lists, tuples and dicts.
    """
    try:
        body = ast.parse(text).body
        return Config(dict(map(_assignment, body)))
    except (SyntaxError, ValueError, AttributeError) as error:
        raise UserError(f"the config in {path} is not plain data ({error})") from None


def _assignment(statement: ast.stmt) -> tuple[str, Any]:
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id, _value(statement.value)
    raise ValueError(f"line {statement.lineno} is no assignment")


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        if any(keyword.arg is None for keyword in node.keywords) or len(node.args) > 1:
            raise ValueError(f"line {node.lineno} is no plain dict")
        # mmengine writes dict({…}) if a key is not a name.
        inner = _value(node.args[0]) if node.args else {}
        return {**inner, **{str(word.arg): _value(word.value) for word in node.keywords}}
    if isinstance(node, ast.List):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(item) for item in node.elts)
    if isinstance(node, ast.Dict):
        keys = [ast.literal_eval(key) for key in node.keys if key is not None]
        return dict(zip(keys, map(_value, node.values), strict=True))
    return ast.literal_eval(node)
