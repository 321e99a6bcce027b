"""Run one task on mmengine's Runner: assemble, train, evaluate, write the result.

Tasks differ in their subclass of `Task`; everything else is in this module.
"""

from __future__ import annotations

import gc
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.runner import Runner
from torch import Tensor

import backbones
from contract import tasks
from contract.errors import UserError
from contract.files import write_json
from contract.result import CURVES_FILE, RESULT_FILE, Metric, write_result
from contract.settings import ROOT, SCHEDULES
from contract.timing import CLOCK, COSTS, WRITING
from engine import config as configs
from engine.budget import resolve as resolve_budget
from engine.cli import Options, exit_status, make_work_dir, parse
from engine.job import Job, resolve_job
from engine.measure.costs import measure
from engine.measure.samples import LabelledFeatures, TransferabilityHook
from engine.measure.schedule import answer
from engine.measure.trial import run_trial
from engine.passes import attach
from engine.record import curves, result_fields
from engine.resume import point_at_checkpoint
from engine.runner import numerics, stop
from engine.runner.checkpoint import ELAPSED
from engine.runner.checkpoint_files import keep_the_network
from engine.runner.device import pinned_to
from engine.runner.distributed import join, launched, leave, local_processes, world_size
from engine.runner.learning_rate import apply_multipliers
from engine.runner.loader_processes import copy_without_blocking
from engine.runner.numerics import Numerics, choose_numerics
from engine.runner.peak_memory import PeakMemoryHook
from engine.runner.rank import run_rank
from engine.runner.shared_memory import fit_workers
from engine.runner.timing import PhaseHook
from engine.runner.validation import VALIDATION_HISTORY
from engine.trackers import finish_trackers, report_result, wire_trackers
from engine.wiring import wire


class Task(ABC):
    """The parts of a run that differ between tasks.

    Attributes:
        name: Its entry in `contract.tasks.TASKS`.
        scope: mmengine's default scope while the task is built.
        modules: Modules whose import registers the types that the task's configs may name.
        labelled_features: Extracts labelled features from the backbone's last map, for transferability estimates;
            None for a task without estimates.
        one_shape: Whether all training batches have the same shape, so that cuDNN's search for algorithms pays.
    """

    name: ClassVar[str]
    scope: ClassVar[str]
    modules: ClassVar[tuple[ModuleType, ...]] = ()
    labelled_features: ClassVar[LabelledFeatures | None] = None
    one_shape: ClassVar[bool] = False

    @property
    def entry(self) -> tasks.Task:
        """The task's entry in the table of tasks."""
        return tasks.TASKS[self.name]

    @property
    def configs(self) -> Path:
        """The folder of the task's configs."""
        return ROOT / self.entry.configs

    @property
    def trick_folders(self) -> tuple[Path, ...]:
        """The folders of the task's tricks; the first folder that contains a trick is used."""
        return tuple(ROOT / folder for folder in self.entry.tricks)

    @abstractmethod
    def assemble(self, job: Job) -> Config:
        """Return the Runner config, without the parts that `engine.wiring.wire` adds for every task."""

    @abstractmethod
    def metrics(self, values: dict[str, float]) -> list[Metric]:
        """Return the result's metrics, computed from those of mmengine's evaluator."""

    @abstractmethod
    def protocol(self, config: Config) -> dict[str, str]:
        """Return how the scores were measured, for the table's header."""

    def variations(self, job: Job, config: Config) -> dict[str, str]:
        """Return the changes of the protocol by the job's tricks, for the table's header."""
        return {}

    def settle(self, job: Job, config: Config) -> dict[str, Any]:
        """Choose what depends on this machine's speed, in place, after all processes have joined.

        Returns:
            Further conditions, by name, that a resumed job must meet.
        """
        return {}

    def recipe(self, options: Options) -> str | None:
        """Return the name of the recipe; None for a task without recipes."""
        return None

    def costs(self, runner: Any, images_per_second: float) -> list[Metric]:
        """Return the costs of training; `engine.measure.costs` measures those of inference."""
        return []

    def infer(self, model: Any, image: Tensor) -> object:
        """Run the layers of inference, to count their multiply-adds.

        Only shapes are computed, so the code must not depend on values.

        Args:
            model: The network.
            image: (1, 3, H, W).
        """
        return model(image)

    def loss_of_shapes(self, model: Any, images: Tensor) -> Tensor:
        """Return a loss from the layers whose results training keeps, to compute the memory of a step.

        Only shapes are computed, so the code must not depend on values.

        Args:
            model: The network in training mode.
            images: (N, 3, H, W), as the data preprocessor returns them.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how its loss is computed")

    def without_teacher(self, config: Config) -> None:
        """Remove a teacher from a config, in place; it may not be trained yet when the run's cost is measured."""
        return

    def further_test_work(self, config: Config) -> float:
        """Return the work of `further_metrics`, as a multiple of one test of all images."""
        return 0.0

    def further_metrics(self, runner: Any) -> list[Metric]:
        """Return metrics that are measured once, after the last validation, in all processes together."""
        return []

    def notes(self, runner: Any) -> list[str]:
        """Return notes on the evaluation for the reader of the scores."""
        return []

    def finish(self, runner: Any, job: Job, metrics: list[Metric]) -> dict[str, Any]:
        """Write the task's further files.

        Returns:
            The result's further `artifacts`.
        """
        return {}


