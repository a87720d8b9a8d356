"""Published combinations of objectives, by the name the paper gives them, for use from Python."""

from dataclasses import dataclass

from vlmcal.objectives.compose import Sum, parse_objective


@dataclass(frozen=True)
class Combination:
    """A preset as a callable: settings in, :class:`Sum` out.

    Attributes:
        name: Key of :data:`vlmcal.objectives.presets.PRESETS`, which has the parts, settings and sources.

    Example:
        >>> parse_objective(["ce", TCPT(weight=0.5)]).names
        ('ce', 'margin_mean_var', 'text_moments')
    """

    name: str

    def __call__(self, **settings: float | str) -> Sum:
        """The sum; ``weight`` multiplies every weight, other settings are those of the preset.

        Raises:
            SpecError: An unknown setting, or one that has no default and was not given.
        """
        return parse_objective({"name": self.name, **settings}, allow_incomplete=True)


TCPT = Combination("tcpt")
CalibPrompt = Combination("calibprompt")
CaRot = Combination("carot")
TPT = Combination("tpt")
CTPT = Combination("c_tpt")
OTPT = Combination("o_tpt")
ATPT = Combination("a_tpt")
