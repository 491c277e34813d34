"""`tinyae train MODEL`: build a model, train it on a data set, and write a run folder; `tinyae train --resume RUN`."""

from __future__ import annotations

import argparse
import inspect
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from tinyae import optim
from tinyae.autodiff import Tensor
from tinyae.backend import backend_named
from tinyae.checks import number, reading
from tinyae.cli.arguments import (
    Parser,
    Setting,
    add_arguments,
    add_option,
    add_options,
    flag_of,
    headed,
    settings_of,
)
from tinyae.cli.config import UNFINISHED, card, settings_text
from tinyae.cli.options import (
    GROUPS,
    THREADS,
    arguments_from,
    check_data,
    class_count,
    feature_errors,
    metrics_table,
    open_run,
    pictures_as,
    remark,
    table_as,
    windows_as,
)
from tinyae.cli.seeds import train_seeds
from tinyae.data import Dataset
from tinyae.models import MODELS, AnomalyDetector, Autoencoder, ModelEntry, StackedAutoencoder, build
from tinyae.training import (
    Checkpoint,
    EarlyStopping,
    History,
    Run,
    TrainingDiverged,
    TrainingInterrupted,
    TrainingState,
    draw_run,
    evaluate,
    fit,
    fit_stack,
    fit_stack_classifier,
    report,
    whole_history,
)
from tinyae.training.applied import check_fits, described, lasting, load_data
from tinyae.training.metrics import compare
from tinyae.training.pictures import draw_reconstructions
from tinyae.training.run import CARD, CHECKPOINT, SETTINGS, RunCheckpoint, environment

# ---------------------------------------------------------------------------------------------------------------------
# The command: check all options and the data, then train, evaluate, draw.


DATA = "NAME|FILE|DIR, a data set listed by `tinyae data`, a table, a .npy, .npz or IDX file, or a folder of pictures."
CONFIG = Setting("config", None, str, "FILE, settings, and maybe the model, from the run.toml of a run")
"""Replaced by `tinyae.cli.config.expanded` before the words are parsed."""

OF_RUN = (
    CONFIG,
    Setting("seed", 0, int, "random seed for weights and the order of samples"),
    Setting("seeds", None, int, "train N runs, with this seed and the next ones, in parallel processes"),
    settings_of(open_run)["device"],
    replace(THREADS, default=argparse.SUPPRESS),  # maybe given before MODEL
    Setting("out", None, Path, "DIR, run folder (default: runs/MODEL-DATA, numbered if taken)"),
    Setting(
        "validation", None, float, "SHARE, share of the training samples to choose by, not trained on (default: none)"
    ),
    replace(settings_of(EarlyStopping)["patience"], default=None),
    Setting("force", False, bool, "replace an existing run in --out"),
    settings_of(Checkpoint)["minutes"],
)
"""Options of every model."""


def register(commands: Any) -> None:
    """Add `train` with one sub-command per model."""
    command = commands.add_parser("train", help="train a model and write metrics and pictures to a run folder")
    add_arguments(command, resume, {resume: "continue a run"})
    add_option(command, THREADS)
    add_option(command, CONFIG)
    command.set_defaults(run=lambda options: resume(**_given_to(resume, options)))
    models = command.add_subparsers(title="models", dest="model", metavar="MODEL")
    for entry in MODELS.values():
        models.add_parser(
            entry.name, help=entry.title, description=f"Train: {entry.title}.", fill=partial(add_model, entry=entry)
        )


def model_parser(model: str) -> Parser:
    """The parser of the options of a model."""
    return Parser(fill=partial(add_model, entry=MODELS[model])).filled()


