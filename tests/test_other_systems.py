"""Windows has no ``fcntl`` and its kin: everything is imported and used without them."""

import pytest
import yaml

from absent import python_without, vlmcal_without
from cli.posthoc_files import scores, write

# Their own dependencies choose by the name of the operating system.
WINDOWS = {"importers": ("vlmcal", "filelock")}
UNIX_ONLY = ("fcntl", "pwd", "grp", "resource", "termios")
IMPORT_ALL = """
import importlib, pkgutil, vlmcal
for module in pkgutil.walk_packages(vlmcal.__path__, "vlmcal."):
    if module.name != "vlmcal.__main__":
        importlib.import_module(module.name)
import filelock
print(filelock.FileLock is filelock.SoftFileLock)
"""


@pytest.fixture
def call(tmp_path):
    def call(*arguments):
        result = vlmcal_without(UNIX_ONLY, *arguments, **WINDOWS, cwd=tmp_path)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    return call


def test_every_module_is_imported():
    result = python_without(UNIX_ONLY, IMPORT_ALL, **WINDOWS)
    assert (result.returncode, result.stdout.strip()) == (0, "True"), result.stderr


def test_predictions_are_evaluated_and_calibrated(call, tmp_path):
    write(tmp_path / "val.npz", **scores())
    write(tmp_path / "test.npz", **scores(seed=1))
    assert "ECE" in call("evaluate", "val.npz", "--resamples", 0)
    call("calibrate", "fit", "val.npz", "-m", "temperature", "-o", "cal.json")
    call("calibrate", "apply", "cal.json", "test.npz", "-o", "calibrated.npz")
    assert "ECE" in call("evaluate", "calibrated.npz", "--resamples", 0)


def test_a_grid_is_run(call, tmp_path, small_images, tiny_folder):
    spec = {
        "data": str(small_images),
        "backbone": str(tiny_folder),
        "method": "zero_shot",
        "evaluate": {"resamples": 100},
    }
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    assert "zero_shot" in call("run", "spec.yaml", "--store", "store")
    assert len(list((tmp_path / "store" / "runs").glob("*/status.json"))) == 1


def test_answers_are_recorded_by_one_process_at_a_time(tmp_path):
    code = """
from pathlib import Path
from vlmcal.elicit.response_log import ResponseLog
from vlmcal.errors import StoreError
with ResponseLog(Path("log.jsonl")):
    try:
        ResponseLog(Path("log.jsonl")).__enter__()
    except StoreError as error:
        print(error)
with ResponseLog(Path("log.jsonl")):
    print("free again")
"""
    result = python_without(UNIX_ONLY, code, **WINDOWS, cwd=tmp_path)
    assert "another process is writing" in result.stdout, result.stderr
    assert "free again" in result.stdout
