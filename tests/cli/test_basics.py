"""Help, lists, descriptions, doctor, data check."""

import subprocess
import sys
import time

import pytest

from vlmcal.cli.describe import KINDS, documentation, first_line


def test_help_is_quick_and_free_of_torch():
    code = (
        "import sys; sys.argv = ['vlmcal', '--help']\n"
        "from vlmcal.cli import main\n"
        "try:\n    main()\nfinally:\n    assert 'torch' not in sys.modules\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    for verb in ("demo", "evaluate", "run", "predict", "data", "list", "describe", "doctor"):
        assert verb in result.stdout


def test_help_start_time_is_reported(record_property):
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "vlmcal", "--help"], capture_output=True, check=True)
    record_property("seconds", time.perf_counter() - start)


def test_version(vlmcal):
    from vlmcal import __version__

    assert vlmcal("--version").out.strip() == f"vlmcal {__version__}"


@pytest.mark.parametrize("kind", KINDS)
def test_everything_that_is_registered_is_listed_and_described(vlmcal, kind):
    entries = KINDS[kind]()
    assert entries
    listed = vlmcal("list", kind)
    assert listed.code == 0
    for name, entry in entries.items():
        assert name in listed.out
        assert documentation(entry), f"{kind} {name} has no documentation"
        assert first_line(entry)


def test_describe_prints_parameters_defaults_and_source(vlmcal):
    text = vlmcal("describe", "coop").out
    assert "n_ctx" in text
    assert "= 16" in text
    assert "2109.01134" in text
    text = vlmcal("describe", "ece").out
    assert "Definition: Sum over 15 equal-width bins" in text
    assert vlmcal("describe", "tcpt").code == 0


def test_a_presets_settings_are_shown_as_they_are_written_in_yaml(vlmcal):
    objective = "[{name: ce, weight: 0.3}, dept, {name: kgcoop, weight: 2}]"
    (line,) = [x for x in vlmcal("list", "presets").out.splitlines() if x.startswith("dept-kgcoop")]
    assert line.endswith(f"objective {objective}")
    text = vlmcal("describe", "dept-kgcoop").out
    assert f"objective: {objective}\n" in text
    assert "method: {base: kgcoop}" in text
    assert "lr: 0.0035" in text
    assert "objective" not in vlmcal("describe", "dept-coop").out


def test_unknown_names(refused):
    refused("list", "method", words=['"methods"'])
    refused("describe", "coopp", words=["coopp", '"coop"'])


def test_doctor(vlmcal):
    result = vlmcal("doctor")
    assert result.code == 0, result.out
    assert "everything works" in result.out


def test_data_check_good_and_bad(vlmcal, refused, small_images, tmp_path):
    assert vlmcal("data", "check", small_images).code == 0
    bad = tmp_path / "bad"
    (bad / "cat").mkdir(parents=True)
    (bad / "dog").mkdir()
    (bad / "cat" / "a.png").write_bytes(b"")
    (bad / "cat" / "b.png").write_bytes(b"nonsense")
    refused("data", "check", bad, words=["a.png", "b.png", "dog"])
    refused("data", "check", tmp_path / "nowhere", words=["nowhere"])


def test_every_preset_of_objectives_is_listed(vlmcal):
    from vlmcal.objectives.presets import PRESETS

    listed = {
        line.split()[0] for line in vlmcal("list", "objectives").out.splitlines() if line.strip()
    }
    assert set(PRESETS) <= listed


def test_the_toy_is_named_first_also_with_options(vlmcal, tmp_path):
    spec = tmp_path / "e.yaml"
    spec.write_text(
        "data: digits\nmethod: zero_shot\nbackbone: pocket(encode_precision=bfloat16)\n"
    )
    assert vlmcal("run", spec, "--plan").err.startswith('The backbone "pocket" is a toy')


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "rows.csv", "--seed", "1", "--seed", "2"),
        ("train", "photos", "--objective", "ce", "--objective", "tcpt"),
        ("conformal", "fit", "rows.csv", "-m", "aps", "--method", "lac", "-o", "fit.json"),
    ],
)
def test_an_option_of_one_value_is_not_given_twice(refused, words):
    refused(*words, words=["is given 2 times; it takes one value"])


def test_published_numbers_are_chosen_by_several_names(vlmcal, refused):
    out = vlmcal("published", "list", "--paper", "tcpt", "--paper", "dor,calibprompt").out
    assert [line.split()[0] for line in out.splitlines()[2:5]] == ["tcpt", "calibprompt", "dor"]
    refused("published", "list", "--paper", "tcpt,dorr", words=['"dorr"', 'did you mean "dor"'])


def test_only_the_verb_that_is_typed_is_loaded():
    code = (
        "import sys; from vlmcal.cli.app import VERBS, GROUPS, app_for; app_for(['--allow-code', 'list']); "
        "print([m for m, _ in {**VERBS, **GROUPS}.values() if f'vlmcal.cli.{m}' in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "['describe', 'describe']"
