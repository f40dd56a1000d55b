"""What is asked for on the command line, in one value; and the options that say it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal

import click

from pellucid.cli import model as models
from pellucid.cli.model import looks_like_a_model

Rows = int | Literal["auto"]
OUTPUTS = ("logit", "probability", "log_probability", "margin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The words of a call of `explain`, `compare` or `plan`, not looked up yet."""

    models: tuple[str, ...]
    inputs: tuple[str, ...]
    methods: tuple[str, ...] = ()
    settings: tuple[Setting, ...] = ()
    targets: tuple[str, ...] = ()
    versus: str | None = None
    top_k: int | None = None
    output: str | None = None
    at: str | None = None
    seed: int | None = None
    tolerance: float | None = None
    budget: str | None = None
    rows: Rows = "auto"
    evaluate: Literal["auto", "plain", "prepared"] = "auto"
    pretrained: bool = True


@dataclass(frozen=True, slots=True)
class Setting:
    """`ig.steps=64`: one parameter of one method, as text."""

    method: str
    parameter: str
    value: str

    @classmethod
    def read(cls, text: str) -> Setting:
        """Raises BadParameter, a wrong command line, for a text of another form."""
        left, equals, value = text.partition("=")
        method, dot, parameter = left.strip().rpartition(".")
        if not (equals and dot and method and parameter):
            raise click.BadParameter(f"{text!r} is not METHOD.PARAMETER=VALUE, such as ig.steps=64.")
        return cls(method, parameter.replace("-", "_"), value.strip())


class Fraction(click.FloatRange):
    """A number in a range; what is none is called one."""

    name = "number, such as 0.1"


def _rows(_: click.Context, __: click.Parameter, given: str) -> Rows:
    if given != "auto" and not (given.isdigit() and int(given) >= 1):
        raise click.BadParameter(f"{given!r} is neither a whole number, 1 or more, nor auto.")
    return "auto" if given == "auto" else int(given)


def _settings(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> tuple[Setting, ...]:
    return tuple(map(Setting.read, given))


def _method_option(help: str) -> Callable[[Any], Any]:
    return click.option("-m", "--method", "methods", multiple=True, metavar="NAME", help=help)


_OPTIONS = (
    click.argument("words", nargs=-1, required=True, metavar="[MODEL] INPUT..."),
    click.option("-M", "--model", "named", multiple=True, metavar="MODEL", help=models.HELP),
    _method_option(
        "A method, a list a,b,c or a group; may be repeated. See `pellucid methods`. "
        "Default: integrated_gradients,grad_cam; for texts integrated_gradients,input_x_gradient."
    ),
    click.option(
        "-t",
        "--target",
        "targets",
        multiple=True,
        metavar="CLASS",
        help="Class name or number to explain; may be repeated. Default: the top class of each input.",
    ),
    click.option("--versus", metavar="CLASS", help="Explain the difference: why the target rather than this class."),
    click.option("-k", "--top-k", type=click.IntRange(1), help="The K best classes of each input, instead of -t."),
    click.option("--output", type=click.Choice(OUTPUTS), help="Which number of the class; default: the method's own."),
    click.option(
        "--param",
        "settings",
        multiple=True,
        callback=_settings,
        metavar="METHOD.PARAMETER=VALUE",
        help="For example ig.steps=64; may be repeated.",
    ),
    click.option("--at", metavar="LAYER", help="Where to measure, for every method that has `at`; see `layers`."),
    click.option("--seed", type=click.IntRange(0), help="For every method that draws at random; default 0."),
    click.option(
        "--tolerance",
        type=Fraction(0.0, min_open=True),
        metavar="FRACTION",
        help="How large the remaining error may be: every method that has `tolerance` adds samples or steps until it "
        "is not larger.",
    ),
    click.option(
        "--budget",
        metavar="TIME",
        help="How long it may take, such as 90s or 2m: samples and steps are lowered to fit; refused where the fewest "
        "take longer.",
    ),
    click.option("--rows", default="auto", callback=_rows, metavar="N|auto", help="Model rows at once."),
    click.option(
        "--evaluate",
        type=click.Choice(("auto", "plain", "prepared")),
        default="auto",
        help="Whether the verified, faster form of the model is used.",
    ),
    click.option(
        "--no-pretrained", "pretrained", flag_value=False, default=True, help="Random weights, where there are such."
    ),
)


def request_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `explain`, `compare` and `plan`; gives `request`. Raises UsageError for conflicting ones."""

    @wraps(function)
    def asking(*, talk: Any, words: tuple[str, ...], named: tuple[str, ...], **rest: Any) -> Any:
        own = {key: rest.pop(key) for key in Request.__slots__ if key in rest}
        named, inputs = split(words, named)
        request = Request(models=named, inputs=inputs, **own)
        if request.top_k is not None and (request.targets or request.versus is not None):
            other = "--target" if request.targets else "--versus"
            raise click.UsageError(f"--top-k and {other} exclude each other: name the classes, or take the best.")
        return function(talk=talk, request=request, **rest)

    for option in reversed(_OPTIONS):
        asking = option(asking)
    return asking


def judging_options(usual: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Model, inputs, methods and their parameters, for commands that judge methods of one model; usual: the default."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            click.option(
                "--param", "settings", multiple=True, metavar="METHOD.PARAMETER=VALUE", help="As for `explain`."
            ),
            _method_option(f"A method, a list a,b,c or a group; may be repeated. Default: {usual}."),
            click.option("-M", "--model", "named", metavar="MODEL", help=models.HELP),
            click.argument("words", nargs=-1, metavar="[MODEL] [INPUT]..."),
        ):
            function = option(function)
        return function

    return decorate


def place_options(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """-o and --overwrite; what: what OUT may be, and what is written there."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        where = click.option("-o", "--output-dir", "place", metavar="OUT", help=what)
        over = click.option("--overwrite", is_flag=True, help="Replace files of the same names; refused otherwise.")
        return where(over(function))

    return decorate


def one_model(words: tuple[str, ...], named: str | None) -> tuple[str, tuple[str, ...]]:
    """The model of a command about one, and the inputs: a leading word that looks like a model is one."""
    if words and looks_like_a_model(words[0]):
        if named is not None:
            raise click.UsageError(f"two models, {named} and {words[0]}: this is about one.")
        return words[0], words[1:]
    return named or models.BUNDLED, words


def split(words: tuple[str, ...], named: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Models and inputs: leading words that look like models are models, after those given with -M."""
    count = next((i for i, word in enumerate(words) if not looks_like_a_model(word)), len(words))
    if count == len(words):
        raise click.UsageError(f"no photo or text to explain: {words[-1]!r} names a model, and no file has that name.")
    return (named + words[:count]) or (models.BUNDLED,), words[count:]
