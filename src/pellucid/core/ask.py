"""Questions about a model. Methods await them; the engine answers those of all methods in shared passes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from torch import Tensor

from pellucid.core.errors import ParameterError, SiteError
from pellucid.core.explanation import BATCH, CHANNEL, HEIGHT, WIDTH, Check, Kind, ModelCard
from pellucid.core.fold import Fold, Only
from pellucid.core.points import At, Points
from pellucid.core.site import Attention, ModuleName, Site, Stream, as_site
from pellucid.core.target import Labels, Pick

if TYPE_CHECKING:
    from pellucid.core.method import Method

T = TypeVar("T")


class Can(Enum):
    """What a model can be asked."""

    SCORE = "score"
    GRADIENT = "gradient"
    SITES = "sites"
    """Activations inside, and gradients there."""
    RULES = "rules"
    """Backward rules at operators."""
    EDIT = "edit"
    """Scores with an activation replaced."""
    VARIANT = "variant"
    """The same model with other weights."""


class What(Enum):
    """The kinds of answers."""

    SCORE = "score"
    OUTPUTS = "outputs"
    GRADIENT = "gradient"
    SITE = "site"
    EXPLAIN = "explain"


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace what is at a site: `change(activation [rows, ...], k [rows], b [rows]) -> activation`.

    k is the number of the point and b that of the clean row. Equal when site, source and name are equal; name must
    hold everything that change depends on. `source` names an earlier site of the same shape whose activation is
    taken instead of the site's own.
    """

    site: Site
    name: Hashable
    change: Callable[[Tensor, Tensor, Tensor], Tensor] = field(compare=False)
    source: Site | None = None


@dataclass(frozen=True, slots=True)
class Variant:
    """The same model with other weights: `change({name: tensor}) -> {name: tensor}` gives those that differ.

    Equal when the names are equal; name must hold everything that change depends on. `shift` makes it the same model
    in other units: it takes rows to which this number was added, and subtracts it first.
    """

    name: Hashable
    change: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = field(compare=False)
    shift: float = 0.0
    modules: frozenset[str] | None = field(default=None, compare=False)
    """Where known beforehand: the modules to which all weights that differ belong, by name."""


