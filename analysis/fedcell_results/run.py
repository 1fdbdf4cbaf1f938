"""One result file: groups of columns as frames, provenance and configuration."""

import functools
import pathlib
import re

import h5py
import pandas
import yaml

FORMAT = 1  # of the file's layout, its root attribute fedcell_format; newer ones are refused

# An option whose value is drawn for each device is a mapping of one of these: {uniform: [a, b]}.
DISTRIBUTIONS = {"uniform", "log_uniform", "normal", "choice"}


class ResultError(Exception):
    """The file is no readable fedcell result; the text says why and names the file."""


class _Loader(yaml.SafeLoader):
    """YAML as libyaml's users write numbers: 2e7 is a number, for PyYAML alone it is a text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def _text(value):
    """HDF5 strings come as str or, of fixed length, as bytes; numbers stay numbers."""
    if isinstance(value, bytes):
        return value.decode("utf-8")
    return value.item() if hasattr(value, "item") else value


def option_text(value):
    """A value as --set takes it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {option_text(v)}" for name, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(option_text, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return '""' if value == "" else str(value)


def _flatten(section, prefix=""):
    """Options by their dotted names. Lists and distributions become texts, as --set takes them, so
    that frames can be grouped by any option."""
    for name, value in section.items():
        if isinstance(value, dict) and not DISTRIBUTIONS & value.keys():
            yield from _flatten(value, f"{prefix}{name}.")
        elif isinstance(value, (dict, list)):
            yield prefix + name, option_text(value)
        else:
            yield prefix + name, value


class Run:
    """A result file, read once for each part that is asked for; the file is not kept open."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        if not self.path.is_file():
            raise ResultError(f"{self.path}: no such file")
        if not h5py.is_hdf5(self.path):
            raise ResultError(f"{self.path}: not an HDF5 file")
        with self._open() as file:
            if "rounds" not in file:
                raise ResultError(f"{self.path}: not a fedcell result (no group /rounds)")
            self.format = _text(file.attrs.get("fedcell_format", FORMAT))
            self.is_checkpoint = "state" in file
        if self.format > FORMAT:
            raise ResultError(
                f"{self.path}: of format {self.format:g}; this reader knows formats up to {FORMAT}"
            )

    def _open(self):
        try:
            return h5py.File(self.path, "r")
        except OSError as error:
            raise ResultError(f"{self.path}: cannot be read: {error}") from error

    def frame(self, group, index=None):
        """The columns of a group as a frame; units and descriptions in its attrs.

        An absent group gives an empty frame: not every method has participants or profiles.
        """
        columns, units, descriptions = {}, {}, {}
        with self._open() as file:
            for name, dataset in file[group].items() if group in file else ():
                if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 1:
                    continue
                try:
                    columns[name] = dataset[:]
                except OSError as error:
                    raise ResultError(f"{self.path}: /{group}/{name}: {error}") from error
                units[name] = _text(dataset.attrs.get("unit", ""))
                descriptions[name] = _text(dataset.attrs.get("description", ""))
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ResultError(f"{self.path}: columns of /{group} differ in length: {lengths}")
        frame = pandas.DataFrame(columns)
        if index in frame:
            frame = frame.set_index(index)
        frame.attrs = {"units": units, "descriptions": descriptions, "path": str(self.path)}
        return frame

    @functools.cached_property
    def rounds(self):
        """One row a round, indexed by `round`; NaN where a round was not evaluated. Of a policy, whose
        file has several trials, the mean over them."""
        if self.trials is None:
            return self.frame("rounds", index="round")
        by_round = self.trials.groupby(level="round")
        mean = by_round.agg(lambda column: column.mean(skipna=False))
        mean.attrs = self.trials.attrs
        return mean

    @functools.cached_property
    def trials(self):
        """Of a policy one row a trial and round, indexed by both; None for other runs."""
        frame = self.frame("rounds")
        return frame.set_index(["trial", "round"]) if "trial" in frame else None

    @functools.cached_property
    def labels(self):
        """Of a policy the training samples of each class, a row a device; None for other runs."""
        with self._open() as file:
            return file["profile/labels"][:] if "profile/labels" in file else None

    @functools.cached_property
    def participation(self):
        """One row a participant and round."""
        return self.frame("participation")

    @functools.cached_property
    def profile(self):
        """One row a device, indexed by `device`."""
        return self.frame("profile", index="device")

    @functools.cached_property
    def provenance(self):
        """Version, commit, compiler, libraries, seed, ranks, ... as a dict; without the configuration."""
        with self._open() as file:
            group = file.get("provenance")
            if group is None:
                return {}
            values = {name: _text(value) for name, value in group.attrs.items()}
            for name, dataset in group.items():
                if isinstance(dataset, h5py.Dataset) and dataset.ndim == 0:
                    values[name] = _text(dataset[()])
        return values

    @property
    def config_text(self):
        """The resolved configuration as the program wrote it (YAML)."""
        return self.provenance.get("config", "")

    @functools.cached_property
    def config(self):
        """The resolved configuration as nested dicts."""
        try:
            return yaml.load(self.config_text, Loader=_Loader) or {}
        except yaml.YAMLError as error:
            raise ResultError(f"{self.path}: its configuration is not YAML: {error}") from error

    @functools.cached_property
    def settings(self):
        """Every option by its dotted name, as --set takes it, in the order of the file."""
        return dict(_flatten(self.config))

    def option(self, name, default=None):
        """A configuration value by its dotted name: option("federation.method")."""
        value = self.config
        for part in name.split("."):
            if not isinstance(value, dict) or part not in value:
                return default
            value = value[part]
        return value

    @property
    def method(self):
        """How devices learn, or who chooses them: the option that a comparison is about."""
        return self.option("policy.agent") or self.option("federation.method", "")

    @property
    def label(self):
        """Experiment and method: what runs of several seeds have in common."""
        parts = [self.option("experiment"), self.method]
        return ", ".join(str(part) for part in parts if part) or self.path.stem

    @property
    def last_round(self):
        return int(self.rounds.index.max()) if len(self.rounds) else 0

    @property
    def planned_rounds(self):
        """Of a trial, where it is a policy's; "?" where the file does not tell."""
        names = ("federation.rounds", "evaluation.rounds", "environment.rounds")
        return next((n for n in map(self.option, names) if n), "?")

    @property
    def progress(self):
        """How far an unfinished run is: "round 3 of 10", or "trial 3 of 10" of a policy."""
        if self.trials is None:
            return f"round {self.last_round} of {self.planned_rounds}"
        done = self.trials.index.get_level_values("trial").nunique()
        return f"trial {done} of {self.option('evaluation.trials', '?')}"

    def __repr__(self):
        return f"<Run {self.path}: {self.label}, {len(self.rounds)} rows>"


def open_run(path):
    """The result file (or checkpoint) at `path`; ResultError if it is none."""
    return Run(path)
