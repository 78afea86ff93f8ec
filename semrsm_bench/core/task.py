"""What a task is: a question whose answer is known from elsewhere, cut into cases that methods meet one by one."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.method import Declaration
from semrsm_bench.core.stats import row_weights, weighted_mean

Arrays = Mapping[str, NDArray[Any]]
Floats = NDArray[np.float64]
Scalar = float | None


@dataclass(frozen=True)
class Score:
    """One figure that a task gives a method.

    Attributes
    ----------
    name, title : str
        Key in rows, such as ``c``; heading in tables.
    best : {"max", "min"}
    low, high : float
        Range; infinite where there is no bound.
    chance : float or None
        What a method reaches that knows nothing.
    style : {"number", "percent", "quality"}
        How tables print it: three decimals, a ratio in percent, or a quality that never rounds up to 1.
    meaning, undefined : str
        For captions, what it is, a formula or a few words; for the note under a table, when it has no value.
    """

    name: str
    title: str
    best: Literal["max", "min"] = "max"
    low: float = 0.0
    high: float = 1.0
    chance: float | None = None
    style: Literal["number", "percent", "quality"] = "number"
    meaning: str = ""
    undefined: str = ""


@dataclass(frozen=True)
class Case:
    """One problem that every method of a task meets.

    Attributes
    ----------
    name : str
        Unique within the task and its data, the same in every run: ``resnet18/layer3/none/3-7``.
    cell : mapping of str to str or int
        What tables lay across: model, layer, size, channels, centring, kernel ...; equal for all cases of a cell.
    inputs : callable
        Makes the arrays that the worker gets, by name. The same array object in two cases is sent once. A value may be a
        callable that makes the array: it is asked for methods whose facts name that input, and for no others.
    units : mapping of str to tuple of str
        Ids of what the intervals resample, by kind of unit: ``{"image": ("3", "7")}``.
    settings : mapping
        JSON-ready; what the worker must know beside the arrays, such as the kernel. A value that is costly to know may be a
        callable without arguments, asked when the case is measured.
    data_sha256 : str
        Of the file that the arrays come from.
    size, channels : int
        S and C; they decide the order, the memory limit and what is too large for a method.
    skip : str
        Why no method meets it here; "" where all do.
    known : object
        What the truth is made of; only the process that scores sees it.
    """

    name: str
    cell: Mapping[str, str | int]
    inputs: Callable[[], Arrays]
    units: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    data_sha256: str = ""
    size: int = 0
    channels: int = 0
    skip: str = ""
    known: Any = None

    def settled(self) -> dict[str, Any]:
        """The settings with every value known."""
        return {name: value() if callable(value) else value for name, value in self.settings.items()}


@dataclass(frozen=True)
class Answer:
    """What a method gave back, as the worker sent it: not scored, and validated no further than said here.

    Attributes
    ----------
    arrays : mapping of str to ndarray
        By kind of method; a task with its own ``observe`` gets what that returns.

        solver
            ``perms``, (calls, S), intp: one answer a timed call, whole numbers that need not be permutations. From a solver that
            gives duals also ``u`` and ``v``, float64, (S,) in a valid answer: of the first call.
        rsm
            ``rsm``, (N, N), or (N, M) where the case has ``z2``; float64.
        metric
            ``value``, (calls,), float64, all of the same pair: NaN where the metric is undefined. ``value_yx``, (1,): with x and y
            exchanged. ``without``, (N,): without each stimulus in turn; only where `Case.settings` has ``leave_one_out`` True.
        instance
            ``scores``, (n,), float64: one for each stimulus.
    info : mapping
        What the method says of its work; of a metric that is undefined ``undefined``, the reason.
    """

    arrays: Arrays
    info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scored:
    """An answer held against the truth.

    Attributes
    ----------
    scores : mapping of str to float or None
        By name of `Score`; None where it is undefined, as NaN becomes. A score that exists only over many rows is left out.
    raw : mapping
        What the scores were made of: ``k``, ``k_opt``; JSON-ready.
    arrays : mapping of str to ndarray
        Kept beside the row, for `Task.aggregate` and for pictures.
    status : {"ok", "invalid", "wrong"}
    message : str
        Why it is not ok.
    """

    scores: Mapping[str, Scalar] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict)
    arrays: Arrays = field(default_factory=dict)
    status: Literal["ok", "invalid", "wrong"] = "ok"
    message: str = ""

    def __post_init__(self) -> None:
        known = {name: None if value is None or math.isnan(value) else value for name, value in self.scores.items()}
        object.__setattr__(self, "scores", known)


@dataclass(frozen=True)
class Result:
    """A row as `Task.aggregate` gets it: of its `Case` the name, cell and units, and what was `Scored`."""

    case: str
    cell: Mapping[str, Any]
    units: Mapping[str, Sequence[str]]
    scores: Mapping[str, Scalar]
    raw: Mapping[str, Any] = field(default_factory=dict)
    arrays: Arrays = field(default_factory=dict)

    def score(self, name: str) -> float:
        """The score of that name; NaN where it is undefined."""
        value = self.scores.get(name)
        return math.nan if value is None else float(value)


@dataclass(frozen=True)
class Profile:
    """How much of a task a run measures.

    Attributes
    ----------
    summary : str
    settings : mapping
        Values of the task's options where the user gave none.
    deadline, budget : float
        Seconds for one observation, and for one cell of one method: what is left then is not measured, and a row says so.
    patience : float or None
        An observation expected to last longer, judged by smaller sizes, is skipped as too slow.
    """

    summary: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    deadline: float = 60.0
    budget: float = 600.0
    patience: float | None = None


Solve = Callable[[Any], Any]
"""The engine's certified optimum of a `MatchingProblem`: an object with ``k_opt``, ``k_upper``, ``certificate`` and ``solver``."""


