"""What every random tree has: the module that all others use, one for the heavy libraries, and `main`."""

BASE = """
import functools, itertools, os, weakref
from contextvars import ContextVar

ORDER, REGISTRY, COUNT = [], {}, itertools.count()
LIVE = weakref.WeakValueDictionary()
SHARED = ContextVar("shared", default=())
VALUE = $rev

class Base:
    made = []

    def __init_subclass__(cls):
        Base.made.append((cls.__module__, cls.__qualname__))

def register(function):
    REGISTRY[function.__module__, function.__qualname__] = function
    return function

@functools.singledispatch
def describe(value):
    return $rev

@functools.lru_cache
def cached(number):
    return number + $rev

def on_exit(text):
    with open(f"exit-{os.getpid()}", "a") as file:
        file.write(text + "\\n")
"""

HEAVY = """
from fastapi import FastAPI
from sqlalchemy.orm import DeclarativeBase

class Base(DeclarativeBase):
    pass

METADATA = Base.metadata
APP = FastAPI()
VALUE = $rev
"""

MAIN = """
import decimal, os, signal, sys, threading
$imports
from tests.reload import state
AT_LAST = [getattr(__builtins__, "mark", None), os.environ.get("PKG_MARK"), sys.getrecursionlimit(),
    decimal.getcontext().prec, signal.getsignal(signal.SIGUSR1), sys.displayhook, os.stat, open, sys.path]

def run(generation):
    stop = threading.Event()
    generation.loaded()
    if generation.ready(stop.set):
        state.write("live")
        generation.working()
        stop.wait()
        generation.quiet()
"""
