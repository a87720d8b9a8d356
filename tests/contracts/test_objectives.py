"""What every registered objective must do, whatever it computes."""

import dataclasses
import doctest
import json
import textwrap
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from vlmcal.errors import SpecError
from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.compose import Sum, parse_objective
from vlmcal.options import parameters
from vlmcal.types.outputs import OUTPUT_NAMES, Outputs

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
PER_SAMPLE = (
    *("logits", "labels", "image_features", "raw_image_features", "frozen_image_features"),
    *("zero_shot_logits", "second_image_features", "frozen_second_image_features"),
    *("sample_index", "correctness", "head_logits", "head_labels", "sample_logits"),
)
TUNED = (
    *("logits", "text_features", "image_features", "outlier_text_features", "parameters"),
    *("prompt_text_features", "prototypes", "head_logits", "sample_logits", "divergence"),
)
TRAINING = OUTPUT_NAMES - {"validation_logits", "validation_labels"}


def make_outputs(
    batch: int = 5,
    classes: int = 3,
    width: int = 6,
    *,
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
    prompts: int = 0,
    labels: Tensor | None = None,
    seed: int = 0,
) -> Outputs:
    """Random outputs of one step with every field filled."""
    stream = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=stream, dtype=torch.float64).to(device, dtype)

    def directions(*shape: int) -> Tensor:
        return normalize(random(*shape), dim=-1)

    text = directions(classes, prompts, width) if prompts else directions(classes, width)
    if labels is None:
        labels = torch.randint(classes, (batch,), generator=stream)
    return Outputs(
        logits=2 * random(batch, classes),
        labels=labels.to(device),
        image_features=directions(batch, width),
        text_features=text,
        raw_image_features=random(batch, width),
        raw_text_features=random(classes, width),
        frozen_text_features=directions(classes, width),
        frozen_template_features=directions(2, classes, width),
        frozen_image_features=directions(batch, width),
        zero_shot_logits=2 * random(batch, classes),
        second_image_features=directions(batch, width),
        frozen_second_image_features=directions(batch, width),
        outlier_text_features=directions(7, width),
        frozen_outlier_text_features=directions(7, width),
        prompt_text_features=directions(4, width),
        sample_logits=2 * random(batch, 3, classes),
        divergence=random(1).abs().reshape(()),
        prototypes=random(classes, width),
        prototype_targets=random(classes, width),
        class_multipliers=random(classes).abs(),
        head_logits=2 * random(batch, classes),
        head_labels=labels.to(device),
        logit_scale=torch.tensor(5.0, dtype=dtype, device=device),
        parameters={
            "visual_projection.weight": random(4, 4),
            "text_projection.weight": random(4, 4),
        },
        initial_parameters={"visual_projection.weight": random(4, 4)},
        sample_index=torch.arange(batch, device=device),
        correctness=torch.tensor([0.0, 3.0, 1.0, 4.0, 2.0] * batch, device=device)[:batch],
        class_names=tuple(f"class {index}" for index in range(classes)),
        epoch=4,
        step=9,
        total_steps=20,
        generator=torch.Generator().manual_seed(seed),
        memory={"correctness": torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0], device=device)},
    )


def fits(objective: Objective, **options: Any) -> Outputs:
    """Outputs of the shape that this configuration asks for."""
    prompts = 2 if getattr(objective, "between", "") == "prompts" else 0
    return make_outputs(prompts=prompts, **options)


def alternatives(objective: Objective, field: str, hint: Any) -> list[Any]:
    """The values of a named option or flag other than the one in force."""
    options = get_args(hint) if get_origin(hint) is Literal else ()
    options = (True, False) if hint is bool else options
    return [option for option in options if option != getattr(objective, field)]


def configurations() -> list[Any]:
    """Every objective with its defaults, with each named option and with each flag turned."""
    found = []
    for name, kind in OBJECTIVES.items():
        found.append(pytest.param(kind(), id=name))
        for field, hint in parameters(kind).items():
            found += [
                pytest.param(kind(**{field: option}), id=f"{name}-{field}-{option}")
                for option in alternatives(kind(), field, hint)
            ]
    return found


def those(condition: Callable[[Objective], bool]) -> pytest.MarkDecorator:
    """Parametrise over the configurations for which ``condition`` holds."""
    chosen = [case for case in configurations() if condition(case.values[0])]
    return pytest.mark.parametrize("objective", chosen)


def reads_class_features(objective: Objective) -> bool:
    return "text_features" in objective.required and not hasattr(objective, "between")


ALL = those(lambda objective: True)
KINDS = pytest.mark.parametrize(("name", "kind"), list(OBJECTIVES.items()))


def total(objective: Objective, outputs: Outputs) -> Tensor:
    """Sum of all terms, guides included."""
    return sum(t.value * t.weight for t in objective.terms(outputs).values())  # type: ignore[return-value]


