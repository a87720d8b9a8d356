"""How the words of every verb are read."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from typer import Typer
from typer.core import TyperCommand, TyperOption

from vlmcal.cli.option_groups import with_option_groups


class Verb(TyperCommand):
    """A verb that refuses an option of one value which is given twice: all but the last would be lost.

    What is off by itself has no flag that says so.
    """

    def __init__(self, *named: Any, **more: Any) -> None:
        super().__init__(*named, **more)
        for each in self.params:
            if isinstance(each, TyperOption) and each.is_bool_flag and each.default is False:
                each.secondary_opts = []

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words."""
        _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        for option, times in Counter(given).items():
            valued = isinstance(option, TyperOption) and not (option.is_flag or option.count)
            if times > 1 and valued and not option.multiple and not ctx.resilient_parsing:
                ctx.fail(f"{option.opts[0]} is given {times} times; it takes one value")
        return super().parse_args(ctx, args)


def verb(app: Typer, name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Makes a function a verb, with an option for each field of its option groups."""

    def registered(function: Callable[..., None]) -> Callable[..., None]:
        made = with_option_groups(function)
        app.command(name, cls=Verb)(made)
        return made

    return registered
