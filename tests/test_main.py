"""Where the program begins."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

from arf.__main__ import main


class Stopped:
    """Ctrl-C while the command line is loaded."""

    def find_spec(self, name, *_):
        if name == "arf.cli":
            raise KeyboardInterrupt


def test_ctrl_c_while_the_program_loads_is_one_line(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "arf.cli", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Stopped(), *sys.meta_path])
    assert main() == 130
    assert capsys.readouterr() == ("", "arf: stopped\n")


def test_torch_says_nothing_of_sparse_matrices():
    made = "torch.sparse_csr_tensor(torch.tensor([0, 1]), torch.tensor([0]), torch.ones(1), check_invariants=False)"
    lines = f"from arf.cli import main; main(['--version']); import torch; {made}"
    assert subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True).stderr == ""


def test_the_command_begins_there():
    assert [entry.value for entry in entry_points(group="console_scripts", name="arf")] == ["arf.__main__:main"]
