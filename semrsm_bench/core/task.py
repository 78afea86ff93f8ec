"""What a task is: a question whose answer is known from elsewhere, divided into cases that each method gets one by one."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.method import Declaration
from semrsm_bench.core.stats import Resampling, row_weights, weighted_mean

Arrays = Mapping[str, NDArray[Any]]
Floats = NDArray[np.float64]
Scalar = float | None


@dataclass(frozen=True)
class Score:
    """One figure that a task gives a method."""

    name: str  #: key in rows, such as ``c``
    title: str  #: heading in tables
    best: Literal["max", "min"] = "max"  #: whether larger or smaller values are better
    low: float = 0.0  #: least value; infinite where there is no bound
    high: float = 1.0  #: largest value, as ``low``
    chance: float | None = None  #: the score of a method that knows nothing
    #: How tables print it: three decimals, a ratio in percent, or a quality that never rounds up to 1.
    style: Literal["number", "percent", "quality"] = "number"
    meaning: str = ""  #: what it is, for captions: a formula or a few words
    undefined: str = ""  #: when it has no value, for the note under a table


@dataclass(frozen=True)
class Case:
    """One problem that every method of a task gets."""

    name: str  #: unique within the task and its data, the same in every run: ``resnet18/layer3/none/3-7``
    #: What tables lay across: model, layer, size, channels, centring, kernel ...; equal for all cases of a cell.
    cell: Mapping[str, str | int]
    #: Makes the arrays that the worker gets, by name. The same array object in two cases is sent once. A value may be a callable
    #: that makes the array: it is called for methods whose facts name that input, and for no others.
    inputs: Callable[[], Arrays]
    #: Ids of what the intervals resample, by kind of unit: ``{"image": ("3", "7")}``.
    units: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: JSON-ready: what the worker must know beside the arrays, such as the kernel. A value that is costly to know may be a
    #: callable without arguments, called when the case is measured.
    settings: Mapping[str, Any] = field(default_factory=dict)
    data_sha256: str = ""  #: digest of the file that the arrays come from
    size: int = 0  #: S; with ``channels`` it decides the order, the memory limit and what is too large for a method
    channels: int = 0  #: C
    skip: str = ""  #: why no method gets it here; "" where all do
    known: Any = None  #: what the truth is made of; only the process that scores sees it

    def settled(self) -> dict[str, Any]:
        """The settings with every value known."""
        return {name: value() if callable(value) else value for name, value in self.settings.items()}


@dataclass(frozen=True)
class Answer:
    """What a method gave back, as the worker sent it: not scored, and validated no further than said here.

    Attributes
    ----------
    arrays : mapping of str to ndarray
        By kind of method; a task that sets ``observe`` gets what that returns.

        solver
            ``perms``, (calls, S), intp: one answer a timed call, whole numbers that need not be permutations. From a solver that
            gives duals also ``u`` and ``v``, float64, (S,) in a valid answer: of the first call.
        rsm
            ``rsm``, (N, N), or (N, M) where the case has ``z2``; float64. ``beside``, (K, K), where the case has K images of that
            name.
        metric
            ``values``, (calls, pairs), float64: of the pairs that `Case.settings` names (``pairs``), else of x and y; NaN where the
            metric is undefined; more than one call only for one pair. ``values_yx``, (pairs,): with x and y exchanged.
        instance
            ``scores``, (n,), float64: one for each stimulus.
    info : mapping
        What the method says of its work; of a metric that is undefined ``undefined``, the reason.
    """

    arrays: Arrays
    info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scored:
    """An answer held against the truth."""

    #: Values by name of `Score`; None where it is undefined, as NaN becomes. A score that exists only over many rows is left out.
    scores: Mapping[str, Scalar] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict)  #: what the scores were made of: ``k``, ``k_opt``; JSON-ready
    arrays: Arrays = field(default_factory=dict)  #: kept beside the row, for `Task.aggregate` and for pictures
    status: Literal["ok", "invalid", "wrong"] = "ok"
    message: str = ""  #: why it is not ok

    def __post_init__(self) -> None:
        known = {name: None if value is None or math.isnan(value) else value for name, value in self.scores.items()}
        object.__setattr__(self, "scores", known)


@dataclass(frozen=True)
class Result:
    """A row as `Task.aggregate` gets it: name, cell and units of its `Case`, and what was `Scored`."""

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
    """How much of a task a run measures."""

    summary: str
    settings: Mapping[str, Any] = field(default_factory=dict)  #: the task's options, where the user gave none
    deadline: float = 60.0  #: seconds for each stage of an observation
    budget: float = 600.0  #: seconds for one cell: what is left then is not measured, and a row says so
    #: An observation expected to last longer, judged by smaller sizes, is skipped as too slow.
    patience: float | None = None


Solve = Callable[[Any], Any]
"""The engine's certified optimum of a `MatchingProblem`: an object with ``k_opt``, ``k_upper``, ``certificate`` and ``solver``."""


