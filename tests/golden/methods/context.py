"""CoOp and the methods that share its learned context."""

from methods import Prepared
from vlmcal.learners.base import ClassContext
from vlmcal.learners.cocoop import CoCoOp
from vlmcal.learners.coop import CoOp
from vlmcal.learners.kgcoop import KgCoOp

PHOTO = ("a photo of a {}.",)


def classes(case, encoder, templates=PHOTO):
    return ClassContext(encoder, tuple(case["classnames"]), templates)


def coop(case, encoder):
    config = case["config"]
    learner = CoOp(
        classes(case, encoder),
        CoOp.Config(
            n_ctx=config["n_ctx"],
            init=config["ctx_init"] or None,
            position=config["class_token_position"],
            class_specific=config["class_specific"],
        ),
    )
    return Prepared(
        learner,
        names={"ctx": "ctx"},
        objective="ce",
        terms={"ce": "ce"},
        new_classes=not config["class_specific"],
    )


def kgcoop(case, encoder):
    config = case["config"]
    templates = (config["teacher_template"],) if "teacher_template" in config else PHOTO
    learner = KgCoOp(classes(case, encoder, templates), KgCoOp.Config(init=config["ctx_init"]))
    return Prepared(
        learner,
        names={"ctx": "ctx"},
        objective=["ce", {"name": "kgcoop", "weight": float(config["w"])}],
        terms={"ce": "ce", "kg": "kgcoop"},
    )


def cocoop(case, encoder):
    config = case["config"]
    learner = CoCoOp(classes(case, encoder), CoCoOp.Config(init=config.get("ctx_init")))
    names = {"ctx": "ctx"}
    for layer, index in (("linear1", 0), ("linear2", 2)):
        for part in ("weight", "bias"):
            names[f"meta_net.{layer}.{part}"] = f"meta_net.{index}.{part}"
    return Prepared(learner, names=names, objective="ce", terms={"ce": "ce"})


ADAPTERS = {"CoOp": coop, "KgCoOp": kgcoop, "CoCoOp": cocoop}
