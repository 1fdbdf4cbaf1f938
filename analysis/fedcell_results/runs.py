"""Many result files: what their settings share, what tells them apart, and their tables as one."""

import collections.abc
import functools
import os
import pathlib

import pandas

from .run import ResultError, Run, option_text
from .summary import figure_units, summary_figures

METHODS, SEED = {"federation.method", "policy.agent"}, "seed"
# Options that change how a run is stored or where its inputs lie, never its numbers.
BOOKKEEPING = {"checkpoint.every_rounds", "model.cache", "model.scratch", "data.dir"}


def is_seed(option):
    """seed, data.seed, pretrain.seed: runs that differ only in these are repetitions."""
    return option.split(".")[-1] == "seed"


def _order(value):
    """Sorts numbers before texts, and what is missing last."""
    return (pandas.isna(value), isinstance(value, str), value)


class Runs(collections.abc.Sequence):
    """An immutable list of runs, grouped by what tells them apart apart from the seed.

    `set_aside` lists what open_folder found but left out: (path, why)."""

    def __init__(self, runs, set_aside=()):
        self._runs = tuple(runs)
        self.set_aside = tuple(set_aside)

    def __len__(self):
        return len(self._runs)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return Runs(self._runs[index], self.set_aside)
        return self._runs[index]

    def __repr__(self):
        aside = f", {len(self.set_aside)} set aside" if self.set_aside else ""
        return f"<Runs: {len(self)} in {len(self.groups)} groups{aside}>"

    # ---- names -----------------------------------------------------------------------------------

    @functools.cached_property
    def _names(self):
        stems = [run.path.stem for run in self]
        if len(set(stems)) == len(stems):
            return dict(zip(self, stems))
        folder = os.path.commonpath([run.path.absolute().parent for run in self])
        paths = [run.path.absolute().relative_to(folder).with_suffix("") for run in self]
        return dict(zip(self, map(str, paths)))

    def name_of(self, run):
        """The file's name, with as much of its path as it needs to be the only one."""
        return self._names[run]

    # ---- settings --------------------------------------------------------------------------------

    @functools.cached_property
    def settings(self):
        """One row a run, one column an option; NaN where a run's version did not have it."""
        rows = [run.settings for run in self]
        return pandas.DataFrame(
            rows, index=pandas.Index(self._names.values(), name="run"), dtype=object
        )

    @functools.cached_property
    def differing(self):
        """Names of the options that differ. One that some files lack (other versions of the
        program) differs only if it does among those that have it."""
        return [name for name in self.settings if self.settings[name].nunique() > 1]

    @property
    def common(self):
        """{option: value} of all that the runs share."""
        shared = self.settings.drop(columns=self.differing)
        return {
            name: shared[name].dropna().iloc[0] for name in shared if shared[name].notna().any()
        }

    @functools.cached_property
    def factors(self):
        """The fewest options that tell the runs apart but for their seed: those of `differing`
        that do not follow from the ones before. The method comes first."""
        names = [n for n in self.differing if not is_seed(n) and n not in BOOKKEEPING]
        kept = []
        for name in sorted(names, key=lambda n: n not in METHODS):
            kinds = len(self.settings[kept].drop_duplicates()) if kept else 1
            if len(self.settings[[*kept, name]].drop_duplicates()) > kinds:
                kept.append(name)
        return kept

    # ---- groups ----------------------------------------------------------------------------------

    def _label(self, values):
        """ "fedlora, rank 4": the method's name alone, other options with the end of theirs."""
        if not values:
            return self[0].label
        texts = []
        for name, value in values.items():
            short = name.split(".")[-1]
            if [f.split(".")[-1] for f in self.factors].count(short) > 1:
                short = name
            text = "not set" if pandas.isna(value) else option_text(value)
            texts.append(text if name in METHODS else f"{short} {text}")
        return ", ".join(texts)

    @functools.cached_property
    def groups(self):
        """{label: Runs that differ in their seed only}, in the order of the factors' values. Runs
        that are alike even in the seed are no repetitions: each is a group by its file's name."""
        kinds = {}
        for run in self:
            key = tuple(self.settings.loc[self.name_of(run), self.factors])
            kinds.setdefault(key, []).append(run)
        groups = {}
        for key in sorted(kinds, key=lambda values: [_order(value) for value in values]):
            label = self._label(dict(zip(self.factors, key)))
            if len({_repetition(run) for run in kinds[key]}) == len(kinds[key]):
                groups[label] = Runs(kinds[key])
            else:
                groups.update({self.name_of(run): Runs([run]) for run in kinds[key]})
        return groups

    @functools.cached_property
    def _group_of(self):
        return {run: label for label, runs in self.groups.items() for run in runs}

    def group_of(self, run):
        return self._group_of[run]

    def where(self, settings):
        """The runs with these values: where({"federation.method": "local", "seed": 1})."""
        found = [r for r in self if all(r.settings.get(n) == v for n, v in settings.items())]
        return Runs(found, self.set_aside)

    def distinct(self):
        """Without those that repeat the settings and the seed of an earlier one; they join
        `set_aside`. A run counted twice would make an interval too narrow."""
        kept, aside = {}, list(self.set_aside)
        for run in self:
            values = {n: v for n, v in run.settings.items() if n not in BOOKKEEPING}
            key = repr(sorted(values.items())) if values else run.path  # who knows
            twin = kept.setdefault(key, run)
            if twin is not run:
                aside.append((run.path, f"same settings and seed as {self.name_of(twin)}"))
        return Runs(kept.values(), aside)

    # ---- tables ----------------------------------------------------------------------------------

    def table(self):
        """One row a run, in the order of the groups: group, every setting, and the figures of
        summary.py; it can be grouped by any column. Units of the figures in attrs["units"]."""
        runs = [run for part in self.groups.values() for run in part]
        names = pandas.Index([self.name_of(run) for run in runs], name="run")
        groups = pandas.Series([self.group_of(run) for run in runs], names, name="group")
        figures = pandas.DataFrame([summary_figures(run) for run in runs], index=names)
        frame = pandas.concat([groups, self.settings.loc[names].infer_objects(), figures], axis=1)
        frame.attrs["units"] = figure_units(figures)
        return frame

    def _long(self, frames, options):
        """The runs' frames under each other, headed by run, group, seed and the options."""
        options = [SEED, *(options or self.factors)]
        parts = []
        for run, frame in zip(self, frames):
            part = frame.reset_index() if any(frame.index.names) else frame.copy()
            head = {"run": self.name_of(run), "group": self.group_of(run)}
            head.update({name: run.settings.get(name) for name in options})
            for place, (name, value) in enumerate(head.items()):
                part.insert(place, name, value)
            parts.append(part)
        joined = pandas.concat(parts, ignore_index=True) if parts else pandas.DataFrame()
        for key in ("units", "descriptions"):
            joined.attrs[key] = {n: v for f in frames for n, v in f.attrs.get(key, {}).items()}
        return joined

    def rounds(self, *options):
        """The rounds of all runs, one row a run and round; options: more settings as columns
        (default: those that tell the runs apart)."""
        return self._long([run.rounds for run in self], options)

    def trials(self, *options):
        """One row a run, trial and round; of policies alone."""
        judged = Runs([run for run in self if run.trials is not None])
        return judged._long([run.trials for run in judged], options)

    def participation(self, *options):
        """One row a run, round and participant."""
        return self._long([run.participation for run in self], options)

    def profile(self, *options):
        """One row a run and device."""
        return self._long([run.profile for run in self], options)


def _repetition(run):
    return tuple(value for name, value in run.settings.items() if is_seed(name))


def open_folder(folder):
    """All results below a folder, by path. Unfinished runs (checkpoints), damaged files and those
    of other programs are not among them but in `set_aside`, each with the reason."""
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise ResultError(f"{folder}: no such folder")
    return open_files(sorted(folder.rglob("*.h5")))


def open_files(paths):
    """Like open_folder, for a list of files."""
    runs, aside = [], []
    for path in dict.fromkeys(map(pathlib.Path, paths)):
        try:
            run = Run(path)
            if run.is_checkpoint:
                aside.append((path, f"unfinished: {run.progress}"))
            elif run.config is not None and run.provenance is not None:  # all is readable
                runs.append(run)
        except ResultError as error:
            aside.append((path, str(error).removeprefix(f"{path}: ")))
    return Runs(runs, aside)
