"""The few colours of every picture and page, each with a light and a dark value.

The data colours are the blue, vermillion, green and purple of Okabe and Ito's palette for colour
vision deficiency (Color Universal Design, 2008), lightened for dark surfaces. No picture relies on
colour alone: markers, line styles and positions repeat what a colour says.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tone:
    """One named colour.

    Attributes:
        variable: CSS custom property that carries it.
        light: Value on a white surface and in print.
        dark: Value on a dark surface.
    """

    variable: str
    light: str
    dark: str


# The light values are distinct on purpose: an SVG drawn in them can be recoloured by value.
SURFACE = Tone("--vc-surface", "#fefefe", "#15181d")
INK = Tone("--vc-ink", "#1b1f24", "#e9ebee")
MUTED = Tone("--vc-muted", "#596270", "#a6afbc")
GRID = Tone("--vc-grid", "#e4e7eb", "#2b313a")
BAND = Tone("--vc-band", "#c9ced6", "#475060")
BLUE = Tone("--vc-blue", "#0072b2", "#58b4ee")
ORANGE = Tone("--vc-orange", "#d55e00", "#ff9a52")
GREEN = Tone("--vc-green", "#00805f", "#34cfa2")
PURPLE = Tone("--vc-purple", "#a64d82", "#e39ac6")
PANEL = Tone("--vc-panel", "#f4f6f8", "#1d2128")
RED = Tone("--vc-red", "#b3001b", "#ff8a80")

TONES = (SURFACE, INK, MUTED, GRID, BAND, BLUE, ORANGE, GREEN, PURPLE, PANEL, RED)


def css_variables(mode: str) -> str:
    """Declarations of all tones for "light" or "dark", ready for a CSS rule.

    Example:
        >>> css_variables("light").split()[0]
        '--vc-surface:#fefefe;'
    """
    return " ".join(f"{tone.variable}:{getattr(tone, mode)};" for tone in TONES)
