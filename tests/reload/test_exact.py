"""A generation from a checkpoint is the same as one that loads all the code itself."""

import sys
import zipfile

import pytest

from tests.reload.large_program import LargeProgram
from tests.reload.program import RUN

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has checkpoints"),
]

PROGRAM = LargeProgram

TERMINAL = """
import os, threading
terminal, slave = os.openpty()
log = os.dup(1)
os.dup2(slave, 1)
os.dup2(slave, 2)

def copy():
    while True:
        os.write(log, os.read(terminal, 10000))

threading.Thread(target=copy, daemon=True).start()
"""
"""Gives the supervisor and its generations a terminal."""

LOOK = """
import gc, multiprocessing, sys
SEEN = [sys.stdout.isatty(), sys.stderr.isatty(), multiprocessing.current_process().name, gc.isenabled()]
gc.disable()
"""

TELL = """
import gc
from pkg.m03 import SEEN

class Version:
    def __str__(self):
        return f"{SEEN + [gc.isenabled()]}".replace(" ", "")

VERSION = Version()
"""


LOOKS = {
    "names": "NUMBER = len(os.listdir('things'))\n",
    "a pattern": "import pathlib\nNUMBER = len(list(pathlib.Path('things').glob('*.txt')))\n",
    "whether a folder exists": "NUMBER = 1 + os.path.exists('things/2.txt')\n",
    "whether a link exists": "NUMBER = 1 + os.path.lexists('things/2.txt')\n",
    "whether it may be read": "NUMBER = 1 + os.access('things/2.txt', os.R_OK)\n",
    "a size": "NUMBER = os.path.getsize('things/1.txt')\n",
    "a file that may be written": "with open('things/1.txt', 'r+') as file:\n    NUMBER = len(file.read())\n",
    "a file in an open folder": (
        "THINGS = os.open('things', os.O_RDONLY)\n"
        "NUMBER = len(os.read(os.open('1.txt', os.O_RDONLY, dir_fd=THINGS), 9))\n"
    ),
    "the size of a later module": "NUMBER = 1 + (os.path.getsize('pkg/version.py') > 40)\n",
}


def test_the_code_sees_what_it_sees_in_the_first_generation(program: LargeProgram) -> None:
    # The first checkpoint is before module 2.
    (program.folder / "run.py").write_text(TERMINAL + RUN)
    program.save_module(3, LOOK)
    program.save("version.py", TELL)
    program.start()
    program.wait_for_log("at work after")
    program.wait_for_checkpoints()
    again = program.change("version.py", TELL + "# 2")
    assert 0 not in program.loaded_by(again)
    seen = [version for version, _ in program.said("working")]
    assert seen == [f"[True,True,'generation-{number}',True,False]" for number in (1, 2)]


def test_a_patch_of_what_a_rehearsal_patches_stays(program: LargeProgram) -> None:
    program.save_module(
        3, "def patched(*args, real=os.stat, **kwargs): return real(*args, **kwargs)\nos.stat = patched\n"
    )
    version = "import os\nVERSION = f'{os.stat.__name__}-{os.stat(\".\").st_size > 0}-%d'\n"
    program.save("version.py", version % 1)
    program.start()
    program.wait_for("working", "patched-True-1")
    program.wait_for_checkpoints()
    changed = program.change("version.py", version % 2)
    assert program.wait_for("working", "patched-True-2") == changed
    assert 3 not in program.loaded_by(changed)


@pytest.mark.parametrize("what", LOOKS)
def test_what_the_code_has_seen_in_a_folder_is_looked_at_again(program: LargeProgram, what: str) -> None:
    things = program.folder / "things"
    things.mkdir()
    (things / "1.txt").write_text("1")
    program.save_module(3, LOOKS[what])
    version = "from pkg.m03 import NUMBER as VERSION\n"
    program.save("version.py", version)
    program.start()
    program.wait_for("working", 1)
    program.wait_for_checkpoints()
    (things / "1.txt").write_text("12")
    (things / "2.txt").mkdir()
    program.save("version.py", version + "# saved again\n")
    program.wait_for("working", 2)


def test_a_zip_file_and_a_script_that_runs_at_import_load_as_usual(program: LargeProgram) -> None:
    with zipfile.ZipFile(program.folder / "pkg" / "things.zip", "w") as archive:
        archive.writestr("zipped.py", "NUMBER = 1\n")
    program.save("script.py", "NUMBER = 2\n")
    program.save(
        "version.py",
        """
import os, runpy, sys
folder = os.path.dirname(__file__)
sys.path.insert(0, os.path.join(folder, "things.zip"))
from zipped import NUMBER
VERSION = NUMBER + runpy.run_path(os.path.join(folder, "script.py"))["NUMBER"]
""",
    )
    program.start()
    program.wait_for("working", 3)
