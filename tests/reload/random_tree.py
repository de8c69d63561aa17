"""A random tree of modules, and random edits of it."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from string import Template

from tests.reload.random_kinds import HEAVY_KINDS, LIGHT_KINDS, RARE_KINDS
from tests.reload.random_program import BASE, HEAVY, MAIN

KINDS = LIGHT_KINDS | RARE_KINDS | HEAVY_KINDS | {"base": BASE, "heavy": HEAVY}

BROKEN = [
    "this is no Python\n",
    "raise ValueError('broken')\n",
    "import nowhere\n",
    "raise SystemExit\n",
    "1 / 0\n",
]

FEW = 4
"""How many there are of data files, plugins and options."""


@dataclass
class Module:
    """One of the tree's modules."""

    number: int
    kind: str
    dep: str = "pkg.base"
    imports: list[str] = field(default_factory=list)
    revision: int = 1
    is_package: bool = False
    broken: str = ""

    def source(self) -> str:
        """Its source code."""
        values = {"n": self.number, "rev": self.revision, "dep": self.dep, "few": self.number % FEW}
        body = Template(KINDS[self.kind].strip()).substitute(values)
        if self.kind in ("base", "heavy"):
            return f"{body}\n{self.broken}"
        head = "from pkg import base\nbase.ORDER.append((__name__, next(base.COUNT)))\n"
        imports = "".join(f"import {name}\n" for name in self.imports)
        return f"{head}REVISION = {self.revision}\n{imports}{body}\n{self.broken}"


