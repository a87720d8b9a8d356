"""How much each row counts: a column of weights, or the shares of the classes that were sampled."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from vlmcal.cli import arguments
from vlmcal.cli.option_groups import opt
from vlmcal.errors import SpecError

if TYPE_CHECKING:
    from vlmcal.io.predictions import ReadingOptions


@dataclass(frozen=True)
class Weighting:
    """Options of ``vlmcal evaluate`` on weights of rows."""

    weight: Annotated[str | None, opt("Column with the weights of the rows.")] = None
    sampling_fraction: Annotated[
        list[str] | None,
        arguments.several(
            "CLASS=SHARE of a class's rows that are here, such as negative=0.1; weights are 1 / share."
        ),
    ] = None

    def options(self) -> "ReadingOptions":
        """What the reader is told.

        Raises:
            SpecError: Both, or a share that is no number.

        Example:
            >>> Weighting(sampling_fraction=["positive=1", "negative=.1"]).options()["sampling"]
            {'positive': 1.0, 'negative': 0.1}
        """
        if self.weight and self.sampling_fraction:
            raise SpecError("--weight and --sampling-fraction both give weights; pass one of them")
        shares = {}
        form = "--sampling-fraction CLASS=SHARE"
        for name, text in arguments.parse_pairs(self.sampling_fraction, form).items():
            try:
                shares[name] = float(text)
            except ValueError as error:
                raise SpecError(f'{form}: expected a number for {name}, got "{text}"') from error
        return {"weight": self.weight, "sampling": shares or None}