def add_model(parser: Parser, entry: ModelEntry) -> None:
    """The options of one model: those of its builder, and those common to all models."""
    add_options(parser, [Setting("data", entry.data, str, DATA)])
    for function, heading in GROUPS.items():
        add_options(headed(parser, heading), settings_of(function).values())
    for setting in OF_RUN:
        add_option(parser, setting)
    add_training_options(parser, entry)
    settings = [s for s in settings_of(entry.builder).values() if s.name not in _FROM_DATA]
    add_options(parser.add_argument_group("model"), settings)
    parser.set_defaults(run=run, settings=settings)
    if entry.labeled:
        group = parser.add_argument_group("classifier, if the data have labels")
        add_options(group, [Setting(name, STAGE_EPOCHS, int, f"epochs for {what}") for name, what in _STAGES.items()])


_FROM_DATA = ("input_shape", "sample", "classes", "generator")
"""Arguments of a builder that come from the data and the seed, not from options."""


def model_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """The arguments of the builder, defaults included so that a saved run does not depend on them; None is left out."""
    values = {s.name: s.default if (v := getattr(options, s.name)) is None else v for s in options.settings}
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items() if v is not None}


def run(options: argparse.Namespace) -> None:
    """Check all options and the data, then create the folder, train, evaluate, draw."""
    if options.seeds is not None:
        train_seeds(options)
        return
    if options.resume is not None:
        raise ValueError(f"--resume {options.resume} continues a run with its own model: leave {options.model} out.")
    device = backend_named(options.device).name
    entry = MODELS[options.model]
    options.data = entry.data if options.data is None else options.data
    settle_training(options, entry)
    windows = windows_as(**_given_to(windows_as, options))
    check_sequence_options(options, windows)
    how = {
        "data_options": pictures_as(**_given_to(pictures_as, options)), "table": table_as(**_given_to(table_as, options)),
        "windows": windows, "validation": options.validation, "patience": options.patience, "threads": getattr(options, "threads", None),
    }  # fmt: skip
    config: dict[str, Any] = {
        "model": options.model, "data": lasting(options.data), "device": device, "seed": options.seed,
    }  # fmt: skip
    config |= {name: value for name, value in how.items() if value}
    check_patience(config, entry)
    data = load_data(config | {"data": options.data})
    arguments = model_arguments(options) | arguments_from(data, entry)
    suit_range(options, data, arguments)
    settle_future(options, data, arguments)
    if entry.labeled and data.has_labels:
        arguments["classes"] = class_count(data)
    config["arguments"] = arguments
    config |= {name: getattr(options, name) for name in (*_ALWAYS, *(_STAGES if entry.labeled else ()))}
    config |= {name: value for name in _IF_GIVEN if (value := getattr(options, name)) is not None}
    config |= described(data)
    model, data = _prepared(config, data)
    settle_epochs(options, config, len(data.train))
    config["environment"] = environment(data, device)
    folder = Run.create(options.out, config, force=options.force)
    print(_headline(options.model, model, data, device))
    remark(data)
    print(f"run folder: {folder.path}")
    _train(model, data, folder, RunCheckpoint(folder, model, options.minutes), None)


LEAST_STEPS = 2000
"""Steps of a stage of training, at least, if the number of epochs is not given: a small set has few steps in an epoch."""