def run_process(task: Task) -> int:
    """Run the command line of a process that does nothing else, and return the exit status."""
    # The objects of the imported packages live as long as the process. mmengine's datasets collect garbage several
    # times, which takes a fifth of a second with these objects and no time without.
    gc.freeze()
    return main(task)


def main(task: Task, arguments: Sequence[str] | None = None) -> int:
    """Run the command line of a task and return the exit status; a failing process of several ends at once."""
    CLOCK.restart()
    prog = f"python -m {task.entry.module}"
    words = sys.argv[1:] if arguments is None else list(arguments)

    def work() -> None:
        if words[:1] == [SCHEDULES]:
            answer(task, Path(words[1]), Path(words[2]))
        else:
            run(task, parse(prog, words, task.entry))

    with stop.caught_signals():
        return run_rank(work) if launched() else exit_status(work)


def run(task: Task, options: Options) -> None:
    """Train and evaluate a task and write its work dir.

    Raises:
        UserError: For every mistake that the user can fix.
    """
    numerics.start(deterministic=options.deterministic)
    # The checkpoint is read only once, for its metadata and for comparing the built model with it.
    with backbones.hold_checkpoints():
        job = resolve_job(options)
        with pinned_to(job.device_type):
            config = prepare(task, job)
            join(job.device_type)
            if options.measure is not None:
                run_trial(task, job, config, options.measure)
                return
            _run(task, job, config)
            # After an error the group must not be ended: NCCL would wait for the other processes.
            leave()


def prepare(task: Task, job: Job) -> Config:
    """Return the final, checked Runner config of a job."""
    # mmengine writes the config into every checkpoint; formatting it would take seconds each time.
    config = Config(task.assemble(job)._cfg_dict, format_python_code=False)
    budget = resolve_budget(job.options.budget, config.pop("budgets", {}))
    wire(config, task.name, job.options, job.precision, budget)
    wire_trackers(config, task.name, job.spec, job.options)
    configs.check_arguments(config, task.scope)
    return config


