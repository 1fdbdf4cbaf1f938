"""What to know before believing a comparison: a list of sentences, empty if all is well."""

import pandas

PROVENANCE_TO_AGREE = {"version": "versions of fedcell", "git_commit": "commits of fedcell"}


def _several(names, at_most=4):
    names = list(map(str, names))
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more


def _left_out(runs):
    for path, reason in runs.set_aside:
        yield f"{path} is left out: {reason}."


def _unfinished(runs):
    for run in runs:
        if run.is_checkpoint:
            yield f"{runs.name_of(run)} is unfinished: {run.progress}."


def _of_different_programs(runs):
    for name, meaning in PROVENANCE_TO_AGREE.items():
        found = sorted({str(run.provenance.get(name, "unknown")) for run in runs})
        if len(found) > 1:
            yield f"The runs are of different {meaning}: {_several(found)}."
    lacking = [name for name in runs.settings if runs.settings[name].isna().any()]
    if lacking:
        yield f"Not every file knows these options, compared where known: {_several(lacking)}."


def _few_seeds(runs):
    single = [label for label, part in runs.groups.items() if len(part) == 1]
    if single:
        yield f"One run only, hence no interval: {_several(single)}."
    seeds = {label: {run.option("seed") for run in part} for label, part in runs.groups.items()}
    if len({frozenset(found) for found in seeds.values()}) > 1:
        yield "The groups have different seeds; differences are over those that both have."


def _not_numbers(runs):
    for run in runs:
        rounds, name = run.rounds, runs.name_of(run)
        if {"test_accuracy", "test_loss"} <= set(rounds):
            lost = rounds.index[rounds["test_accuracy"].notna() & rounds["test_loss"].isna()]
            yield from _lost(f"{name}: the test loss", lost)
        if "train_loss" in rounds and rounds["train_loss"].notna().any():
            trained = rounds["train_loss"][rounds.index > 0]
            yield from _lost(f"{name}: the training loss", trained.index[trained.isna()])


def _lost(what, rounds):
    if len(rounds) == 1:
        yield f"{what} is not a number in round {rounds[0]}."
    elif len(rounds):
        yield f"{what} is not a number in {len(rounds)} rounds, first in round {rounds[0]}."


def _undelivered(runs):
    for run in runs:
        rounds = run.rounds
        if {"participants", "delivered"} <= set(rounds):
            sent, arrived = rounds["participants"].sum(), rounds["delivered"].sum()
            if pandas.notna(sent) and sent > 0 and arrived == 0:
                yield f"{runs.name_of(run)}: not one update arrived."


def complaints(runs):
    checks = (
        _left_out,
        _unfinished,
        _of_different_programs,
        _few_seeds,
        _not_numbers,
        _undelivered,
    )
    return [text for check in checks for text in check(runs)]