class Tree:
    """The package `pkg`, as it should be on disk."""

    def __init__(self, random: Random, size: int, *, heavy: bool, rare: bool) -> None:
        self.random = random
        kinds = [*LIGHT_KINDS, *(HEAVY_KINDS if heavy else ())]
        self._kinds = kinds + [kind for kind in HEAVY_KINDS if heavy for _ in range(4)]
        self.modules = {"pkg.base": Module(0, "base")}
        if heavy:
            self.modules["pkg.heavy"] = Module(0, "heavy")
        self.others = {f"pkg/sub{n}/__init__.py": "" for n in range(4)}
        self.others |= {f"pkg/{name}/__init__.py": "" for name in ("options", "plugins")}
        self.others |= {f"pkg/space/n{n}.py": f"VALUE = {n}\n" for n in range(FEW)}
        self.others |= {f"pkg/data/{n}.json": "[1]" for n in range(FEW - 1)}
        self.others |= {"pkg/lib/own_library.py": "VALUE = 1\n", "outside/0": "0", "pkg/__init__.py": ""}
        self._count = 0
        for _ in range(size):
            self._add()
        if rare:
            self.any_module().kind = random.choice([*RARE_KINDS])
        self.order = list(self.modules)
        random.shuffle(self.order)

    def files(self) -> dict[str, str]:
        """What is on disk: the content of each file."""
        imports = "".join(f"import {name}\n" for name in self.order)
        found = self.others | {"pkg/main.py": Template(MAIN).substitute(imports=imports)}
        for name, module in self.modules.items():
            suffix = "/__init__.py" if module.is_package else ".py"
            found[name.replace(".", "/") + suffix] = module.source()
        return found

    def any_name(self) -> str:
        """The name of one of the modules, one that is imported late more often."""
        names = [name for name in self.order if name in [*self.modules][2:]]
        return names[int(len(names) * self.random.random() ** 0.5)]

    def any_module(self) -> Module:
        """One of the modules."""
        return self.modules[self.random.choice([*self.modules][2:])]

    def _add(self) -> str:
        self._count += 1
        where = self.random.choice(["", "", "sub0.", "sub1.", "sub2.", "sub3."])
        name = f"pkg.{where}m{self._count:03}"
        earlier = list(self.modules)
        module = Module(self._count, self.random.choice(self._kinds), self.random.choice(earlier))
        module.imports = self.random.sample(earlier, min(self.random.randrange(3), len(earlier)))
        module.is_package = self.random.random() < 0.1
        if self.random.random() < 0.1:  # a circular import
            self.modules[self.random.choice(earlier)].imports.append(name)
        self.modules[name] = module
        return name

    def edit(self) -> str:
        """Change something; returns a description."""
        names = [name for name, (weight, _) in EDITS.items() for _ in range(weight)]
        name = self.random.choice(names)
        return f"{name}: {EDITS[name][1](self)}"

    def change(self) -> str:
        """Edit a module."""
        name = self.random.choice([self.any_name(), self.any_name(), self.random.choice([*self.modules])])
        self.modules[name].revision += 1
        return name

    def change_several(self) -> str:
        """Edit some modules at once."""
        return ", ".join(self.change() for _ in range(self.random.randrange(2, 8)))

    def change_kind(self) -> str:
        """Rewrite a module."""
        name = self.any_name()
        self.modules[name].kind = self.random.choice(self._kinds)
        return f"{name} to {self.modules[name].kind}"

    def change_imports(self) -> str:
        """Import something else, or the same in another order."""
        name = self.any_name()
        earlier = [*self.modules][: [*self.modules].index(name)]
        self.modules[name].imports = self.random.sample(earlier, min(len(earlier), 2))
        if self.random.random() < 0.3:
            self.random.shuffle(self.order)
        return name

    def add(self) -> str:
        """Add a module, somewhere in the order of imports."""
        name = self._add()
        self.order.insert(self.random.randrange(len(self.order)), name)
        return name

    def delete(self) -> str:
        """Delete a module, and mostly what imports it, too."""
        name = self.any_name()
        if len(self.order) < 20:
            return "nothing"
        del self.modules[name]
        if self.random.random() < 0.9:
            self._replace(name, None)
        return name

    def rename(self) -> str:
        """Rename a module, and import it by its new name."""
        old = self.any_name()
        new = f"{old.rpartition('.')[0]}.r{self.random.randrange(1000):03}"
        if new in self.modules:
            return "nothing"
        self.modules = {new if name == old else name: module for name, module in self.modules.items()}
        self._replace(old, new)
        return f"{old} to {new}"

    def _replace(self, old: str, new: str | None) -> None:
        def replaced(names: list[str]) -> list[str]:
            return [new or "" if name == old else name for name in names if new or name != old]

        self.order = replaced(self.order)
        for module in self.modules.values():
            module.imports = replaced(module.imports)
            module.dep = (new or "pkg.base") if module.dep == old else module.dep

    def to_package(self) -> str:
        """Make a module a package, or a package a module."""
        name = self.any_name()
        self.modules[name].is_package ^= True
        return name

    def change_others(self) -> str:
        """Write or delete a data file, a plugin or an option; a module changes, too: it may be outside."""
        number = self.random.randrange(FEW)
        kinds = [
            "pkg/data/{}.json",
            "pkg/plugins/p{}.py",
            "pkg/options/option_{}.py",
            "outside/{}",
            "pkg/space/n{}.py",
        ]
        path = self.random.choice(kinds).format(number)
        if path in self.others and "space" not in path and self.random.random() < 0.4:
            del self.others[path]
        else:
            value = self.random.randrange(10**6)
            self.others[path] = f"VALUE = {value}\n" if path.endswith("py") else f"[{value}]"
        return f"{path}, {self.change()}"

    def change_package(self) -> str:
        """Write code into the `__init__` of a folder."""
        path = self.random.choice([path for path in self.others if path.endswith("__init__.py")])
        self.others[path] = f"VALUE = {self.random.randrange(1000)}\n"
        return path

    def break_it(self) -> str:
        """Break a module."""
        name = self.any_name()
        self.modules[name].broken = self.random.choice(BROKEN)
        return name


EDITS: dict[str, tuple[int, Callable[[Tree], str]]] = {
    "change": (14, Tree.change),
    "change several": (4, Tree.change_several),
    "change others": (4, Tree.change_others),
    "rewrite": (3, Tree.change_kind),
    "other imports": (2, Tree.change_imports),
    "add": (2, Tree.add),
    "delete": (2, Tree.delete),
    "rename": (2, Tree.rename),
    "to a package": (2, Tree.to_package),
    "change a package": (1, Tree.change_package),
    "break": (2, Tree.break_it),
    "touch": (1, lambda _: ""),
}
"""By what they are called: how often they happen, and the edits."""


def save(folder: Path, before: dict[str, str], after: dict[str, str], random: Random) -> None:
    """Write what has changed, in any order: by renaming, as most editors do, or in place."""
    paths = [path for path in before.keys() | after.keys() if before.get(path) != after.get(path)]
    random.shuffle(paths := sorted(paths))
    for name in sorted(paths, key=lambda name: not name.startswith("outside")):  # nobody watches it
        path = folder / name
        if name not in after:
            path.unlink()
            if path.name == "__init__.py" and not os.listdir(path.parent):  # noqa: PTH208
                path.parent.rmdir()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        target = path if random.random() < 0.2 else path.with_suffix(".new")
        target.write_text(after[name], encoding="utf-8")
        target.replace(path)