def _run(task: Task, job: Job, config: Config) -> None:
    options = job.options
    make_work_dir(options.work_dir)
    conditions = {
        "number of processes": world_size(),
        "precision": job.precision.dtype,
        "device": job.device_type,
        "deterministic": options.deterministic,
        **task.settle(job, config),
    }
    point_at_checkpoint(
        config,
        options.work_dir,
        resume=options.resume,
        identity=options.identity,
        conditions=conditions,
    )
    started = time.monotonic()
    runner = Runner.from_cfg(config)
    _fit_shared_memory(runner)
    _require_a_batch(runner)
    if job.device_type == "cuda":
        copy_without_blocking(runner)
    attach(task, job, config, runner)
    used = choose_numerics(
        job.precision, one_shape=task.one_shape, deterministic=options.deterministic
    )
    _announce(job, config, runner, used)
    apply_multipliers(runner)
    if task.labelled_features is not None:
        runner.register_hook(
            TransferabilityHook(task.labelled_features, options.checkpoint)  # pyright: ignore[reportArgumentType]
        )
    runner.register_hook(PeakMemoryHook())
    runner.register_hook(PhaseHook())
    try:
        _train_and_test(task, job, config, runner, used, started)
    finally:
        finish_trackers(runner)


def _train_and_test(
    task: Task, job: Job, config: Config, runner: Any, used: Numerics, started: float
) -> None:
    with numerics.recorded(runner, used):
        runner.train()
    history = runner.message_hub.runtime_info[VALIDATION_HISTORY]
    # Every process has the history and takes part in further tests.
    metrics = [*task.metrics(history[-1]["metrics"]), *task.further_metrics(runner)]
    if is_main_process():
        with CLOCK.phase(WRITING):
            _write(task, job, config, runner, metrics, started)


def _write(
    task: Task, job: Job, config: Config, runner: Any, metrics: list[Metric], started: float
) -> None:
    options = job.options
    history = runner.message_hub.runtime_info[VALIDATION_HISTORY]
    write_json(options.work_dir / CURVES_FILE, curves(task, runner, history))
    artifacts = {"curves": CURVES_FILE, **task.finish(runner, job, metrics)}
    fields = result_fields(task, job, config, runner)
    fields["artifacts"] = artifacts
    fields["wall_seconds"] = round(
        runner.message_hub.runtime_info.get(ELAPSED, time.monotonic() - started), 2
    )
    # Written last: nothing that changes a number may follow.
    with CLOCK.phase(COSTS):
        measured = measure(runner, task.infer, smoke=options.budget == "smoke")
    fields["costs"] = [
        *task.costs(runner, fields["train_images_per_second"]),
        *measured.figures,
    ]
    fields["inference"] = measured.inference
    fields["metrics"] = metrics
    CLOCK.write(options.work_dir)
    write_result(options.work_dir / RESULT_FILE, fields)
    report_result(runner, [*metrics, *fields["costs"]])
    keep_the_network(options.work_dir)
    print(", ".join(f"{m.name} {m.value:.2f}{m.unit}" for m in metrics))


def _require_a_batch(runner: Any) -> None:
    if runner.train_loop.max_iters > 0:
        return
    raise UserError(
        f"the training set has {len(runner.train_dataloader.dataset)} images, fewer than one batch "
        f"of {runner.train_dataloader.batch_size} per process; add images or make the batch smaller"
    )


def _fit_shared_memory(runner: Any) -> None:
    """Let the loaders' workers fit into the shared memory of this machine.

    mmengine builds the training loader with its loop, and an iteration-based loop starts the workers at once. So the
    loader is built here, before the loop.
    """
    config = runner._train_dataloader
    loader = runner.build_dataloader(config, seed=runner.seed)
    notes = fit_workers([loader, runner.val_loop.dataloader], local_processes())
    runner._train_dataloader = loader
    assert runner.train_loop.dataloader is loader
    # mmengine reads the images of a step there, which a loader with a batch sampler does not know.
    runner._train_dataloader = config
    if is_main_process():
        for note in notes:
            print(f"note: {note}", flush=True)


def _announce(job: Job, config: Config, runner: Any, used: Numerics) -> None:
    if not is_main_process():
        return
    weights = f"from {job.options.checkpoint}" if job.pretrained else "random"
    print(f"backbone:  {job.spec}, weights {weights}")
    print(f"device:    {job.device_type}: {job.device_reason}")
    print(f"precision: {job.precision}; evaluation in float32")
    print(f"numerics:  {used}")
    print(f"workers:   {runner.train_dataloader.num_workers} loader process(es)", flush=True)