class Task(ABC):
    """A question. One file of `semrsm_bench.tasks` or of a plugin holds one, registered with `register_task`.

    Attributes
    ----------
    name, question : str
    kind : {"solver", "rsm", "metric", "instance"}
        Of the methods that it judges.
    scores : tuple of Score
        The first ranks.
    unit : str
        What intervals resample: a key of `Case.units`.
    resampling : {"bootstrap", "jackknife"}
        How: drawn with replacement, or left out in turn where drawing a unit twice would bias the score.
    across : tuple of str
        Keys of `Case.cell` that tables lay across, outermost first.
    beside : str
        The one whose values stand side by side in a terminal, one panel for each of the rest; wide tables do it the other way
        round. "": the innermost that varies, everywhere.
    reference : str
        Method that all others are compared with, by paired differences; "" for none.
    options : type
        Frozen dataclass of what a user may choose; each field is made by `semrsm_bench.core.options.option`.
    profiles : mapping of str to Profile
        "quick" and "paper" at least.
    methods : tuple of str or None
        Measured where the user names none; None: all of the kind. Methods of plugins always take part.
    source : str
        The paper and section that it comes from.
    observe : str
        ``module:function``, or the name of a function in the task's own file, that runs in the worker as
        ``function(command, inputs, clock, memory)``; "" for the one of the kind (see `semrsm_bench.bench.observe`).
    """

    name: ClassVar[str]
    question: ClassVar[str]
    kind: ClassVar[str]
    scores: ClassVar[tuple[Score, ...]]
    unit: ClassVar[str] = ""
    resampling: ClassVar[Literal["bootstrap", "jackknife"]] = "bootstrap"
    across: ClassVar[tuple[str, ...]] = ()
    beside: ClassVar[str] = ""
    reference: ClassVar[str] = ""
    options: ClassVar[type[Any]]
    profiles: ClassVar[Mapping[str, Profile]] = {"quick": Profile("quick"), "paper": Profile("all")}
    methods: ClassVar[tuple[str, ...] | None] = None
    source: ClassVar[str] = ""
    observe: ClassVar[str] = ""

    @property
    def module(self) -> str:
        """Module that brings the task."""
        return type(self).__module__

    @abstractmethod
    def cases(self, options: Any) -> Iterable[Case]:
        """All cases, those of one cell in the order in which they are measured; arrays are made only when asked for.

        Raises
        ------
        ValueError, FileNotFoundError
            The options do not fit the data, or there is none.
        ImportError
            Something that the task needs is not installed; the message names the extra.
        """

    def truth(self, case: Case, arrays: Arrays, solve: Solve) -> Any:
        """What answers are held against, by default `Case.known`. Runs in the engine's process, which alone knows it."""
        return case.known

    @abstractmethod
    def score(self, case: Case, arrays: Arrays, answer: Answer, truth: Any, declared: Declaration) -> Scored:
        """Validate and score an answer; `Answer` says which arrays it holds. An error raised here makes the row `invalid`."""

    def aggregate(self, results: Sequence[Result], draws: Floats, units: Sequence[str]) -> dict[str, Floats]:
        """Scores over the rows of one method in one cell, in every draw of the units.

        Parameters
        ----------
        results : sequence of Result
        draws : ndarray, (B, U)
            How often each unit counts in each draw; the first draw is all ones, the estimate itself.
        units : sequence of str
            Ids of the columns of ``draws``.

        Returns
        -------
        dict of str to ndarray, (B,)
            NaN where a score is undefined. The default is the mean of the rows' scores, each weighted by the product of its
            units' counts. Pairs of a unit with itself, which drawing a unit twice makes, are no rows and so do not count.
        """
        weights = row_weights([result.units.get(self.unit, ()) for result in results], draws, units)
        values = {s.name: np.array([result.score(s.name) for result in results]) for s in self.scores}
        return {name: weighted_mean(v, weights) for name, v in values.items() if not np.isnan(v).all()}

    def bounds(self, results: Sequence[Result]) -> dict[str, float]:
        """Certified bounds, over the rows of one method in one cell, of scores whose value is unknown; none by default."""
        return {}

    def cell_order(self, cell: Mapping[str, Any]) -> tuple[Any, ...]:
        """Sort key of cells in tables: by size first, then as they come."""
        return (int(cell.get("size", 0) or 0),)
