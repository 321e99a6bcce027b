"""Runs and resolved configs of a task, in this process."""

from support.runners import forget_runs


def run_task(task, data, work_dir, *options, budget="smoke", config="mini"):
    """Run a task on a data folder; return its exit status."""
    from engine.task import main

    forget_runs()
    common = [config, "--data", str(data), "--work-dir", str(work_dir), "--budget", budget]
    return main(task, [*common, *map(str, options)])


def refusal_of(task, data, work_dir, *options, capsys, shows_tree=False, budget="smoke"):
    """Run a task, expect exit status 2 and no result, and return the error message.

    Args:
        shows_tree: Whether the message may have several lines, which show the expected folders.
    """
    status = run_task(task, data, work_dir, *options, budget=budget)
    error = capsys.readouterr().err
    assert status == 2, error
    assert not (work_dir / "result.json").exists()
    assert "Traceback" not in error
    message = error[error.index("error: ") + 7 :].strip()
    assert shows_tree or "\n" not in message
    return message


def resolved(
    task, data, work_dir, config="mini", backbone=None, checkpoint=None, tricks=(), **set_
):
    """Return a task's config with a network of random weights, or with those of a checkpoint."""
    from engine.cli import Options
    from engine.job import resolve_job
    from engine.task import prepare

    options = Options(
        config=str(config),
        data=data,
        work_dir=work_dir,
        backbone=backbone,
        checkpoint=checkpoint,
        precision="fp32",
        tricks=tuple(tricks),
        overrides=set_,
    )
    return prepare(task, resolve_job(options))