def leaves(objective: Objective, outputs: Outputs) -> list[Tensor]:
    """The tensors that training can move and that this objective reads."""
    found = []
    for name in TUNED:
        value = getattr(outputs, name)
        if name in objective.required:
            found += list(value.values()) if isinstance(value, dict) else [value]
    return [tensor.requires_grad_(True) for tensor in found]


def saturate(outputs: Outputs, *, right: bool) -> Outputs:
    """Logits at CLIP's scale of 100 with one class 40 nats ahead."""
    assert outputs.logits is not None
    assert outputs.labels is not None
    classes = outputs.logits.shape[1]
    ahead = outputs.labels if right else (outputs.labels + 1) % classes
    logits = 20 + torch.zeros_like(outputs.logits)
    outputs.logits = logits.scatter(1, ahead[:, None], 60.0)
    return outputs


def assert_finite(objective: Objective, outputs: Outputs) -> None:
    moved = leaves(objective, outputs)
    value = total(objective, outputs)
    assert value.shape == ()
    assert torch.isfinite(value)
    for gradient in torch.autograd.grad(value, moved, allow_unused=True):
        assert gradient is None or torch.isfinite(gradient).all()


@ALL
@pytest.mark.parametrize("device", DEVICES)
def test_finite_on_random_logits(objective: Objective, device: str) -> None:
    assert_finite(objective, fits(objective, dtype=torch.float32, device=device))


@ALL
@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_on_saturated_logits(objective: Objective, right: bool, dtype: torch.dtype) -> None:
    assert_finite(objective, saturate(fits(objective, dtype=dtype), right=right))


@ALL
def test_finite_when_tuned_equals_frozen(objective: Objective) -> None:
    outputs = fits(objective, dtype=torch.float32)
    assert outputs.frozen_text_features is not None
    assert outputs.frozen_image_features is not None
    if getattr(objective, "between", "") != "prompts":
        outputs.text_features = outputs.frozen_text_features.clone()
    outputs.image_features = outputs.frozen_image_features.clone()
    outputs.logits = outputs.zero_shot_logits
    outputs.outlier_text_features = outputs.frozen_outlier_text_features
    assert_finite(objective, outputs)


@those(lambda objective: not objective.stops_gradient)
def test_gradient_is_the_slope(objective: Objective) -> None:
    outputs = fits(objective)
    moved = leaves(objective, outputs)

    def loss(*_: Tensor) -> Tensor:
        return total(objective, outputs)

    assert torch.autograd.gradcheck(loss, tuple(moved), atol=1e-6, rtol=1e-5)


@those(lambda objective: not objective.pairs_samples)
def test_order_of_samples_does_not_matter(objective: Objective) -> None:
    outputs = fits(objective)
    assert outputs.labels is not None
    order = torch.tensor([3, 0, 4, 1, 2])
    moved = {name: getattr(outputs, name)[order] for name in PER_SAMPLE}
    shuffled = dataclasses.replace(outputs, **moved)
    torch.testing.assert_close(total(objective, shuffled), total(objective, outputs))


@ALL
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keeps_the_type(objective: Objective, dtype: torch.dtype) -> None:
    assert total(objective, fits(objective, dtype=dtype)).dtype == dtype


@ALL
def test_float32_agrees_with_float64(objective: Objective) -> None:
    wide, narrow = fits(objective), fits(objective, dtype=torch.float32)
    torch.testing.assert_close(
        total(objective, narrow).double(), total(objective, wide), rtol=2e-4, atol=2e-5
    )


