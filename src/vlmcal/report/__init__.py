"""Tables, pictures and self-contained HTML pages from measured numbers."""

from vlmcal._lazy import lazy

lazy(__name__)
