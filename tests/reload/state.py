"""The state of all modules of a program, in a form that can be compared between processes.

Left out is what can't be the same in two of them: process ids, addresses, times, and which loader was used.
Objects of installed packages are named by their type, apart from routers, tables and models, which say more.
"""

import functools
import gc
import itertools
import json
import os
import re
import sys
import types
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from pathlib import Path, PurePath
from typing import Any

LEFT_OUT = {"__builtins__", "__cached__", "__loader__", "__spec__", "__dict__", "__weakref__", "_abc_impl"}
PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), re.Pattern, itertools.count, PurePath)


def is_own(module: Any) -> bool:
    """Whether something belongs to the program under test."""
    return str(module).partition(".")[0] == "pkg" or str(module).startswith("own_")


def write(path: str) -> None:
    """Write the state of this process into a file, at once."""
    scratch = f"{path}.{os.getpid()}"
    Path(scratch).write_text(json.dumps({"pid": os.getpid(), "state": state()}, indent=1), encoding="utf-8")
    Path(scratch).replace(path)


def state() -> dict[str, Any]:
    """By `module.name`, in the order in which they were made, what all the program's modules hold."""
    gc.collect()  # weak references
    own = {name: module for name, module in list(sys.modules.items()) if is_own(name)}
    form = Form()
    found: dict[str, Any] = {"sys.modules": list(own)}
    for name, module in own.items():
        spec = getattr(module, "__spec__", None)
        found[f"{name}.__spec__"] = [spec.name, spec.origin, spec.parent] if spec else None
        for key, value in list(vars(module).items()):
            if key not in LEFT_OUT:
                found[f"{name}.{key}"] = form.of(value, f"{name}.{key}")
    return found


class Form:
    """Takes objects apart; one that was seen before is named by where that was, so identity counts."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[str, Any]] = {}

    def of(self, value: Any, path: str) -> Any:
        """The form of an object that is found at a path."""
        if isinstance(value, PLAIN):
            return repr(value)
        if isinstance(value, types.ModuleType):
            return f"module {value.__name__}"
        if isinstance(value, tuple):
            return [type(value).__name__, *self._each(value, path)]
        if isinstance(value, frozenset | set):
            return [type(value).__name__, *sorted(map(str, self._each(value, path)))]
        if id(value) in self._seen:
            return f"the same as {self._seen[id(value)][0]}"
        self._seen[id(value)] = path, value
        if isinstance(value, type):
            return self._of_class(value, path)
        for kind, parts in PARTS:
            if isinstance(value, kind):
                return [type(value).__name__, *self._each(parts(value), path)]
        if isinstance(value, types.FunctionType) and is_own(value.__module__):
            return self._of_function(value, path)
        if is_own(type(value).__module__):
            return [_name(type(value)), self.of(getattr(value, "__dict__", {}), path)]
        return self._of_others(value)

    def _each(self, values: Iterable[Any], path: str) -> list[Any]:
        return [self.of(value, f"{path}[{number}]") for number, value in enumerate(values)]

    def _of_class(self, value: Any, path: str) -> Any:
        if not is_own(value.__module__):
            return _name(value)
        if schema := getattr(value, "model_json_schema", None):
            return [_name(value), repr(schema())]
        parts = {key: part for key, part in vars(value).items() if key not in LEFT_OUT}
        children = [_name(child) for child in value.__subclasses__()]
        bases = [_name(base) for base in value.__bases__]
        return [_name(value), bases, children, self.of(parts, path)]

    def _of_function(self, value: types.FunctionType, path: str) -> Any:
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        parts = (value.__defaults__, value.__kwdefaults__, cells, vars(value))
        return [_name(value), *_code(value.__code__), *self._each(parts, path)]

    def _of_others(self, value: Any) -> Any:
        if routes := getattr(value, "routes", None):
            return [getattr(route, "path", None) or self.of(vars(route), "") for route in routes]
        if tables := getattr(value, "sorted_tables", None):
            return [repr(table) for table in tables]
        return _name(value if callable(value) and hasattr(value, "__qualname__") else type(value))


PARTS: list[tuple[Any, Callable[[Any], Iterable[Any]]]] = [
    (Mapping, lambda value: itertools.chain(*value.items())),
    (weakref.WeakValueDictionary, lambda value: itertools.chain(*value.items())),
    (list, list),
    (types.MethodType, lambda value: (value.__func__, value.__self__)),
    (functools.partial, lambda value: (value.func, value.args, value.keywords)),
    (functools._lru_cache_wrapper, lambda value: (value.__wrapped__, tuple(value.cache_info()))),
    (staticmethod | classmethod, lambda value: (value.__func__,)),
    (property, lambda value: (value.fget, value.fset)),
    (ContextVar, lambda value: (value.name, value.get(None))),
    (weakref.ref, lambda value: (value(),)),
]
"""What kinds of objects are made of."""


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _code(code: types.CodeType) -> list[str]:
    constants = [_code(each) if isinstance(each, types.CodeType) else repr(each) for each in code.co_consts]
    return [code.co_filename, str(code.co_firstlineno), code.co_code.hex(), str(constants)]


if __name__ == "__main__":  # a cold start: the program, and the file for its state
    __import__(sys.argv[1])
    write(sys.argv[2])