@ALL
def test_autocast_changes_nothing(objective: Objective) -> None:
    outputs = fits(objective, dtype=torch.bfloat16)
    plain = total(objective, outputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = total(objective, outputs)
    assert plain.dtype == cast.dtype == torch.float32
    assert torch.equal(plain, cast)


@ALL
def test_is_pure(objective: Objective) -> None:
    outputs = fits(objective)
    assert outputs.generator is not None
    before = {name: _copy(getattr(outputs, name)) for name in OUTPUT_NAMES - {"generator"}}
    state = outputs.generator.get_state().clone()
    first, second = total(objective, outputs), total(objective, outputs)
    assert torch.equal(first, second)
    assert torch.equal(state, outputs.generator.get_state())
    for name, value in before.items():
        assert _same(value, getattr(outputs, name)), name


@ALL
def test_spec_round_trip(objective: Objective) -> None:
    spec = json.loads(json.dumps(Sum((objective,)).to_spec()))
    assert parse_objective(spec, allow_incomplete=True).objectives == (objective,)
    assert all(value != default(objective, key) for key, value in spec[0].items() if key != "name")


def default(objective: Objective, field: str) -> Any:
    return next(f.default for f in dataclasses.fields(objective) if f.name == field)


@ALL
def test_missing_input_is_named(objective: Objective) -> None:
    for name in objective.required:
        if name in TRAINING:
            outputs = dataclasses.replace(fits(objective), **{name: None})
            with pytest.raises(SpecError, match=f'"{objective.name}" needs "{name}"'):
                objective.terms(outputs)
        with pytest.raises(SpecError, match=f'"{objective.name}" needs "{name}".*; '):
            Sum((objective,)).check(OUTPUT_NAMES - {name}, 10, 32)


@ALL
def test_missing_validation_split_is_named(objective: Objective) -> None:
    outputs = Outputs(
        validation_logits=torch.tensor([[2.0, 0.0], [1.0, 0.0]]),
        validation_labels=torch.tensor([0, 1]),
    )
    objective.on_epoch_end(outputs, {})
    for name in set(objective.required) - TRAINING:
        bare = dataclasses.replace(outputs, **{name: None})
        with pytest.raises(SpecError, match=f'"{objective.name}" needs "{name}"'):
            objective.on_epoch_end(bare, {})


@ALL
def test_reads_nothing_that_it_does_not_declare(objective: Objective) -> None:
    outputs = fits(objective)
    kept = {*objective.required, "class_names", "epoch", "step", "total_steps", "memory"}
    bare = dataclasses.replace(outputs, **dict.fromkeys(TRAINING - kept))
    assert torch.equal(total(objective, bare), total(objective, outputs))


@ALL
@pytest.mark.parametrize("label", [0, 1])
def test_two_classes_and_absent_classes(objective: Objective, label: int) -> None:
    for classes in (2, 4):
        labels = torch.full((5,), label)
        assert_finite(objective, fits(objective, classes=classes, labels=labels))


@ALL
def test_single_sample(objective: Objective) -> None:
    for label in (0, 1, 2):
        outputs = fits(objective, batch=1, labels=torch.tensor([label]), dtype=torch.float32)
        assert_finite(objective, outputs)
    if objective.minimum_batch > 1:
        with pytest.raises(SpecError, match="samples in a batch"):
            Sum((objective,)).check(OUTPUT_NAMES, 10, objective.minimum_batch - 1)


@ALL
def test_one_class_is_handled_or_refused(objective: Objective) -> None:
    if objective.minimum_classes > 1:
        with pytest.raises(SpecError, match=f"at least {objective.minimum_classes} classes"):
            Sum((objective,)).check(OUTPUT_NAMES, 1, 32)
        return
    if getattr(objective, "between", "") == "classes":
        with pytest.raises(SpecError, match="found only one"):
            total(objective, make_outputs(classes=1))
        return
    assert_finite(objective, fits(objective, classes=1))


@those(reads_class_features)
@pytest.mark.parametrize("layout", ["image", "prompt"])
def test_text_features_of_images_or_prompts(objective: Objective, layout: str) -> None:
    outputs = make_outputs(batch=5, classes=3)
    assert outputs.text_features is not None
    shared = total(objective, outputs)
    text = outputs.text_features
    several = text.repeat(5, 1, 1) if layout == "image" else text[:, None].repeat(1, 2, 1)
    outputs = dataclasses.replace(outputs, text_features=several)
    if "contrastive" in objective.name or "distillation" in objective.name:
        with pytest.raises(SpecError, match=f'"{objective.name}".* one text feature per class'):
            total(objective, outputs)
        return
    torch.testing.assert_close(total(objective, outputs), shared)


@KINDS
def test_describes_itself(name: str, kind: type[Objective]) -> None:
    objective = kind()
    text = kind.__doc__ or ""
    assert objective.name == name
    assert dataclasses.is_dataclass(kind)
    assert set(objective.needs) <= OUTPUT_NAMES
    assert set(objective.required) <= set(objective.needs)
    assert len(kind.source) > 20
    assert ".. math::" in text
    assert ">>>" in text
    documented = text.partition("Attributes:")[2]
    for field in dataclasses.fields(kind):
        if field.name != "weight" or field.default != 1.0:
            assert field.name in documented, field.name
    with pytest.raises(dataclasses.FrozenInstanceError):
        objective.weight = 2.0  # type: ignore[misc]


def test_the_example_of_contributing_describes_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code = textwrap.dedent(text.partition("   ```python\n")[2].partition("   ```\n")[0])
    monkeypatch.setattr(OBJECTIVES, "register", lambda name: lambda kind: kind)
    module = types.ModuleType("logit_size")
    exec(code, vars(module))
    module.LogitSize.name = "logit_size"
    test_describes_itself("logit_size", module.LogitSize)
    assert doctest.testmod(module) == (0, 2)


@KINDS
def test_weight_scales_every_term(name: str, kind: type[Objective]) -> None:
    outputs = fits(kind())
    plain, doubled = kind(), kind(weight=2 * kind().weight)
    torch.testing.assert_close(total(doubled, outputs), 2 * total(plain, outputs))


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: tensor.clone() for key, tensor in value.items()}
    return value.clone() if isinstance(value, Tensor) else value


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    return torch.equal(left, right) if isinstance(left, Tensor) else bool(left == right)