class Task(ABC):
    """A question. One file of `semrsm_bench.tasks` or of a plugin holds one, registered with `register_task`."""

    name: ClassVar[str]
    question: ClassVar[str]
    kind: ClassVar[str]  #: kind of the methods that it judges: solver, rsm, metric or instance
    scores: ClassVar[tuple[Score, ...]]  #: the first ranks
    unit: ClassVar[str] = ""  #: what intervals resample: a key of `Case.units`
    #: What a case is called, where `Case.units` has the id of each under that key. Intervals resample the cases themselves where
    #: they name no unit, or no two of them share one.
    case_unit: ClassVar[str] = ""
    #: What a shown time is of, where a call does many, in words: rows say in ``raw["pairs"]`` how many. "": the call.
    time_per: ClassVar[str] = ""
    #: How units are resampled: drawn with replacement, or left out in turn where drawing a unit twice would bias the score.
    resampling: ClassVar[Resampling] = "bootstrap"
    across: ClassVar[tuple[str, ...]] = ()  #: keys of `Case.cell` that tables lay across, outermost first
    #: The key whose values are side by side in a terminal, one panel for each of the rest; wide tables do it the other way
    #: round. "": the innermost that varies, everywhere.
    beside: ClassVar[str] = ""
    #: The cell that a figure of several tasks shows, by some of its keys; default: the largest S, else the first one.
    leading: ClassVar[Mapping[str, str | int]] = {}
    #: Last word of a cell, by the first key of ``across``, where nothing real can be found; tables name who is above chance there.
    leak: ClassVar[str] = ""
    reference: ClassVar[str] = ""  #: method that all others are compared with, by paired differences; "" for none
    #: Frozen dataclass of what a user may choose; each field is made by `semrsm_bench.core.options.option`.
    options: ClassVar[type[Any]]
    #: How much is measured, by name: "quick" and "paper" at least.
    profiles: ClassVar[Mapping[str, Profile]] = {"quick": Profile("quick"), "paper": Profile("all")}
    #: Measured where the user names none; None: all of the kind. Methods of plugins always take part.
    methods: ClassVar[tuple[str, ...] | None] = None
    #: Cases of a cell measured in a row, before the next method's turn: so few that a drift of the machine hits all methods
    #: alike. None: all of all cells, one method after the other, where cases share what a method prepares and time is no score.
    in_a_row: ClassVar[int | None] = 5
    by_default: ClassVar[bool] = False  #: whether a run without the name of any task measures it
    source: ClassVar[str] = ""  #: the paper and section that it comes from
    #: ``module:function``, or the name of a function in the task's file, that runs in the worker as
    #: ``function(command, inputs, clock, memory)``; "" for the one of the kind (see `semrsm_bench.bench.observe`).
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

    def notices(self, options: Any) -> Iterable[str]:
        """Lines about what these options leave out, where one might expect it; a run shows them. None by default."""
        return ()

    def caution(self, place: Mapping[str, Any]) -> str:
        """What readers of the figures of a cell easily get wrong; it is under the table. "" by default."""
        return ""

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
            NaN where a score is undefined. The default is the mean of the rows' scores that have a value, each weighted by the
            product of its units' counts; where an undefined one should earn nothing, `score` says so. Pairs of a unit with
            itself, which drawing a unit twice makes, are no rows and so do not count.
        """
        weights = row_weights([result.units.get(self.unit, ()) for result in results], draws, units)
        values = {s.name: np.array([result.score(s.name) for result in results]) for s in self.scores}
        return {name: weighted_mean(v, weights) for name, v in values.items() if not np.isnan(v).all()}

    def by_chance(self, raw: Mapping[str, Any]) -> float:
        """The first score of a method that knows nothing, from what a row was `Scored` with; NaN where it is not known."""
        chance = self.scores[0].chance
        return math.nan if chance is None else chance

    def is_leak(self, place: Mapping[str, Any]) -> bool:
        """Whether a cell is one where nothing real can be found, see ``leak``."""
        return bool(self.leak) and str(place.get(self.across[0], "")).endswith(self.leak)

    def bounds(self, results: Sequence[Result]) -> dict[str, float]:
        """Certified bounds, over the rows of one method in one cell, of scores whose value is unknown; none by default."""
        return {}

    def cell_order(self, cell: Mapping[str, Any]) -> tuple[Any, ...]:
        """Sort key of cells in tables: by size first, then as they come."""
        return (int(cell.get("size", 0) or 0),)
