"""What a generated module is like: to linters, to Python, and whatever stands in the contracts."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import typing
from pathlib import Path
from typing import Any, get_args

import pytest

from lightbus import values
from lightbus.contracts.clients.hints import Form
from lightbus.contracts.clients.module import digest_of, is_written_here, module_of

from .apis import AuthApi, contracts
from .making import made_of

FORMS: tuple[Form, ...] = get_args(Form)
LINT = ["--isolated", "--select", "E,F,I,UP,W", "--ignore", "E501", "--line-length", "120"]


INT, TEXT = {"type": "integer"}, {"type": "string"}


def api(name: str = "x", rpcs: Any = None, events: Any = None) -> dict[str, Any]:
    return {name: {"rpcs": rpcs or {}, "events": events or {}}}


def procedure(properties: Any = None, response: Any = None, **parameters: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties or {}, "additionalProperties": False, **parameters}
    return {"parameters": schema, "response": response or {}}


@pytest.mark.parametrize("form", FORMS)
def test_ruff_finds_nothing_to_change_or_to_complain_about(form: Form, tmp_path: Path) -> None:
    file = tmp_path / "bus_types.py"
    code = module_of(contracts(), form)
    file.write_text(code)
    ruff = [sys.executable, "-m", "ruff"]
    formatted = subprocess.run(
        [*ruff, "format", "--isolated", "--check", str(file)], capture_output=True, text=True
    )
    assert formatted.returncode == 0, formatted.stdout
    # Its own comment, that linters are to leave it alone, is for rules of all kinds.
    file.write_text(code.replace("# ruff: noqa\n", ""))
    checked = subprocess.run([*ruff, "check", *LINT, str(file)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("form", FORMS)
def test_equal_contracts_give_the_same_bytes_in_any_process(form: Form) -> None:
    code = module_of(contracts(), form, version="2.0")
    turned = dict(reversed(contracts().items()))
    assert module_of(turned, form, version="2.0") == code
    again = (
        "import sys; from tests.contracts.clients.apis import contracts; "
        "from lightbus.contracts.clients.module import module_of; "
        f"sys.stdout.write(module_of(contracts(), {form!r}, version='2.0'))"
    )
    done = subprocess.run([sys.executable, "-c", again], capture_output=True, text=True, check=True)
    assert done.stdout == code


def test_its_head_says_what_wrote_it_and_from_what() -> None:
    code = module_of(contracts(), version="9.9")
    assert f"Lightbus 9.9, from the contracts {digest_of(contracts())}: auth, shop, shop.orders." in code
    assert is_written_here(code)
    assert not is_written_here('"""Models of the shop."""\n')


def test_importing_it_brings_nothing_that_lightbus_does_not_and_takes_less_time(tmp_path: Path) -> None:
    (tmp_path / "bus_types.py").write_text(module_of(contracts()))
    script = (
        "import sys, time; start = time.perf_counter(); import lightbus; between = time.perf_counter(); "
        "before = set(sys.modules); import bus_types; end = time.perf_counter(); "
        "print(sorted(set(sys.modules) - before), (end - between) / (between - start))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    modules, _, ratio = done.stdout.rpartition(" ")
    assert modules == "['bus_types', 'lightbus.bus.typed.paths', 'lightbus.bus.typed.views']"
    assert float(ratio) < 1


def test_the_time_it_takes_grows_with_the_number_of_apis_and_no_faster() -> None:
    one = json.loads(json.dumps(contracts()["auth"]))

    def took(count: int) -> float:
        start = time.process_time()
        module_of({f"api{number}": one for number in range(count)})
        return time.process_time() - start

    assert min(took(80) for _ in range(2)) < 8 * min(took(20) for _ in range(3))


def test_an_object_with_equal_shape_is_one_class_and_another_has_another_name() -> None:
    def user(**properties: Any) -> dict[str, Any]:
        return {"type": "object", "title": "User", "properties": properties, "required": ["a"]}

    one, other = user(a={"type": "integer"}), user(a={"type": "string"})
    code = module_of(
        api(
            rpcs={
                "f": procedure({"p": one, "q": {**one, "description": "Who."}}),
                "g": procedure({"p": other}),
            }
        )
    )
    assert code.count("class XUser:") == code.count("class XUser2:") == 1
    assert "class XUser3" not in code


def test_a_field_that_may_be_left_out_without_a_default_makes_a_typed_dict() -> None:
    late = {
        "type": "object",
        "title": "Late",
        "properties": {"at": {"type": "string", "format": "date-time"}},
    }
    with made_of(api(rpcs={"f": procedure({"late": late})})) as module:
        assert typing.is_typeddict(module.XLate)
        assert values.tolerant_caster(module.XLate)({}) == {}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer", "default": 3}, "3"),
        ({"type": "number", "default": 3}, "3.0"),
        ({"type": "string", "default": "it's"}, '"it\'s"'),
        ({"type": "boolean", "default": True}, "True"),
        ({"anyOf": [{"type": "integer", "default": None}, {"type": "null", "default": None}]}, "None"),
        ({"type": "string", "format": "date", "default": "2026-01-02"}, "date.fromisoformat('2026-01-02')"),
        ({**TEXT, "format": "duration", "default": "P1D"}, "timedelta(days=1, seconds=0, microseconds=0)"),
        ({"type": "string", "pattern": r"^-?\d+(\.\d+)?$", "default": "1.50"}, "Decimal('1.50')"),
        ({"type": "string", "contentEncoding": "base64", "default": "AAE="}, "b'\\x00\\x01'"),
        ({"type": "array", "items": {"type": "integer"}, "default": []}, "field(default_factory=list)"),
        ({"type": "array", "items": INT, "default": [1]}, "field(default_factory=lambda: [1])"),
        ({"type": "object", "default": {}}, "field(default_factory=dict)"),
        ({"enum": ["a", "b"], "type": "string", "title": "Kind", "default": "b"}, "XKind.B"),
        ({"enum": ["a", "b"], "type": "string", "default": "b"}, "'b'"),
    ],
)  # fmt: skip
def test_a_default_becomes_the_expression_that_makes_it(schema: Any, value: str) -> None:
    box = {"type": "object", "title": "Box", "properties": {"f": schema}}
    contract = api(rpcs={"f": procedure({"box": box})})
    code = module_of(contract)
    assert f" = {value}\n" in code.partition("class XBox:")[2]
    with made_of(contract) as module:
        module.XBox()


def test_what_its_names_and_texts_hold_is_never_code() -> None:
    evil = '"""\nimport os; os.abort()\n"""'
    words = ["class", "a b", "'", '"""', "x\ny", "__init__", "self", "bus_options", "_p", "é", "import os"]
    fields = {word: {"type": "string", "description": evil, "default": evil} for word in words}
    inner = {"type": "object", "title": evil, "properties": fields, "description": evil}
    enum = {"enum": [*words, evil], "title": evil, "x-enum-varnames": [*words, evil]}
    entry = procedure({**fields, "inner": inner, "enum": enum}, {**inner, "x-class": evil}, description=evil)
    contract = {
        word: {
            "description": evil,
            "rpcs": dict.fromkeys(words, entry),
            "events": {f"e{word}": {"parameters": entry["parameters"]} for word in words},
        }
        for word in [*words, "ok.class", "ok"]
    }
    for form in FORMS:
        with made_of(contract, form) as module:
            assert module.Bus.__getitem__
            assert "os" not in vars(module)


def test_a_recursive_alias_ends() -> None:
    json_value = {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"$ref": "#/definitions/Json"}}]}
    response = {"$ref": "#/definitions/Json", "definitions": {"Json": json_value}}
    assert "-> int | list[Any]" in module_of(api(rpcs={"f": procedure(response=response)}))


def test_a_class_of_ones_own_is_imported_where_it_is_mapped() -> None:
    code = module_of(contracts(), "dataclass", {("auth", "User"): ("shop.models", "User")})
    assert code.endswith("\nimport shop.models as shop_models\n")
    assert "class AuthUser" not in code
    assert "-> list_[shop_models.User]" in code


def test_the_documentation_of_a_procedure_is_that_of_its_function() -> None:
    with made_of({"auth": contracts()["auth"]}) as module:
        said = module.AuthApi_check_password.__call__.__doc__
        assert said.split() == (AuthApi.check_password.__doc__ or "").split()
        assert module.AuthApi.__doc__.split() == (AuthApi.__doc__ or "").split()
