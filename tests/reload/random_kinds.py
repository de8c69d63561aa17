"""What the modules of a random tree do: each kind is something that real programs do while they are imported.

`$n` is the module's number, `$rev` how often it was edited, `$dep` another module, imported earlier.
"""

LIGHT_KINDS = {
    "plain": "VALUE = $rev",
    "counter": "VALUE = next(base.COUNT)",
    "decorator": "@base.register\ndef handler_$n(x=$rev):\n    return x\nVALUE = handler_$n",
    "closure": """
def outer(x):
    def inner(y=[$rev]):
        return x, y
    return inner
VALUE = outer({})
""",
    "cache": """
import functools
@functools.lru_cache(maxsize=2)
def double(number):
    return number * $rev
VALUE = [double(1), double(2), double(3), double(3), base.cached($rev)]
""",
    "atexit": "import atexit\natexit.register(base.on_exit, f'{__name__} $rev')\nVALUE = $rev",
    "contextvar": """
from contextvars import ContextVar
VALUE = ContextVar("own")
VALUE.set($rev)
base.SHARED.set((*base.SHARED.get(), $n))
""",
    "patch of a module": """
import $dep as dep
dep.VALUE = (getattr(dep, "VALUE", None), $rev)
VALUE = dep.VALUE
""",
    "patch of builtins": """
import builtins
builtins.mark = (*getattr(builtins, "mark", ()), $rev)
VALUE = mark
""",
    "patch of the standard library": """
import json
json.mark = (*getattr(json, "mark", ()), $rev)
VALUE = json.mark
""",
    "patch of os.stat": """
import os
def wrapped(*args, real=os.stat, **kwargs):
    return real(*args, **kwargs)
os.stat = wrapped
VALUE = $rev
""",
    "patch of open": """
import builtins
def wrapped(*args, real=builtins.open, **kwargs):
    return real(*args, **kwargs)
builtins.open = wrapped
VALUE = $rev
""",
    "alias": "import sys\nsys.modules['pkg.alias_$n'] = sys.modules[__name__]\nVALUE = $rev",
    "replaces itself": """
import sys, types
class Replacement(types.ModuleType):
    VALUE = $rev
    @property
    def lazy(self):
        return self.VALUE
sys.modules[__name__] = Replacement(__name__)
VALUE = $rev
""",
    "forgets a module": "import sys\nimport $dep\nsys.modules.pop('$dep')\nimport $dep as VALUE",
    "reloads a module": "import importlib, sys\nimport $dep\nVALUE = importlib.reload(sys.modules['$dep'])",
    "lazy": """
def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return globals().setdefault(name, [name, $rev])
VALUE = $rev
""",
    "star import": "from $dep import *\nVALUE = sorted(name for name in globals() if name[0] != '_')",
    "conditional import": """
try:
    from pkg.options.option_$few import VALUE
except ImportError:
    VALUE = None
""",
    "plugins by pkgutil": """
import importlib, pkgutil
import pkg.plugins
names = [each.name for each in pkgutil.iter_modules(pkg.plugins.__path__)]
VALUE = [importlib.import_module(f"pkg.plugins.{name}") for name in names]
""",
    "plugins by glob": """
import importlib.util
from pathlib import Path
VALUE = []
for path in sorted(Path(__file__.partition("pkg")[0], "pkg", "plugins").glob("p*.py")):
    spec = importlib.util.spec_from_file_location(f"own_${n}_{path.stem}", path)
    VALUE.append(importlib.util.module_from_spec(spec))
    spec.loader.exec_module(VALUE[-1])
""",
    "plugins that are run": """
import os, runpy
folder = os.path.join(__file__.partition("pkg")[0], "pkg", "plugins")
VALUE = [runpy.run_path(os.path.join(folder, name))["VALUE"] for name in sorted(os.listdir(folder))
    if name.startswith("p") and name.endswith(".py")]
""",
    "data": """
import json
from pathlib import Path
path = Path("pkg/data/$few.json")
VALUE = json.loads(path.read_text()) if path.exists() else None
""",
    "all data": """
import glob, os
VALUE = [(path, os.path.getsize(path)) for path in sorted(glob.glob("pkg/data/*.json"))]
""",
    "data by pkgutil": """
import pkgutil
try:
    VALUE = pkgutil.get_data("pkg", "data/$few.json")
except OSError as error:
    VALUE = type(error).__name__
""",
    "data outside": """
import os
VALUE = sorted((each.name, os.path.getsize(each.path)) for each in os.scandir("outside"))
""",
    "data opened outside": """
try:
    with open("outside/$few", "rb") as file:
        VALUE = file.read()
except FileNotFoundError:
    VALUE = None
""",
    "lstat": "import os\nVALUE = os.path.lexists('outside/$few'), os.access('outside/$few', os.R_OK)",
    "size of source": "import os, sys\nimport $dep\nVALUE = os.path.getsize(sys.modules['$dep'].__file__)",
    "size of later source": """
import os
VALUE = {}
for folder, folders, names in os.walk(__file__.partition("pkg")[0] + "pkg"):
    folders.sort()
    for name in sorted(names):
        if name.endswith(".py"):
            VALUE[name] = os.path.getsize(os.path.join(folder, name))
""",
    "reads source": "import inspect\nVALUE = inspect.getsource(base.register), open(__file__).read()",
    "warning": "import warnings\nwarnings.warn('warning $n', stacklevel=1)\nVALUE = $rev",
    "subclass": "class Child_$n(base.Base):\n    value = $rev\nVALUE = Child_$n",
    "dispatch": """
class Type_$n:
    pass
@base.describe.register
def _(value: Type_$n):
    return $rev
VALUE = base.describe(Type_$n()), base.describe(1)
""",
    "dataclass": """
from dataclasses import dataclass, field
@dataclass
class Data_$n:
    number: int = $rev
    names: list[str] = field(default_factory=list)
VALUE = Data_$n(names=["$n"])
""",
    "enum": "import enum\nVALUE = enum.Enum('Enum_$n', {'A': $rev, 'B': 2}).A.value",
    "weak references": "class Thing:\n    number = $rev\nVALUE = Thing()\nbase.LIVE[$n] = VALUE",
    "environment": "import os\nVALUE = [os.environ.get('PKG_MARK')]\nos.environ['PKG_MARK'] = '$n-$rev'",
    "path": """
import os, sys
sys.path.insert(0, os.path.join(__file__.partition("pkg")[0], "pkg", "lib"))
import own_library
VALUE = own_library
""",
    "finder": """
import importlib.util, sys
from importlib.abc import Loader, MetaPathFinder
class Finder(MetaPathFinder, Loader):
    def find_spec(self, name, path, target=None):
        return importlib.util.spec_from_loader(name, self) if name == "own_virtual_$n" else None
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        module.VALUE = $rev
sys.meta_path.insert(0, Finder())
import own_virtual_$n as VALUE
""",
    "namespace package": "import importlib\nVALUE = importlib.import_module('pkg.space.n$few')",
    "import in a function": "def late():\n    from $dep import VALUE\n    return VALUE\nVALUE = late()",
    "settings of the process": """
import decimal, signal, sys
def handler(*args):
    return $rev
sys.setrecursionlimit(2000 + $rev)
sys.displayhook = handler
signal.signal(signal.SIGUSR1, handler)
decimal.getcontext().prec = 30 + $rev
VALUE = handler
""",
}

RARE_KINDS = {
    "thread": """
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
VALUE = $rev
""",
    "process": "import subprocess\nVALUE = subprocess.check_output(['echo', '$rev'])",
}

HEAVY_KINDS = {
    "table": """
from sqlalchemy.orm import Mapped, mapped_column
from pkg.heavy import Base
class Table_$n(Base):
    __tablename__ = "table_$n"
    __table_args__ = {"extend_existing": True}
    id: Mapped[int] = mapped_column(primary_key=True)
    column_$rev: Mapped[str]
VALUE = repr(Table_$n.__table__)
""",
    "model": """
from pydantic import BaseModel
class Model_$n(BaseModel):
    number: int = $rev
VALUE = Model_$n().model_dump()
""",
    "router": """
from fastapi import APIRouter
from pkg.heavy import APP
VALUE = APIRouter(prefix="/$n")
@VALUE.get("/$rev")
def route():
    return $rev
APP.include_router(VALUE)
""",
}
