"""What is reviewed and by which policy: the options of ``vlmcal review SOURCE``."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from vlmcal.cli.held_out import Reading
from vlmcal.cli.option_groups import opt
from vlmcal.errors import StoreError

if TYPE_CHECKING:
    from vlmcal.io.predictions import Rows
    from vlmcal.review.database import Review


@dataclass(frozen=True)
class SourceOptions:
    """Policy, calibrator, label sets, images and columns of what is reviewed."""

    policy: Annotated[
        Path | None, opt("YAML or JSON: threshold, costs, critical classes, mode, ...")
    ] = None
    calibrator: Annotated[
        str | None, opt("Name, fitted on the held-out rows, or a saved file.")
    ] = None
    conformal: Annotated[
        str | None, opt("Conformal method, fitted on the held-out rows, or a file.")
    ] = None
    alpha: Annotated[float, opt("Share of sets that may miss the right class.")] = 0.1
    held_out: Annotated[Path | None, opt("Labelled local rows of the same model.")] = None
    images: Annotated[Path | None, opt("Folder of the images; nothing outside it is shown.")] = None
    image: Annotated[str | None, opt("Column with the image; default: the id.")] = None
    question: Annotated[str | None, opt("Column with the question.")] = None
    site: Annotated[str | None, opt("Column with site, modality or kind.")] = None
    elicitor: Annotated[str | None, opt("Label of the answers; default: first.")] = None
    part: Annotated[str | None, opt("Test part of a run; default: the first.")] = None

    def made(self, source: Path, db: Path, reading: Reading) -> "Review":
        """A new review, or the one that is there already if it is of the same source and policy.

        Raises:
            StoreError: It is another one.
            DataError: As :func:`vlmcal.review.sources.read_source`.
            SpecError: As there.
        """
        from vlmcal.review.database import Review
        from vlmcal.review.policy import Policy
        from vlmcal.review.sources import Columns, read_source

        rules = Policy() if self.policy is None else Policy.load(self.policy)
        columns = Columns(self.image, self.question, self.site)
        read = read_source(
            source,
            rules,
            calibrator=self.calibrator,
            conformal=self.conformal,
            alpha=self.alpha,
            held_out=self.held_out,
            images=self.images,
            columns=columns,
            elicitor=self.elicitor,
            part=self.part,
            read=_reader(reading, columns.by),
        )
        if not db.exists():
            return Review.create(db, read, rules)
        review = Review.open(db)
        if (review.about["source"], review.policy.hash) != (read.fingerprint, rules.hash):
            raise StoreError(
                f"{db} holds a review of another source, calibrator or policy; nothing in a review is ever "
                "changed: give another --db"
            )
        return review


def _reader(reading: Reading, by: Callable[[bool], tuple[str, ...]]) -> Any:
    """Reads predictions with the options of the command line."""

    def read(file: Path, fitting: bool) -> "Rows":
        role: Any = "calibration" if fitting else "test"
        options: Any = {"by": by(fitting)} if fitting else {"by": by(False), "labels_needed": False}
        return reading.read(file, role, options=options, last=False, keep_ids=not fitting)

    return read
