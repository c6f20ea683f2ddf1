"""The `auricle` command itself: finding a command, its speed, and how errors are told."""

import argparse
import importlib
import importlib.util
import os
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from auricle.configs import arguments, cli
from auricle.configs.errors import BusError, ConfigError
from auricle.daemon.bundled import FOLDER

AURICLE = (sys.executable, "-m", "auricle.configs.cli")
HEAVY = ("torch", "zmq", "numpy", "scipy", "soundfile", "sounddevice", "rich")


@pytest.fixture
def fake_command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], int]], None]:
    """Returns a function that installs `auricle fake` with the given body."""

    def install(body: Callable[[], int]) -> None:
        module = types.ModuleType("fake_command")

        def add_arguments(parser: argparse.ArgumentParser) -> None:
            parser.add_argument("--number", type=int, default=0)

        def run(args: argparse.Namespace) -> int:
            return body() + args.number

        vars(module).update(HELP="Does nothing.", add_arguments=add_arguments, run=run)
        monkeypatch.setitem(sys.modules, "fake_command", module)
        monkeypatch.setitem(cli.COMMANDS, "fake", cli.Command("fake_command", "does nothing"))

    return install


def raising(error: BaseException) -> Callable[[], int]:
    def body() -> int:
        raise error

    return body


def modules_after(*arguments: str) -> set[str]:
    """Returns the modules that a fresh interpreter holds after running `arguments`."""
    code = (
        "import sys\nfrom auricle.configs import cli\n"
        f"try: cli.main({list(arguments)!r})\nexcept SystemExit: pass\n"
        "print('MODULES', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.rpartition("MODULES ")[2].split())


def test_the_help_teaches_the_first_steps_and_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    for text in ("First things to do:", "auricle demo", "auricle stream", "auricle run", "--config", "--set"):
        assert text in out
    for name, command in cli.COMMANDS.items():
        assert f"  {name:<12}{command.help}" in out
    assert max(map(len, out.splitlines())) <= 80 + 20


def test_the_help_is_quick_and_imports_nothing_heavy() -> None:
    modules = modules_after("--help")
    assert not modules & {*HEAVY, "pydantic"}
    durations = []
    for _ in range(3):
        start = time.monotonic()
        subprocess.run([*AURICLE, "--help"], capture_output=True, check=True)
        durations.append(time.monotonic() - start)
    assert min(durations) < 0.3


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_help_of_a_command_imports_nothing_heavy(name: str) -> None:
    assert not modules_after(name, "--help") & set(HEAVY)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_of_the_table_exists(name: str) -> None:
    module = importlib.import_module(cli.COMMANDS[name].module)
    assert isinstance(module.HELP, str) and module.HELP
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    assert callable(module.run)


def test_without_a_command_the_help_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == cli.EXIT_USAGE
    captured = capsys.readouterr()
    assert captured.out == "" and "First things to do" in captured.err


def test_the_version_names_auricle_python_and_torch(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("auricle ") and "Python 3." in out and "torch 2." in out


@pytest.mark.parametrize(
    ("name", "hint"), [("strem", "`auricle stream`"), ("xyzzy", "--help"), ("--dem", "auricle demo")]
)
def test_an_unknown_command_names_the_nearest(
    name: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([name]) == cli.EXIT_USAGE
    err = capsys.readouterr().err
    assert err.startswith("auricle: error: ") and hint in err and err.count("\n") == 1


def test_help_of_a_command(capsys: pytest.CaptureFixture[str], fake_command: Callable[..., None]) -> None:
    fake_command(lambda: 0)
    with pytest.raises(SystemExit) as caught:
        cli.main(["help", "fake"])
    assert caught.value.code == 0
    assert "usage: auricle fake" in capsys.readouterr().out


def test_a_command_returns_its_status(fake_command: Callable[..., None]) -> None:
    fake_command(lambda: 3)
    assert cli.main(["fake", "--number", "4"]) == 7


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ConfigError("expected a, got b"), 2, "auricle: error: expected a, got b\n"),
        (BusError("no one listens"), 1, "auricle: error: no one listens\n"),
        (
            FileNotFoundError(2, "No such file or directory", "a.wav"),
            1,
            "auricle: error: a.wav: No such file or",
        ),
        (PermissionError(13, "Permission denied"), 1, "auricle: error: Permission denied\n"),
        (
            ModuleNotFoundError("No module named 'tensorboard'", name="tensorboard"),
            1,
            "auricle: error: expected the",
        ),
    ],
)
def test_errors_of_the_user_are_one_line(
    error: Exception,
    status: int,
    message: str,
    fake_command: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake_command(raising(error))
    assert cli.main(["fake"]) == status
    err = capsys.readouterr().err
    assert err.startswith(message) and err.count("\n") == 1


def test_developers_see_where_an_error_came_from(
    fake_command: Callable[..., None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_command(raising(BusError("no one listens")))
    assert cli.main(["fake", "--traceback"]) == 1
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.setenv("AURICLE_DEBUG", "1")
    assert cli.main(["fake"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_bug_is_shown_once_with_its_traceback(
    fake_command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    fake_command(raising(ZeroDivisionError("oops")))
    assert cli.main(["fake", "--traceback"]) == 1
    err = capsys.readouterr().err
    assert err.count("Traceback") == 1 and "please report it" in err


def test_ctrl_c_is_quiet(fake_command: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    fake_command(raising(KeyboardInterrupt()))
    assert cli.main(["fake"]) == cli.EXIT_INTERRUPTED
    assert capsys.readouterr().err == ""


def test_a_closed_pipe_is_quiet() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [*AURICLE, "config", "--explain"],
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(write_end)
    assert done.stderr == "" and done.returncode == cli.EXIT_BROKEN_PIPE


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ([], "[vad]\nenabled = true"),
        (["--show", "--config", "keywords"], "[vad]\nenabled = false"),
        (["--explain"], "# Speech starts at this posterior"),
        (["--list"], "Voice activity alone"),
        (["--set", "vad.onset=0.9"], "onset = 0.9"),
    ],
)
def test_the_config_command(options: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", *options]) == 0
    assert text in capsys.readouterr().out


def test_the_config_command_refuses_a_wrong_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "my.toml"
    path.write_text("[vad]\nonset = 2\n", "utf-8")
    assert cli.main(["config", "--config", str(path)]) == cli.EXIT_USAGE
    assert capsys.readouterr().err.startswith(
        f"auricle: error: {path}:2: vad.onset: expected number, 0 to 1, got 2"
    )


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "soon", ""])
def test_a_wrong_duration_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected seconds"):
        arguments.seconds(text)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", ""])
def test_a_wrong_count_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected a whole number"):
        arguments.count(text)


@pytest.mark.parametrize("text", ["nan", "inf", "0", "-1", "some", ""])
def test_a_measure_of_nothing_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected a number above 0"):
        arguments.positive(text)


def test_durations_and_counts_are_read() -> None:
    assert (arguments.seconds("0.5"), arguments.count("3")) == (0.5, 3)
    assert (arguments.positive("0.05"), arguments.whole("0")) == (0.05, 0)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("train vad --threads 0", "--threads: expected a whole number, 1 or more"),
        ("train vad --words lamp", "--words goes with `train keyword` only: leave it out of `train vad`"),
        ("train wake lamp --fresh", "--fresh goes with `train vad`, `train keyword`, `train acoustic` only"),
        ("train vad --minutes -1", "--minutes: expected a number above 0"),
        ("train acoustic --loaders -1", "--loaders: expected a whole number, 0 or more"),
        ("train vad --set network.layers=0", "labels, hidden and layers want 1 or more"),
        ("train vad --set training.steps=-5 --show", "training.steps: expected 0 or more, got -5"),
        ("train vad --recipe nothere", "no recipe nothere: shipped are"),
        ("compare --threads 0", "--threads: expected a whole number, 1 or more"),
        ("calibrate model --part 0", "--part: expected a number above 0"),
        ("data pack --part-mb nan", "--part-mb: expected a number above 0"),
        ("evaluate wake commands", "`evaluate wake` goes alone"),
        ("evaluate model.safetensors wake", "`evaluate wake` goes alone"),
        ("evaluate transcripts --snr-db 5", "no --snr-db"),
        ("evaluate commands --openings 5", "--openings goes with `evaluate wake` only"),
        ("evaluate wake --openings 5 --most 3", "without --manifest, --fit and --most"),
        ("evaluate wake --promise", "--promise goes with `evaluate commands` only"),
        ("evaluate commands --promise --manifest x", "--promise goes with `evaluate commands` only"),
        ("evaluate wake --spoken 5 --grammar x", "--spoken goes with `evaluate commands` only"),
        ("evaluate commands --spoken 5", "--grammar belongs to --manifest"),
        (
            "evaluate commands --spoken 5 --grammar nope.yaml",
            "expected a YAML file or one of the shipped grammars coffee",
        ),
        ("say-it !!!", "nothing to say in '!!!'"),
        ("say-it --set acoustic.lexicon=nope.txt hey", "no lexicon nope.txt"),
        ("stream nothing.wav --grammar .", "commands.grammar: got the folder '.'"),
        ("send --to tcp://127.0.0.1:9 --stream a/b nothing.wav", "--stream: expected a stream name"),
        ("config --set streams.mic.rate=1", "expected 0, or 4000 to 384000 Hz, got 1"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_begins(
    command: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = cli.main(command.split())
    except SystemExit as stop:
        code = stop.code  # argparse has refused it
    assert code in (1, 2)
    err = capsys.readouterr().err
    assert said in err and "bug" not in err


WITHOUT_SETTINGS = ("evaluate", "data", "calibrate", "tune", "say-it")


@pytest.mark.parametrize("name", [name for name in cli.COMMANDS if name not in WITHOUT_SETTINGS])
def test_every_command_takes_set(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.run_command([name, "--help"])
    assert "--set KEY=VALUE" in capsys.readouterr().out


def test_stream_says_what_did_not_come(capsys: pytest.CaptureFixture[str]) -> None:
    study = str(FOLDER / "study.flac")
    assert cli.main(["stream", "--jsonl", "--config", "vad", "--set", "keyword.enabled=true", study]) == 0
    assert capsys.readouterr().err == f"{study}: 10.6 s, no keyword\n"


def test_a_file_at_a_useless_rate_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "slow.wav", np.zeros(2000), 1000)
    assert cli.main(["stream", "--config", "vad", str(tmp_path / "slow.wav")]) == 1
    err = capsys.readouterr().err
    assert "slow.wav: expected a rate from 4000 to 384000 Hz, got 1000; resample it" in err


def test_a_file_that_cannot_be_looked_at_leaves_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "quiet.wav", np.zeros(2000), 16_000)
    wrong, right = str(tmp_path / ("a" * 300)), str(tmp_path / "quiet.wav")
    assert cli.main(["stream", "--config", "vad", wrong, right]) == 1
    err = capsys.readouterr().err
    assert "File name too long" in err and f"{right}: 0.1 s, no speech" in err


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("vad.model=nope", "no shipped model 'nope'"),
        ("transcript.language_model=nope", "no language model 'nope'"),
        ("transcript.model=nope", "no folder nope; expected one with a transducer"),
        ("acoustic.lexicon=nope.txt", "no lexicon nope.txt"),
    ],
)
def test_what_a_setting_names_and_is_not_there_is_a_mistake_in_the_configuration(
    setting: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A service that is started anew would only fail anew."""
    asked = ["--transcribe", "--set", "vad.enabled=true", "--set", setting]
    assert cli.main(["stream", str(FOLDER / "study.flac"), *asked]) == 2
    assert said in capsys.readouterr().err


def test_posteriors_are_of_the_cell_that_listens(capsys: pytest.CaptureFixture[str]) -> None:
    study, found = str(FOLDER / "study.flac"), []
    for more in ([], ["--set", "vad.cell=lstm"], ["--cell", "lstm"]):
        assert cli.main(["posteriors", study, "--json", *more]) == 0
        found.append(capsys.readouterr().out)
    assert found[0] != found[1] == found[2]
