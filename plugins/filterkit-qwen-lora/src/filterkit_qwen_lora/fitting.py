"""The two ways to train a task: fine-tuning the base, and teaching the heads of a frozen one."""

from __future__ import annotations

from filterkit.api import StoppedEarly
from filterkit_qwen_lora.base import recompute_activations
from filterkit_qwen_lora.checkpoints import Checkpoints, Progress
from filterkit_qwen_lora.conductor import Conductor
from filterkit_qwen_lora.frozen import Embeddings, train_heads
from filterkit_qwen_lora.loop import Course, FineTuning, load_trained
from filterkit_qwen_lora.losses import F32
from filterkit_qwen_lora.options import STOPPED
from filterkit_qwen_lora.reading import features_of
from filterkit_qwen_lora.task import Task
from filterkit_qwen_lora.teaching import Learner
from filterkit_qwen_lora.tracking import Arguments, keep_logs_at, told_of


def fine_tune(task: Task, args: Arguments, start: Progress) -> Progress:
    """Train adapters or weights; the best epoch's are in the network then. Goes on from the newest checkpoint.

    start: how to take batches where there is no checkpoint to go on from. Raises StoppedEarly, ConfigError.
    """
    processes = task.machine.processes
    checkpoints = Checkpoints(task.context.workdir / "checkpoints", task.key)
    progress = checkpoints.latest() or start
    options = task.options
    if options.checkpointing is not None or options.micro_batch_tokens or options.gpu_memory:
        progress.budget, progress.checkpointing = start.budget, start.checkpointing  # as is said now
    processes.wait()  # all have looked before anything is removed
    if processes.first:
        checkpoints.keep({progress.step, progress.best_step})
    processes.wait()
    learner = Learner(task.network, task.lesson, task.machine)
    if not progress.finished:
        if progress.checkpointing:
            recompute_activations(task.network.transformer)
        course = Course(task.options, task.train, task.reader, _rates(task, learner), task.seed, task.context)
        loop = FineTuning(learner, course, args, checkpoints, progress)
        keep_logs_at(loop.callback_handler.callbacks, task.context.root / "runs" / str(args.run_name))
        conductor = Conductor(loop, lambda: task.judge(val_features(task)))
        loop.add_callback(conductor)
        with told_of(task.options.report_to):
            loop.train(resume_from_checkpoint=str(checkpoints.path(progress.step)) if progress.step else None)
        if conductor.stopped:
            raise StoppedEarly("training was stopped", fix=STOPPED)
    if progress.best_step is not None:
        load_trained(learner, checkpoints.path(progress.best_step))
    return progress


def train_frozen(task: Task) -> tuple[Progress, F32, F32]:
    """Embed every text once, teach the heads; gives the embeddings of the train and the val split, too."""
    embeddings = Embeddings(
        task.network, task.reader, task.machine, task.context.workdir / "embeddings", task.embeds, task.context
    )
    train, val = embeddings.of(list(task.train.tokens)), embeddings.of(list(task.val.tokens))
    progress = train_heads(task.judge, train, task.train, val, task.options, task.seed, task.context)
    return progress, train, val


def val_features(task: Task) -> F32:
    """What the heads read of the val split. Collective."""
    return features_of(task.network, task.reader, task.val.tokens, task.machine)


def _rates(task: Task, learner: Learner) -> dict[str, float]:
    """Learning rate of each of the learner's parameters.

    The plain head's goes with the scale: on one of 0 to 1 the same step would be ten times as far as on 0 to 10.
    """
    options, lesson = task.options, task.lesson
    plain = {id(parameter) for parameter in task.network.head.parameters()}
    rates = {}
    for name, parameter in learner.named_parameters():
        if id(parameter) in plain:
            rates[name] = options.head_learning_rate * (lesson.high - lesson.low) / 10
        else:
            rates[name] = options.head_learning_rate if name.startswith("network.histogram.") else options.rate
    return rates