def _doubled(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    return {name: weight.double() for name, weight in weights.items() if weight.is_floating_point()}


DOUBLE: Final = Variant("double precision", _doubled)
"""The model with all its numbers in float64; points are given to it in float64 too."""


@dataclass(frozen=True, slots=True)
class Where:
    """The evaluation that answers a question: same variant, rule, edit and entry."""

    variant: Variant | None = None
    rule: Hashable | None = None
    """A rule set of `pellucid.propagation`."""
    edit: Edit | None = None
    into: Site | None = None
    """The points are activations of this site, put there while the clean rows run."""
    against: Points | None = None
    """For rules that compare: a reference row beside every row, as many as there are points."""
    signal: Edit | None = None
    """A change of what comes back at a site in the backward pass, gradient or relevance."""

    @property
    def plain(self) -> bool:
        return self == PLAIN


PLAIN = Where()


@dataclass(frozen=True, slots=True, eq=False)
class Ask(Generic[T]):
    """One question. `await` it for the answer; `together` asks several in one round."""

    what: What
    points: Points
    fold: Fold
    where: Where = PLAIN
    site: Site | None = None
    method: Method | None = None
    of: Callable[[Pick], Pick] | None = None
    """Another number than the one explained, made of each target; equal functions share their answers."""

    def __await__(self) -> Generator[tuple[Ask[Any], ...], tuple[Any, ...], T]:
        return (yield (self,))[0]

    @property
    def needs(self) -> frozenset[Can]:
        """What the model must be able to answer."""
        needs = {Can.SCORE}
        if self.what is What.GRADIENT or self.what is What.SITE:
            needs.add(Can.GRADIENT)
        if self.site is not None:
            needs.add(Can.SITES)
        if self.where.rule is not None:
            needs.add(Can.RULES)
        if self.where.edit is not None or self.where.into is not None or self.where.signal is not None:
            needs.add(Can.EDIT)
        if self.where.variant is not None:
            needs.add(Can.VARIANT)
        return frozenset(needs)


@dataclass(frozen=True, slots=True)
class together:  # noqa: N801 - reads as a word: await together(a, b)
    """Several questions in one round: `a, b = await together(q.grad(...), q.score(...))`."""

    asks: tuple[Ask[Any], ...]

    def __init__(self, *asks: Ask[Any]) -> None:
        object.__setattr__(self, "asks", asks)

    def __await__(self) -> Generator[tuple[Ask[Any], ...], tuple[Any, ...], tuple[Any, ...]]:
        return (yield self.asks)


class Pixels(Protocol):
    """The link between pixel units (0 black, 1 white) and the units of the model's rows."""

    def to_rows(self, pixels: Tensor) -> Tensor: ...

    def to_pixels(self, rows: Tensor) -> Tensor: ...


BaselineSpec = str | float | Tensor | Callable[[Tensor], Tensor] | object


class References(Protocol):
    """Reference inputs and noise levels, given in pixel units and answered in the units of the rows."""

    @property
    def pixels(self) -> Pixels: ...

    def baseline(self, spec: BaselineSpec) -> Tensor: ...

    def std(self, spread: float) -> Tensor: ...


class Inside(Protocol):
    """What methods may know of the inside of a model."""

    @property
    def layers(self) -> tuple[Site, ...]: ...

    @property
    def every_layer(self) -> tuple[Site, ...]: ...

    def site(self, site: Site) -> Site: ...

    @property
    def attentions(self) -> tuple[Attention, ...]: ...

    @property
    def doubles(self) -> bool: ...

    @property
    def weighted(self) -> tuple[str, ...]: ...

    @property
    def stream(self) -> Stream: ...


class Query:
    """What a method sees: the clean rows, and questions to ask about them.

    Answers carry the targets of the call as their first axis: a gradient is [target, batch, ...] while `x` is
    [batch, ...], so that formulas broadcast over targets.
    """

    __slots__ = ("_inside", "at", "clean", "references", "x")

    def __init__(
        self, x: Tensor, references: References, inside: Inside | None = None, clean: Tensor | None = None
    ) -> None:
        self.x = x
        self.clean = x if clean is None else clean
        """The rows as the model takes them, where x are other numbers: token ids, x being their vectors."""
        self.at = At(x)
        self.references = references
        self._inside = inside

    @property
    def layers(self) -> tuple[Site, ...]:
        """Sites with height and width, in the order in which they finish."""
        return () if self._inside is None else self._inside.layers

    @property
    def every_layer(self) -> tuple[Site, ...]:
        """Sites of all layers that answer row by row, in the order in which they finish: tried when this is read."""
        return () if self._inside is None else self._inside.every_layer

    def address(self, at: Any) -> Site:
        """A layer as results name it: one that is given as an object has its name in the model."""
        site = as_site(at)
        return site if self._inside is None or not isinstance(site.name, ModuleName) else self._inside.site(site)

    @property
    def attentions(self) -> tuple[Attention, ...]:
        """The attentions of the model in execution order; none for a model without."""
        return () if self._inside is None else self._inside.attentions

    @property
    def front(self) -> Pixels:
        """How somebody's inputs become the rows of the model asked."""
        return self.references.pixels

    @property
    def weighted(self) -> tuple[str, ...]:
        """Names of the modules that hold weights of their own, in the order in which they finish first."""
        return () if self._inside is None else self._inside.weighted

    @property
    def doubles(self) -> bool:
        """Whether the model can be asked in double precision (`Where(variant=DOUBLE)`): tried when this is read."""
        return self._inside is not None and self._inside.doubles

    @property
    def stream(self) -> Stream:
        """Where tokens of a picture can be taken out: tried when this is read. Raises SiteError where they cannot."""
        if self._inside is None:
            raise SiteError("tokens of a model of which only rows are known", "a vision transformer")
        return self._inside.stream

    def baseline(self, spec: BaselineSpec) -> Tensor:
        """A reference input [batch, ...] in the units of x; the names are those of `pellucid.ops.reference`."""
        return self.references.baseline(spec)

    def std(self, spread: float) -> Tensor:
        """The standard deviation `spread` × (max − min of the row, in pixels), in the units of x."""
        return self.references.std(spread)

    def pixels(self) -> Tensor:
        """The clean rows in pixel units (0 black, 1 white), [batch, ...]: for methods that look at the picture."""
        return self.references.pixels.to_pixels(self.x)

    # -- questions -----------------------------------------------------------------------------------------------

    def score(self, points: Points | None = None, fold: Fold | None = None, where: Where = PLAIN) -> Ask[Any]:
        """The number explained: [target, batch] at one point, [target, points, batch] with fold=Stack()."""
        return Ask(What.SCORE, points or self.at, fold or Only(), where)

    def outputs(self, points: Points | None = None, fold: Fold | None = None, where: Where = PLAIN) -> Ask[Any]:
        """All raw outputs: [1, batch, outputs], or [1, points, batch, outputs] with fold=Stack()."""
        return Ask(What.OUTPUTS, points or self.at, fold or Only(), where)

    def grad(
        self,
        points: Points | None = None,
        fold: Fold | None = None,
        where: Where = PLAIN,
        of: Callable[[Pick], Pick] | None = None,
    ) -> Ask[Any]:
        """∂ score / ∂ points, folded over the points: [target, batch, ...]; `of` makes another number of the target."""
        return Ask(What.GRADIENT, points or self.at, fold or Only(), where, of=of)

    def site(
        self,
        at: str | Site | Any,
        points: Points | None = None,
        fold: Fold | None = None,
        where: Where = PLAIN,
        of: Callable[[Pick], Pick] | None = None,
    ) -> Ask[tuple[Tensor, Any]]:
        """Activation of a site and ∂ score / ∂ activation: ([batch, channel, height, width], [target, batch, ...]).

        With a fold over many points both are folded, the activation as with one target ([1, ...] dropped).
        """
        return Ask(What.SITE, points or self.at, fold or Only(), where, as_site(at), of=of)

    def explain(
        self,
        method: Method,
        points: Points,
        fold: Fold,
        where: Where = PLAIN,
        of: Callable[[Pick], Pick] | None = None,
    ) -> Ask[Any]:
        """Another method's values at other points, with the targets of the clean rows: [target, batch, ...].

        where  may hold a variant, and nothing else: all that the method asks is asked of it
        of     makes another number of each target, as for `grad`
        """
        return Ask(What.EXPLAIN, points, fold, where, None, method, of)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Attribution:
    """What a method returns: values [target, batch, ...] with the names of the axes after the batch."""

    values: Tensor
    dims: tuple[str, ...]
    at: Site | tuple[Site, ...] | None = None
    """Where the values live; several sites for maps that were made one of theirs."""
    kind: Kind | None = None
    std_error: Tensor | None = None
    checks: tuple[RowCheck, ...] = ()
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    """Further tensors, [target, batch, ...]."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RowCheck:
    """A self-check of a method: value and verdict per target and row, [target, batch]."""

    name: str
    value: Tensor
    passed: Tensor
    limit: float | None = None
    says: str = ""
    judged: bool = True
    share: bool = False

    def of(self, target: int) -> Check:
        return Check(
            name=self.name,
            value=tuple(self.value[target].tolist()),
            passed=tuple(self.passed[target].tolist()),
            limit=self.limit,
            says=self.says,
            judged=self.judged,
            share=self.share,
        )


def attribution(
    values: Tensor,
    *,
    dims: Sequence[str] | None = None,
    at: str | Site | Any = None,
    kind: Kind | None = None,
    std_error: Tensor | None = None,
    checks: Sequence[RowCheck | None] = (),
    extras: Mapping[str, Tensor] | None = None,
) -> Attribution:
    """What a method returns.

    values: [target, batch, ...]; dims: names of the axes behind the batch, by default (channel, height, width) or
    the last ones of it that fit, else axis_1, axis_2 ...; at: the site where the values live, a tuple for the maps of
    several made one, None for the input; kind: when it differs from the method's; std_error: as values; checks: None
    entries are dropped; extras: further tensors, [target, batch, ...].
    """
    rest = values.ndim - 2
    usual = {0: (), 1: ("feature",), 2: (HEIGHT, WIDTH), 3: (CHANNEL, HEIGHT, WIDTH)}
    names = tuple(dims) if dims is not None else usual.get(rest, tuple(f"axis_{i + 1}" for i in range(rest)))
    if len(names) != rest:
        raise ParameterError(
            f"dims={names} for values of shape {tuple(values.shape)}", f"{rest} names behind the batch"
        )
    return Attribution(
        values=values,
        dims=(BATCH, *names),
        at=tuple(map(as_site, at)) if isinstance(at, tuple) else None if at is None else as_site(at),
        kind=kind,
        std_error=std_error,
        checks=tuple(check for check in checks if check is not None),
        extras=extras or {},
    )


# -- what a model must offer ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lane:
    """One way of running the model: rows of all questions with the same lane share their passes."""

    where: Where
    gradient: bool
    """Gradients at the rows that enter."""
    sites: tuple[Site, ...] = ()
    """Sites whose activations are wanted."""
    slopes: tuple[Site, ...] = ()
    """Sites whose gradients are wanted."""

    @property
    def backward(self) -> bool:
        return self.gradient or bool(self.slopes)


@dataclass(slots=True, eq=False)
class Answer:
    """What one run of the model gives, for n rows and t picks."""

    outputs: Tensor
    """[n, outputs]"""
    scores: Tensor
    """[t, n]"""
    gradient: Tensor | None = None
    """[graded, n, ...]"""
    sites: dict[Site, Tensor] = field(default_factory=dict)
    """[n, ...]"""
    slopes: dict[Site, Tensor] = field(default_factory=dict)
    """[graded, n, ...]"""
    whole: int | None = None
    """Rows that ran through the whole model, when not all did and no others: only the end of it ran for the others;
    reference rows count too."""
    beside: Tensor | None = None
    """Scores of the reference rows, [t, n]."""
    tails: int = 0
    """Rows of which only what lies behind a site or a changed weight was run."""


SCORES = Lane(PLAIN, False)
"""Scores alone, of the model as it is."""


@dataclass(slots=True, eq=False)
class Rows:
    """Rows to be run in one pass, built only when needed."""

    count: int
    build: Callable[[], Tensor]
    """The points, [count, ...]."""
    clean: Callable[[], Tensor]
    """The clean rows that the points belong to, [count, ...], as the model takes them; what runs when points enter at
    a site, or are vectors of token ids."""
    k: Callable[[], Tensor]
    """The number of every row's point, int64 [count]."""
    b: Tensor
    """The number of every row's clean row, int64 [count]."""
    objective: Callable[[Tensor, Mapping[Site, Tensor]], Tensor]
    """Raw outputs and inner activations -> scores [t, count]."""
    graded: int
    """How many of the scores, the first ones, are to be differentiated."""
    start: Callable[[Tensor], list[Tensor]] | None = None
    """Raw outputs -> ∂ score / ∂ outputs of those, [count, outputs] each, once `objective` has been called; None when
    it has to be found by differentiating the scores."""
    slopes: Callable[[Tensor, Mapping[Site, Tensor]], list[tuple[Tensor | None, ...]]] | None = None
    """Raw outputs and inner activations -> for those scores their slopes at the outputs and at every site, in order,
    under rules that compare; None where a score does not look."""
    against: Callable[[], Tensor] | None = None
    """The reference rows, [count, ...]; an expanded single row where all are equal."""
    narrow: Callable[[], tuple[Tensor, Tensor]] | None = None
    """Where rows with the same b are equal: one row for each b, and its number. What lies before an edited site need
    run only once for each."""
    beside: Callable[[Tensor, Mapping[Site, Tensor]], Tensor] | None = None
    """The same as `objective` for the reference rows, once that has been called."""
    own: bool = False
    """Whether `build` gives new memory, which the model may overwrite."""


class Session(Protocol):
    """A model made ready for rows of one shape, used by one thread."""

    @property
    def emits(self) -> str:
        """logits, sigmoid_logits, probabilities or values."""
        ...

    @property
    def outputs(self) -> int: ...

    @property
    def labels(self) -> Labels: ...

    @property
    def card(self) -> ModelCard: ...

    @property
    def decisions(self) -> tuple[str, ...]: ...

    @property
    def verification(self) -> int:
        """Rows run to look at the model and verify its prepared form in this call."""
        ...

    def enter(self, x: Tensor) -> Tensor:
        """Rows as the numbers that are explained: token ids as their vectors, all others as they are."""
        ...

    def site(self, site: Site) -> Site:
        """The full address: `auto`, modules and layouts resolved. Raises SiteError."""
        ...

    def site_shape(self, site: Site) -> tuple[int, ...]:
        """Shape of one row's activation there."""
        ...

    def rows(self, lane: Lane, graded: int, many: int = 0) -> int:
        """How many rows at once fit the memory budget; many: how many there will be, which may change who answers."""
        ...

    def bytes(self, lane: Lane) -> int:
        """Estimated memory of one row in this lane."""
        ...

    def seconds(self, lane: Lane, graded: int, tail: bool = False) -> float:
        """Estimated time of one row in this lane; tail: of what lies behind the edited site alone."""
        ...

    def whole(self, rows: Rows, lane: Lane) -> int:
        """How many rows would run through the whole model: those not only through the end of it, and references."""
        ...

    def replaying(self, lanes: Sequence[Lane]) -> AbstractContextManager[bool]:
        """Told of lanes that differ in their variant alone: whether what those have in common can be run once.

        If so, equal rows are then run lane by lane, in the order told, before others come. On exit nothing is kept.
        """
        ...

    @property
    def layers(self) -> tuple[Site, ...]:
        """Sites with height and width, in the order in which they finish."""
        ...

    @property
    def every_layer(self) -> tuple[Site, ...]:
        """Sites of all layers that answer row by row, in the order in which they finish."""
        ...

    @property
    def attentions(self) -> tuple[Attention, ...]:
        """The attentions of the model in execution order."""
        ...

    @property
    def weighted(self) -> tuple[str, ...]:
        """Names of the modules that hold weights of their own, in the order in which they finish first."""
        ...

    @property
    def stream(self) -> Stream:
        """Where tokens of a picture can be taken out. Raises SiteError where they cannot, and says why."""
        ...

    @property
    def doubles(self) -> bool:
        """Whether the model runs in double precision too, and gives the same; where not, the decisions say why."""
        ...

    def expect(self, lane: Lane, rows: Rows, many: int) -> None:
        """Told before the first of many rows of a lane is run; rows: those of the first run."""
        ...

    def run(self, rows: Rows, lane: Lane) -> Answer:
        """Evaluate. Raises torch.OutOfMemoryError when the rows do not fit."""
        ...


class Model(Protocol):
    """A handle on somebody's trained model."""

    name: str
    can: frozenset[Can]
    labels: Labels

    def ready(self, x: Tensor) -> Any:
        """A context manager that gives a Session for rows like x; on exit nothing is left changed."""
        ...
