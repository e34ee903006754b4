"""Wrong programs that try to pass the tests of a correct one."""

from collections.abc import Mapping
from types import MappingProxyType

#: Start of the programs that send RPC messages of their own.
_RPC_PREAMBLE = """\
import gc, sys
def peer():
    return next(x for x in gc.get_objects() if type(x).__name__ == "RpcPeer")
def asked(*values):
    peer().send(["call", list(values), {"dict": []}])
    return peer().receive()
"""

#: Programs that should add two numbers but do not, by their trick.
FORGED_VERDICTS: Mapping[str, str] = MappingProxyType(
    {
        "exits with status 0": """\
import os
def add(a, b):
    os._exit(0)
""",
        "reports success itself": """\
import os
def add(a, b):
    for number in range(64):
        for line in (b'["passed", ""]', b'["loaded", ""]', b'OK', b'["value", true]'):
            try:
                os.write(number, line + bytes([10]))
            except OSError:
                pass
    os._exit(0)
""",
        "equals everything": """\
class Anything(int):
    __eq__ = __le__ = __ge__ = lambda self, other: True
    __ne__ = lambda self, other: False
    __hash__ = int.__hash__
def add(a, b):
    return Anything(7)
""",
        "overrides only equality": """\
class OnlyEqual:
    __eq__ = lambda self, other: True
    __class__ = property(lambda self: int)
def add(a, b):
    return OnlyEqual()
""",
        "patches builtins that tests use": """\
import builtins, json, operator, sys
def abs(x):
    return 0
builtins.AssertionError = type("Quiet", (Exception,), {})
operator.eq = lambda a, b: True
json.loads = lambda text: 5
sys.settrace(None)
def add(a, b):
    return 7
""",
        "searches memory for the test": """\
import gc, sys
def add(a, b):
    # Put together here, so that it does not find itself.
    wanted = " ".join(("assert", "add(2,", "3)"))
    frame, found = sys._getframe().f_back, gc.get_objects()
    while frame:
        found += frame.f_locals.values()
        frame = frame.f_back
    return 5 if any(wanted in x for x in map(repr, found[:20_000])) else 7
""",
        "returns a deeply nested value": """\
def add(a, b):
    value = []
    for _ in range(100_000):
        value = [value]
    return value
""",
        "creates an equal object in the test process": _RPC_PREAMBLE
        + """\
def make(kind, name, *bases, **deeds):
    attributes = [[deed, does] for deed, does in deeds.items()]
    of = {"tuple": [{kind: base} for base in bases]}
    return {"yours": asked({kind: "type"}, name, of, {"dict": attributes})[1]["mine"]}
def add(a, b):
    for kind in ("type", "python"):
        try:
            nothing = make(kind, "Nothing", "int", __abs__={kind: "bool"})
            anything = make(kind, "Any", __eq__={kind: "bool"}, __sub__=nothing)
            mine = asked(anything)[1]["mine"]
            return sys.modules["archon_batch.sandbox.rpc"].RemoteProxy(peer(), mine)
        except (KeyError, TypeError):
            pass
    return 7
""",
        "runs code in the test process": _RPC_PREAMBLE
        + """\
SAYS = "[os.write(n, bytes(w, 'ascii')) for os in [__import__('os')] for n in range(3, 9) for w in W]"
WORDS = repr(['["passed", ""]' + chr(10)])
def add(a, b):
    for kind in ("type", "python", "mine", "yours"):
        for name in ("eval", 0, 1):
            asked({kind: name}, SAYS.replace("W]", WORDS + "]"))
    return 7
""",
        "returns a class that equals everything": """\
class Agrees(type):
    __eq__ = __lt__ = lambda self, other: True
    __sub__ = __abs__ = __rsub__ = lambda self, *other: self
    __hash__ = type.__hash__
class EqualClass(metaclass=Agrees):
    pass
def add(a, b):
    return EqualClass
""",
        "returns NaN": """\
def add(a, b):
    return float("nan")
""",
        "returns a huge integer": """\
def add(a, b):
    return 1 << 80_000_000
""",
        "returns a value that contains itself": """\
def add(a, b):
    value = {}
    value["value"] = value
    return value
""",
        "sends malformed messages": _RPC_PREAMBLE
        + """\
def add(a, b):
    for value in ({"set": [[1]]}, {"int": "x"}, {"dict": [1]}, {"float": []}, {}, {"mine": None}):
        peer().send(["value", value])
    peer().send({"value": 5})
    return 7
""",
    }
)

#: Wrong programs, each with a test that it would pass in the same process.
TEST_TRICKS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "raises StopIteration": (
            "def add(a, b):\n    raise StopIteration\n",
            "assert all(map(lambda n: add(n, 1) == n + 1, [1, 2]))",
        ),
        "exits where the test catches all errors": (
            "import os\ndef add(a, b):\n    os._exit(0)\n",
            "try:\n    add(2, 3)\nexcept Exception:\n    pass",
        ),
        "redefines builtins": (
            "def sum(values):\n    return 4\ndef abs(value):\n    return 0\n",
            "assert abs(sum([2, 3]) - 5) < 1e-6",
        ),
        "fakes its class": (
            """\
class Number:
    __bases__ = (int,)
    __class__ = property(lambda self: int)
def add(a, b):
    return Number()
""",
            "assert isinstance(add(2, 3), int)",
        ),
        "fakes its copy": (
            """\
class Sum:
    def __deepcopy__(self, memo):
        return 5
def add(a, b):
    return Sum()
""",
            "import copy\nassert copy.deepcopy(add(2, 3)) == 5",
        ),
    }
)