def settle_epochs(options: argparse.Namespace, config: dict[str, Any], samples: int) -> None:
    """Train for at least `LEAST_STEPS` steps where the number of epochs was not given; L-BFGS counts iterations instead."""
    steps = -(-samples // config["batch_size"]) if config["batch_size"] else LEAST_STEPS
    for name in ("epochs", *_STAGES):
        if name in config and name in options.usual and config[name] * steps < LEAST_STEPS:
            config[name] = -(-LEAST_STEPS // steps)
            print(
                f"{flag_of(name)} {config[name]}: for {LEAST_STEPS:,} steps at least, and an epoch has {steps:,} here"
            )


def check_patience(config: Mapping[str, Any], entry: ModelEntry) -> None:
    """Raise ValueError for --validation or --patience where they have no meaning, and for a share that is none."""
    number("--validation", config.get("validation", 0.5), above=0.0, below=1.0, advice="0.1 is usual")
    if "validation" in config and not entry.held_out:
        raise ValueError(f"--validation has no effect on {entry.name}, which holds nothing out: leave it out.")
    if "patience" in config and entry.labeled:
        raise ValueError(f"--patience ends one stage of training, and {entry.name} has several: leave it out.")
    if "patience" in config and "validation" not in config:
        raise ValueError("--patience needs samples to choose by: add, e.g., --validation 0.1.")


BOUNDED = {"loss": ("bce", "squared_error"), "likelihood": ("gray-bce", "gaussian")}
"""Settings whose default is for values in [0, 1], and what is for all values."""


def suit_range(options: argparse.Namespace, data: Dataset, arguments: dict[str, Any]) -> None:
    """Choose the loss by the range of the training data, unless it was given: one for values in [0, 1] only where they lie there.

    Scaled values are not bounded, whatever their range: others are scaled by the range of the training part.
    """
    low, high = float(data.train.source.min()), float(data.train.source.max())
    scaled = data.scaler is not None and data.scaler.fitted
    for name, (bounded, general) in BOUNDED.items():
        if arguments.get(name) == bounded and getattr(options, name) is None and (scaled or low < 0.0 or high > 1.0):
            arguments[name] = general
            inside = low >= 0.0 and high <= 1.0
            why = "other samples may lie outside" if inside else f"the values go from {low:.4g} to {high:.4g}"
            print(f"{flag_of(name)} {general}: {why}, and {bounded} is for 0 to 1")


_ALWAYS = ("epochs", "batch_size", "optimizer", "lr", "schedule", "clip_norm", "seed")
_STAGES = {"classifier_epochs": "the classifier on frozen codes", "tuning_epochs": "fine-tuning"}
STAGE_EPOCHS = 20


def resume(*, resume: Path | None = None, epochs: int | None = None, allow_changes: bool = False) -> None:
    """Continue a run from its last checkpoint.

    Args:
        resume: RUN, continue this run from its last checkpoint, as if it had never stopped.
        epochs: N, lengthen the run to N epochs in all; of stacked, not possible.
        allow_changes: continue although data, versions, processor or device differ, which may change last bits.
    """
    if resume is None:
        raise ValueError("give a MODEL to train, or --resume RUN to continue a run; see `tinyae train --help`.")
    folder = Run.open(resume, write=True)
    config = folder.config
    if "environment" not in config:
        raise ValueError(f"{folder.path} was trained by a version that kept no state to continue from: train it again.")
    data = load_data(config)
    model, data = _prepared(config, data)
    if MODELS[config["model"]].held_out:
        check_fits(config, model, data)
    here = environment(data, config["device"])
    changed = [
        f"{name} ({config['environment'].get(name)}, now {here[name]})"
        for name in here
        if here[name] != config["environment"].get(name)
    ]
    if changed and not allow_changes:
        raise ValueError(
            f"{folder.path} would not continue as it began, since this differs: {'; '.join(changed)}. Continue all the same, with "
            "other rounding or other data, by --allow-changes."
        )
    state, extra = folder.state()
    if state is not None:
        with reading(folder.path / CHECKPOINT, "the state of this run", "train it again"):
            _try_state(config, model, data, state)
    config["environment"] = here
    if epochs is not None:
        state = _lengthened(config, model, state, epochs)
    checkpoint = RunCheckpoint(folder, model, config.get("minutes"), **extra)
    print(_headline(config["model"], model, data, config["device"]))
    print(f"run folder: {folder.path}, continued {_place(state)}")
    _train(model, data, folder, checkpoint, state)


def _try_state(config: dict[str, Any], model: Any, data: Dataset, state: TrainingState) -> None:
    """Raise some exception if a run cannot continue from this state; `fit` does the same without knowing the file."""
    state.model.restore(model)
    np.random.default_rng().bit_generator.state = state.order_generator
    order = np.arange(0) if state.position is None else state.position["order"]
    if order.dtype.kind not in "iu" or not set(order) <= set(range(len(data.train))):
        raise ValueError("the order of the samples is not one of these data")
    if not state.stage:  # each stage of a stack has its own optimizer
        optimizer = make_optimizer(config, model.parameters())
        schedule = make_schedule(config, optimizer, config["epochs"])
        if schedule is not None and state.schedule is not None:
            schedule.load_state_dict(state.schedule)
        optimizer.load_state_dict(state.optimizer)


def _place(state: TrainingState | None) -> str:
    """Where a run continues, in words."""
    if state is None:
        return "from the beginning: it has no complete epoch"
    middle = "" if state.position is None else f" and {state.position['seen']:,} samples of the next"
    return f"after epoch {state.epoch}{middle}{state.stage and f' of {state.stage}'}"


def _lengthened(
    config: dict[str, Any], model: Autoencoder, state: TrainingState | None, epochs: int
) -> TrainingState | None:
    """Set the number of epochs of a run; its schedule goes on as that of a run of so many epochs."""
    if MODELS[config["model"]].labeled:
        raise ValueError(
            "--epochs cannot lengthen a stack, whose layers are trained one after another: train a new one."
        )
    if state is not None and epochs <= state.epoch:
        raise ValueError(f"the run has {state.epoch} complete epochs already, got --epochs {epochs}: give more.")
    before, config["epochs"] = config["epochs"], epochs
    if state is None or state.schedule is None:
        return state
    optimizer = make_optimizer(config, model.parameters())
    schedule = make_schedule(config, optimizer, epochs)
    assert schedule is not None
    stretched = _with_place(schedule.state_dict(), state.schedule)
    schedule.load_state_dict(stretched)
    if config["schedule"] == "cosine":
        print(
            f"cosine schedule: from here on the learning rate is that of a run of {epochs} epochs, not {before}: "
            f"it goes on at {optimizer.lr:.3g}, after {state.optimizer['lr']:.3g}"
        )
    return replace(state, schedule=stretched, optimizer=state.optimizer | {"lr": optimizer.lr}, ended=False)


def _with_place(fresh: dict[str, Any], saved: dict[str, Any]) -> dict[str, Any]:
    """The state of a new schedule at the step and with the base rate of a saved one."""
    after = {"after": _with_place(fresh["after"], saved["after"])} if "after" in fresh else {}
    return fresh | {name: saved[name] for name in ("steps", "base_lr")} | after


def _prepared(config: dict[str, Any], data: Dataset) -> tuple[Any, Dataset]:
    """The untrained model of a run on its device, and the samples it is trained and tested on."""
    model = build(config["model"], config["arguments"], np.random.default_rng(config["seed"])).to(config["device"])
    data = data if MODELS[config["model"]].held_out else _first(data, model)
    check_data(data, model)
    return model, data


def _train(model: Any, data: Dataset, folder: Run, checkpoint: RunCheckpoint, state: TrainingState | None) -> None:
    """Train as the run's configuration says, from the beginning or from a state; then evaluate and draw."""
    started, config = time.perf_counter(), folder.config
    trainer = train_stacked if MODELS[config["model"]].labeled else _fit
    of_run = partial(card, config, model, data, _headline(config["model"], model, data, config["device"]))
    without_effect = _OPTIONAL if config["optimizer"] == "lbfgs" else ()
    settings = {name: value for name, value in config.items() if name not in without_effect}

    def drawn(report: str) -> list[Path]:
        files = draw_run(model, data, history, folder.path)
        folder.describe({CARD: of_run(report, files)})
        return files

    try:
        folder.describe(
            {SETTINGS: settings_text(settings, model_parser(config["model"])), CARD: of_run(UNFINISHED, ())}
        )
        history = trainer(model, data, folder, checkpoint, state)
    except (TrainingInterrupted, TrainingDiverged) as stop:
        if len(history := stop.history):
            folder.keep(model, history)
            folder.draw(partial(drawn, UNFINISHED))
            stop.args = (f"{stop} Continue with `tinyae train --resume {folder.path}`.",)
        elif "replaces" in folder.manifest:
            stop.args = (f"{stop} The old run in {folder.path} is as it was.",)
        folder.forget()
        raise
    except BaseException:
        folder.forget()
        raise
    if MODELS[config["model"]].held_out:
        folder.keep_scores(AnomalyDetector(model).score(data.train))
    print(f"\ntrained in {time.perf_counter() - started:.1f} s", end="; ")
    print(text := _report(model, data, history))
    folder.describe({CARD: of_run(text, ())})  # if drawing is killed
    for file in folder.draw(partial(drawn, text)):
        print(f"picture: {file}")
    folder.close()


def _given_to(function: Callable[..., Any], options: argparse.Namespace) -> dict[str, Any]:
    """The values of the options that are parameters of a function, as far as they were given."""
    values = {name: getattr(options, name) for name in inspect.signature(function).parameters}
    return {name: value for name, value in values.items() if value is not None}


def _fit(model: Any, data: Dataset, folder: Run, checkpoint: RunCheckpoint, state: TrainingState | None) -> History:
    """Train all parameters at once, as for most models."""
    config = folder.config
    stop = EarlyStopping(patience=config["patience"]) if "patience" in config else None
    if state is not None and state.is_complete(config["epochs"]):
        print("nothing is left to train; --epochs N lengthens the run")
        state.model.restore(model)
        history = History(state.units, state.rows)
        folder.keep(model, history)
        if stop is not None:
            stop.load_state_dict(state.callbacks[0])
    else:
        optimizer = make_optimizer(config, model.parameters())
        history = fit(
            model, data, data if len(data.test) else None, epochs=config["epochs"], optimizer=optimizer,
            schedule=make_schedule(config, optimizer, config["epochs"]), callbacks=[stop] if stop else [],
            checkpoint=checkpoint, start=state, **stage_arguments(config),
        )  # fmt: skip
    if stop is not None:
        model.load_state_dict(stop.best_state)
        folder.keep(model, history)
        print(f"kept: the weights of epoch {stop.best_epoch}, with the lowest validation loss, {stop.best:.5g}")
    return history


def _first(data: Dataset, memory: Any) -> Dataset:
    """The data with only the first training samples, as many as the memory has room for, and no test samples."""
    count = memory.count
    if count > len(data.train):
        raise ValueError(
            f"{data.name} has {len(data.train)} training samples, too few for a memory of {count}: choose a smaller --count."
        )
    return replace(data, train=data.train.rows(slice(0, count)), test=data.test.rows(slice(0, 0)))


def _headline(name: str, model: Autoencoder, data: Dataset, device: str) -> str:
    tested = f" and {len(data.test):,} test" if len(data.test) else ""
    scaled = f", scaling {data.scaler.method}" if data.scaler is not None and data.scaler.fitted else ""
    return (
        f"{name} autoencoder, {model.parameter_count():,} parameters, on {data.name} "
        f"({len(data.train):,} training{tested} {model.sample_name}s "
        f"of {' x '.join(map(str, data.example_shape))}{scaled}), loss in {model.loss_unit}, {device}"
    )


def _report(model: Autoencoder, data: Dataset, history: History) -> str:
    """The metrics after training, and what they are to be compared with."""
    first = "a memory is evaluated on its training samples; there is no test set"
    if len(data.test):
        first = f"the test {model.sample_name}s were not used for any decision"
    found = {name: evaluate(model, part) for name, part in (("train", data.train), ("test", data.test)) if len(part)}
    lines = report(model, data, history, list(found.values())[-1]["squared_error"])
    return "\n".join([first, metrics_table(found), *feature_errors(model, data), *lines])


# ---------------------------------------------------------------------------------------------------------------------
# `tinyae train stacked`: layer by layer, then the classifier, then fine-tuning.


def train_stacked(
    model: StackedAutoencoder, data: Dataset, folder: Run, checkpoint: RunCheckpoint, state: TrainingState | None
) -> History:
    """Train each layer on the codes of the layers below; with a classifier, print its accuracy before and after fine-tuning.

    The run folder is updated after every stage, too. The checkpoint holds the histories of the complete ones.
    """
    config = folder.config
    done: list[list[Any]] = checkpoint.extra.setdefault("stages", [])
    stages = [(name, History(units, rows)) for name, units, rows in done]

    def with_current(state: TrainingState) -> History:
        return whole_history([*stages, (state.stage, History(state.units, state.rows))])

    checkpoint.history = with_current

    def keep(name: str, history: History) -> None:
        stages.append((name, history))
        done.append([name, history.units, history.rows])
        folder.keep(model, whole_history(stages))

    common: dict[str, Any] = stage_arguments(config) | {
        "optimizer": partial(make_optimizer, config),
        "schedule": partial(make_schedule, config),
        "checkpoint": checkpoint,
    }
    of_layers = state is None or state.stage.startswith("layer")
    try:
        if of_layers:
            fit_stack(
                model, data, epochs=config["epochs"], start=state,
                after_layer=lambda number, history: keep(f"layer {number}", history), **common,
            )  # fmt: skip
        if model.classifier is None:
            print(f"{data.name} has no labels, so no classifier is trained")
            return whole_history(stages)
        if of_layers and data.frame_shape is None:
            picture = folder.path / "reconstructions.png"
            layerwise = "each layer minimizes its own loss, on the codes of those below"
            print("\nbefore fine-tuning:", *compare(model, data, layerwise), sep="\n")
            print(f"picture: {folder.draw(lambda: [draw_reconstructions(model, data, picture)])[0]}")
        fit_stack_classifier(
            model, data.train, data, epochs=(config["classifier_epochs"], config["tuning_epochs"]),
            start=None if of_layers else state, after_stage=keep, **common,
        )  # fmt: skip
    except (TrainingInterrupted, TrainingDiverged) as stop:
        if stop.history.state is not None:
            stop.history = with_current(stop.history.state)
        raise
    assert data.test.y is not None
    print(
        "\nfine-tuning changes the encoders and not the decoders, so reconstructions after it mean nothing: judge the codes"
    )
    before = dict(stages)["classifier"].last["test_accuracy"]
    after = model.classifier.accuracy(data.test.x, data.test.y)
    print(f"\ntest accuracy of the classifier on the frozen codes: {before:.2%}; after fine-tuning: {after:.2%}")
    return whole_history(stages)


# ---------------------------------------------------------------------------------------------------------------------
# Training options: epochs, batches, optimizer, schedule.

OPTIMIZERS: dict[str, type[optim.Optimizer]] = {
    "adam": optim.Adam, "adamw": optim.AdamW, "sgd": optim.SGD, "rmsprop": optim.RMSprop, "adagrad": optim.Adagrad,
    "lbfgs": optim.LBFGS,
}  # fmt: skip
SCHEDULES: dict[str, type[optim.Schedule]] = {
    "constant": optim.Schedule, "cosine": optim.CosineLR, "step": optim.StepLR, "warmup": optim.WarmupLR
}  # fmt: skip

CHOSEN = {
    name: settings_of(kind)[name]
    for kind, names in (
        (optim.SGD, ("lr", "momentum", "nesterov")),
        (optim.CosineLR, ("final_lr",)),
        (optim.StepLR, ("step_size", "gamma")),
        (optim.WarmupLR, ("warmup_steps",)),
    )
    for name in names
}
"""The settings of optimizers and schedules that are options."""

_OPTIONAL = ("batch_size", "drop_last", "schedule", "clip_norm", *CHOSEN)
"""Settings without effect on lbfgs."""

_OF_FIT = settings_of(fit)
_IF_GIVEN = (*CHOSEN, "minutes", "drop_last")


def takers(name: str) -> tuple[str, list[str]]:
    """The option that a setting belongs to, "optimizer" or "schedule", and the choices that accept the setting."""
    if name == "warmup_steps":  # a warmup may precede any schedule
        return "schedule", ["warmup", "cosine", "step"]
    tables: dict[str, Mapping[str, type]] = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES}
    able = {
        key: [n for n, kind in t.items() if name in inspect.signature(kind).parameters] for key, t in tables.items()
    }
    return next((key, names) for key, names in able.items() if names)


def add_training_options(parser: Parser, entry: ModelEntry) -> None:
    """The options of `tinyae.fit`, of the optimizers and of the schedules, with the model's own defaults."""
    usual: dict[str, Any] = {"epochs": entry.epochs, "batch_size": entry.batch_size, "lr": entry.lr}
    described = {n: replace(s, text=f"{', '.join(takers(n)[1])}: {s.text}") for n, s in CHOSEN.items() if n != "lr"}
    group = parser.add_argument_group("training")
    add_options(group, [_OF_FIT["epochs"], _OF_FIT["batch_size"], _OF_FIT["drop_last"]], usual)
    rules = Annotated[str, OPTIMIZERS]
    add_option(group, Setting("optimizer", entry.optimizer, rules, "update rule of the parameters"))
    add_options(group, [CHOSEN["lr"], described["momentum"], described["nesterov"], _OF_FIT["clip_norm"]], usual)
    group = parser.add_argument_group("learning-rate schedule", "one step is one epoch")
    shapes = "constant; cosine: to 0 at the last epoch; step: a staircase; warmup: a linear ramp first"
    add_options(group, [Setting("schedule", "constant", Annotated[str, SCHEDULES], shapes)])
    add_options(group, [setting for name, setting in described.items() if takers(name)[0] == "schedule"])


def settle_training(options: argparse.Namespace, entry: ModelEntry) -> None:
    """Fill in the defaults of options that were not given, and check all of them before any file is read or written.

    Raises:
        ValueError: an option has no effect with this optimizer or schedule, one is missing, or a number is out of range.
    """
    given = [name for name in _OPTIONAL if getattr(options, name) is not None]
    if options.optimizer == "lbfgs" and given:
        raise ValueError(
            f"{flag_of(given[0])} has no effect with lbfgs, which uses all samples at once and a line search: "
            "leave it out, or use --optimizer adam."
        )
    usual: dict[str, Any] = {"epochs": entry.epochs, **(dict.fromkeys(_STAGES, STAGE_EPOCHS) if entry.labeled else {})}
    options.usual = {name for name in usual if getattr(options, name) is None}
    usual |= {
        "batch_size": None if options.optimizer == "lbfgs" else entry.batch_size,
        "lr": entry.lr,
        "schedule": "constant",
    }
    for name, value in usual.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    for name, setting in CHOSEN.items():
        choice, able = takers(name)
        chosen, needed = getattr(options, choice), setting.default is inspect.Parameter.empty and choice == "schedule"
        if name in given and chosen not in able:
            raise ValueError(
                f"{flag_of(name)} has no effect with --{choice} {chosen}: leave it out, or use --{choice} {able[0]}."
            )
        if needed and name not in given and chosen == able[0]:
            raise ValueError(
                f"--{choice} {chosen} needs {flag_of(name)}, a number of epochs: add, e.g., {flag_of(name)} 5."
            )
        if chosen in able and getattr(options, name) is None and setting.default is not inspect.Parameter.empty:
            setattr(options, name, setting.default)
    for name, value in (("clip_norm", options.clip_norm), ("--checkpoint-minutes", options.minutes)):
        if value is not None:
            number(name, value, above=0.0)
    trial = make_optimizer(vars(options), [Tensor(np.zeros(1, np.float32), requires_grad=True)])
    for name in ("epochs", *(_STAGES if entry.labeled else ())):
        make_schedule(vars(options), trial, getattr(options, name), flag_of(name))


def stage_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `fit` that are the same for every stage of training."""
    given = {name: config[name] for name in ("batch_size", "clip_norm", "seed")}
    return given | {"drop_last": config.get("drop_last", False)}


def _given(config: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """The settings of an optimizer or schedule that are not None."""
    names = CHOSEN.keys() & inspect.signature(kind).parameters.keys()
    return {name: value for name in names if (value := config.get(name)) is not None}


def make_optimizer(config: Mapping[str, Any], parameters: Iterable[Tensor]) -> optim.Optimizer:
    """The chosen optimizer for these parameters."""
    kind: Callable[..., optim.Optimizer] = OPTIMIZERS[config["optimizer"]]
    return kind(parameters, **_given(config, OPTIMIZERS[config["optimizer"]]))


def make_schedule(
    config: Mapping[str, Any], optimizer: optim.Optimizer, epochs: int, flag: str = "--epochs"
) -> optim.Schedule | None:
    """The chosen learning-rate schedule, None for a constant learning rate; `flag` is the option that sets the epochs."""
    ramp: int | None = config.get("warmup_steps")
    after: optim.Schedule | None = None
    if config["schedule"] == "cosine":  # the last step of the warmup is the first of the schedule
        if ramp and ramp > epochs:
            raise ValueError(
                f"--warmup-steps is at most {epochs}, as {flag}, before a cosine schedule, got {ramp}: choose fewer."
            )
        after = optim.CosineLR(optimizer, epochs - ramp + 1 if ramp else epochs, **_given(config, optim.CosineLR))
    elif config["schedule"] == "step":
        after = optim.StepLR(optimizer, **_given(config, optim.StepLR))
    return optim.WarmupLR(optimizer, ramp, after) if ramp else after


# ---------------------------------------------------------------------------------------------------------------------
# Options of sequence models that depend on each other or on the data.


def check_sequence_options(options: argparse.Namespace, windows: dict[str, Any] | None) -> None:
    """Raise ValueError for options that would have no effect: an option without effect is an error."""
    horizon = (windows or {}).get("horizon")
    asked = getattr(options, "future_steps", None)
    if horizon is not None and not _predicts(options):
        raise ValueError(
            f"--horizon {horizon} adds {horizon} steps to predict to each window, but this model does not predict: "
            "leave it out, or train lstm with --mode predict or composite."
        )
    if horizon is not None and asked not in (None, horizon):
        raise ValueError(f"--horizon {horizon} and --future-steps {asked} contradict each other: give one of them.")
    usual = next((setting.default for setting in options.settings if setting.name == "teacher_epochs"), None)
    if getattr(options, "teacher_epochs", None) not in (None, usual) and options.feeding != "scheduled":
        raise ValueError(
            "--teacher-epochs has no effect without scheduled sampling: add --conditional --feeding scheduled."
        )
    if options.model == "lstm" and options.dropout and options.num_layers in (None, 1):
        raise ValueError("--dropout acts between layers, but there is only one: add --layers 2, or leave it out.")


def settle_future(options: argparse.Namespace, data: Dataset, arguments: dict[str, Any]) -> None:
    """Set the default number of steps to predict: the horizon of the data, else a quarter of the shortest sequence."""
    if not _predicts(options):
        return
    if data.horizon:
        arguments.setdefault("future_steps", data.horizon)
    ends = [split.lengths.min() for split in (data.train, data.test) if split.lengths is not None]
    if ends:
        arguments.setdefault("future_steps", max(1, int(min(ends)) // 4))


def _predicts(options: argparse.Namespace) -> bool:
    return getattr(options, "mode", None) in ("predict", "composite")
