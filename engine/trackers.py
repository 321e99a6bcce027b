"""Report losses, learning rates and scores to experiment trackers, through mmengine's backends.

mmengine closes its backends after the training; these stay open for the result. mmengine also sends the whole config,
with the paths of this machine, and to Weights & Biases the code; these send a description of the run instead.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import VISBACKENDS
from mmengine.visualization import MLflowVisBackend, TensorboardVisBackend, WandbVisBackend

from contract.result import Metric
from contract.trackers import require_installed
from engine.cli import Options

_PROJECT = "trickbench"
_MLFLOW_RUN = "mlflow_run.txt"


@VISBACKENDS.register_module()
class TensorboardTracker(TensorboardVisBackend):
    """Event files in the work dir.

    Args:
        save_dir: The folder of the files.
        run: See `_describe`.
    """

    def __init__(self, save_dir: str, run: dict[str, Any]) -> None:
        super().__init__(save_dir)
        self.run = run

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Record what the run is."""
        lines = "\n".join(f"- {name}: {value}" for name, value in self.run["about"].items())
        self.experiment.add_text("run", lines)

    def close(self) -> None:
        """Write what is buffered."""
        if hasattr(self, "_tensorboard"):
            self._tensorboard.flush()

    def finish(self) -> None:
        """Close the files."""
        super().close()


@VISBACKENDS.register_module()
class WandbTracker(WandbVisBackend):
    """A run of Weights & Biases: files in the work dir, which `wandb sync` uploads, unless WANDB_MODE=online.

    Args:
        save_dir: The folder of the files.
        run: See `_describe`.
    """

    def __init__(self, save_dir: str, run: dict[str, Any]) -> None:
        self.run = run
        *group, task, seed = run["path"]
        super().__init__(
            save_dir,
            init_kwargs=dict(
                project=os.environ.get("WANDB_PROJECT", _PROJECT),
                id=run["id"],
                # A resumed run goes on with the tracker's.
                resume="allow",
                name="/".join(run["path"]),
                group="/".join(group) or None,
                job_type=task,
                tags=[word[:64] for word in (*group, task, seed)],
                mode=os.environ.get("WANDB_MODE", "offline"),
                settings=dict(disable_git=True, save_code=False, console="off"),
            ),
        )

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Record what the run is; neither paths nor code."""
        self.experiment.config.update(self.run["about"], allow_val_change=True)

    def close(self) -> None:
        """Do nothing; `finish` closes the run."""

    def finish(self) -> None:
        """Close the run."""
        if hasattr(self, "_wandb"):
            self._wandb.finish()


@VISBACKENDS.register_module()
class MlflowTracker(MLflowVisBackend):
    """A run of MLflow, in the store that MLFLOW_TRACKING_URI names, or in a database in the work dir.

    Args:
        save_dir: The work dir.
        run: See `_describe`.
    """

    def __init__(self, save_dir: str, run: dict[str, Any]) -> None:
        self.run = run
        path = run["path"]
        names = ("suite", "row", "task", "seed")
        parts = path[-len(names) :]
        super().__init__(
            save_dir,
            exp_name=os.environ.get("MLFLOW_EXPERIMENT_NAME") or path[0],
            run_name="/".join(path),
            tags=dict(zip(names[-len(parts) :], parts, strict=True)),
            tracking_uri=os.environ.get("MLFLOW_TRACKING_URI")
            or f"sqlite:///{Path(save_dir).resolve()}/mlflow.db",
            artifact_suffix=(),
        )

    def _init_env(self) -> None:
        noted = Path(self._save_dir) / _MLFLOW_RUN
        if noted.is_file():
            # A resumed run goes on with the tracker's.
            os.environ["MLFLOW_RUN_ID"] = noted.read_text(encoding="utf-8")
        super()._init_env()
        active = self._mlflow.active_run()
        assert active is not None
        noted.write_text(active.info.run_id, encoding="utf-8")

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Record what the run is."""
        self.experiment.log_params(self.run["about"])

    def close(self) -> None:
        """Do nothing; `finish` closes the run."""

    def finish(self) -> None:
        """Close the run."""
        if hasattr(self, "_mlflow"):
            self._mlflow.end_run()


_BACKENDS = {"tensorboard": TensorboardTracker, "wandb": WandbTracker, "mlflow": MlflowTracker}


def wire_trackers(config: Config, task: str, spec: str, options: Options) -> None:
    """Add the trackers of the command line to a Runner config, in place.

    Raises:
        UserError: A package is missing.
    """
    if not options.trackers:
        return
    require_installed(options.trackers)
    folders = {"tensorboard": options.work_dir / "tensorboard"}
    run = _describe(task, spec, options)
    backends = [
        dict(
            type=_BACKENDS[name].__name__,
            save_dir=str(folders.get(name, options.work_dir)),
            run=run,
        )
        for name in dict.fromkeys(options.trackers)
    ]
    config.visualizer = ConfigDict(
        type="mmengine.Visualizer", vis_backends=[dict(type="LocalVisBackend"), *backends]
    )


def _describe(task: str, spec: str, options: Options) -> dict[str, Any]:
    """Return a run's `id`, its `path` (suite, row, task, seed), and `about`, what a tracker may know of it."""
    path = (options.tracker_run or f"{task}/seed-{options.seed}").split("/")
    unique = options.identity or str(options.work_dir.resolve())
    about = {
        "task": task,
        "config": Path(options.config).stem,
        "backbone": spec,
        "recipe": options.recipe or "",
        "tricks": " ".join(options.tricks),
        "budget": options.budget,
        "precision": options.precision,
        "seed": options.seed,
        "lr_factor": options.lr_factor,
        "identity": options.identity or "",
    }
    return {"id": hashlib.sha256(unique.encode()).hexdigest()[:16], "path": path, "about": about}


def report_result(runner: Any, metrics: list[Metric]) -> None:
    """Report the figures of the result to the trackers."""
    figures = {
        f"result/{metric.name}": metric.value for metric in metrics if metric.value is not None
    }
    for tracker in _trackers(runner):
        tracker.add_scalars(figures, step=runner.iter)


def finish_trackers(runner: Any) -> None:
    """Close the trackers, which writes what they hold."""
    for tracker in _trackers(runner):
        tracker.finish()


def _trackers(runner: Any) -> list[Any]:
    found = runner.visualizer._vis_backends.values()
    # Only the first of several processes has opened them.
    return [each for each in found if hasattr(each, "finish") and each._env_initialized]
