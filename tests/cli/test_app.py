"""What all commands have in common: help, completion, a quick start."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

import holdfast.cli
from holdfast.cli.exits import Exit
from tests.support.terminal import HOLDFAST, environment, inside, on_terminal, run

COMMANDS = [
    [],
    ["request"],
    ["serve"],
    ["demo"],
    ["config", "lint"],
    ["config", "show"],
    ["config", "schema"],
]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_that_use_only_options_there_are(capsys, command):
    done = inside(capsys, *command, "--help")
    assert done.code == 0
    help_, _, rest = done.out.partition(" Examples ")
    examples = re.findall(r"holdfast (.*)", re.split(r"\n +\n", rest)[0])
    assert examples
    if command:
        options = {option for one in examples for option in re.findall(r"(?<=\s)--?[a-z][\w-]*", one)}
        assert all(re.search(rf"{option}\b", help_) for option in options)


def test_help_tells_the_exit_codes(capsys):
    for command in ([], ["request"], ["config", "lint"]):
        told = inside(capsys, *command, "--help").out.partition("Exit codes")[2]
        assert [int(code) for code in re.findall(r"^ +(\d+)  ", told, re.MULTILINE)] == [one.value for one in Exit]
    assert {str(one.value) for one in Exit} == set(re.findall(r"\b\d+\b", holdfast.cli.__doc__ or ""))


def test_no_arguments_show_the_help(capsys):
    for command in ([], ["config"]):
        done = inside(capsys, *command)
        assert done.code == 2 and "Usage: holdfast" in done.out and done.err == ""


def test_help_has_colours_only_where_they_are_wanted():
    assert "\x1b[" in on_terminal("request", "--help").out
    assert "\x1b[3" not in on_terminal("request", "--help", env={"NO_COLOR": "1"}).out
    assert "\x1b" not in run("request", "--help").out


def test_help_loads_neither_the_client_nor_the_servers():
    program = (
        "import sys\nfrom holdfast.cli import main\n"
        "try:\n    main(['request', '--help'])\nexcept SystemExit:\n"
        "    print(sorted({'httpx2', 'fastapi', 'uvicorn', 'holdfast.client', 'holdfast.config'} "
        "& set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version_is_one_line():
    assert re.fullmatch(r"holdfast \d+\.\d+\.\d+\S*\n", run("--version").out)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_the_completion_script_of_a_shell_that_is_named(shell):
    done = run(env={"_HOLDFAST_COMPLETE": f"source_{shell}"})
    assert done.code == 0 and "_HOLDFAST_COMPLETE" in done.out and done.err == ""


def test_the_completion_script_of_the_shell_that_it_is_typed_in(tmp_path):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    env = environment({"SHELL": bash, "HOME": str(tmp_path)})
    done = subprocess.run(
        # Not its last command, or bash would become it.
        [bash, "--norc", "-c", f"{HOLDFAST} --show-completion; echo $?; {HOLDFAST} --install-completion; echo $?"],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert "0" in lines and lines[-1] == "0", done
    assert "_holdfast_completion() {" in lines and "complete -o default -F _holdfast_completion holdfast" in lines
    script = tmp_path / ".bash_completions" / "holdfast.sh"
    assert str(script) in (tmp_path / ".bashrc").read_text()
    words = f"source {script}; COMP_WORDS=(holdfast config li); COMP_CWORD=2; _holdfast_completion holdfast; "
    shown = subprocess.run(
        [bash, "--norc", "-c", words + "echo ${COMPREPLY[@]}"],
        env={**env, "PATH": f"{os.path.dirname(HOLDFAST)}{os.pathsep}{env['PATH']}"},  # noqa: PTH120
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert shown.stdout == "lint\n"


def test_the_completion_knows_options():
    env = {"_HOLDFAST_COMPLETE": "complete_bash", "COMP_WORDS": "holdfast request --dead", "COMP_CWORD": "2"}
    assert run(env=env).out.split() == ["--deadline"]
