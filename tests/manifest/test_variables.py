"""${...} in values."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.rights import bound_by_files

from .conftest import Folder


def test_a_variable_takes_the_type_of_its_key(folder: Folder) -> None:
    folder.environ.update(
        NAME="010", COUNT="32", TRUTH="true", TIME="500ms", LIST="rpcs, tasks", NUMBER="2.5"
    )
    manifest = folder.read(
        """
        service_name: ${NAME}
        features: ${LIST}
        modules: ["${MODULE:-shop.bus}"]
        bus: {drain_timeout: "${TIME}", expose_tracebacks: "${TRUTH}"}
        apis: {auth: {rpc_concurrency: "${COUNT}", validate: "${TRUTH}", cast_values: "${TRUTH}"}}
        policies: {slow: {backoff: {factor: "${NUMBER}"}}}
        """
    )
    assert manifest.service_name == "010"
    assert manifest.features == ("rpcs", "tasks")
    assert manifest.modules == ("shop.bus",)
    assert manifest.bus.drain_timeout == 0.5 and manifest.bus.expose_tracebacks is True
    assert manifest.apis["auth"].rpc_concurrency == 32
    assert manifest.apis["auth"].validate.incoming is True
    assert manifest.policies["slow"].backoff.factor == 2.5


def test_a_variable_is_never_read_as_yaml(folder: Folder) -> None:
    folder.environ["EVIL"] = "{a: 1}\nbus: {log_level: debug}"
    (problem,) = folder.problems("apis: ${EVIL}")
    assert "apis: must be a map of names, not text" in problem


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${SET}", "value"),
        ("a-${SET}-b-${SET}", "a-value-b-value"),
        ("${UNSET:-other}", "other"),
        ("${EMPTY:-other}", "other"),
        ("${UNSET:-}x", "x"),
        ("${SET:?must be there}", "value"),
        ("$${SET}", "${SET}"),
        ("${SET}$${SET}", "value${SET}"),
        ("$SET", "$SET"),
        ("${file:name.txt}", "from-file"),
        ("${file:missing:-other}", "other"),
        ("${UNSET:-redis://a:1/0}", "redis://a:1/0"),
    ],
)  # fmt: skip
def test_an_expression_is_replaced(folder: Folder, text: str, result: str) -> None:
    folder.environ.update(SET="value", EMPTY="")
    folder.write("name.txt", "from-file\n")
    assert folder.read(f"apis: {{auth: {{owner: '{text}'}}}}").apis["auth"].owner == result


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("${UNSET}", "the environment variable UNSET is not set; set it, or write ${UNSET:-default}"),
        ("${UNSET:?ask the platform team}", "ask the platform team"),
        ("${UNSET:?}", "UNSET must be given"),
        ("${}", "${ begins no expression"),
        ("${UNSET", "${ begins no expression"),
        ("${1A}", "${ begins no expression"),
        ("${file:}", "${file:} needs a path"),
        ("${file:missing}", "the file missing does not exist"),
        ("${file:.}", "the file . is a folder"),
        ("${file:huge}", "the file huge is larger than 64 KiB"),
        ("${file:binary}", "the file binary is not UTF-8"),
        ("${file:pipe}", "the file pipe is no regular file"),
        ("${file:/dev/zero}", "the file /dev/zero is no regular file"),
    ],
)  # fmt: skip
def test_what_can_not_be_replaced_is_one_clear_line(folder: Folder, text: str, told: str) -> None:
    folder.write("huge", b"x" * 65_537)
    folder.write("binary", b"\xff")
    os.mkfifo(folder.path / "pipe")
    (problem,) = folder.problems(f"service_name: a\nprocess_name: '{text}'")
    assert problem.startswith("lightbus.yaml:2:15  process_name: ") and told in problem


def test_a_file_that_may_not_be_read_is_told(folder: Folder) -> None:
    folder.write("closed", "x")
    (folder.path / "closed").chmod(0)
    with bound_by_files():
        assert "may not be read by this user" in folder.problems("service_name: ${file:closed}")[0]


def test_a_relative_file_lies_beside_the_manifest_that_names_it(folder: Folder) -> None:
    folder.write("config/name.txt", "billing")
    path = folder.write("config/a.yaml", "service_name: ${file:name.txt}")
    assert folder.load(path).service_name == "billing"
    assert folder.load(str(folder.path / path)).service_name == "billing"


def test_an_overridden_value_need_not_be_replaceable(folder: Folder) -> None:
    folder.write("a.yaml", "service_name: ${UNSET}\nx-mine: ${UNSET}")
    assert folder.load("a.yaml", sets=["service_name=shop"]).service_name == "shop"


def test_a_name_from_a_file_is_told_to_be_no_secret(folder: Folder) -> None:
    folder.write("name", "shop")
    (note,) = folder.read("service_name: '${file:name}'").notes
    assert str(note).startswith(
        "lightbus.yaml:1:15  service_name: comes from ${file:}, but no name is a secret"
    )


def test_a_missing_variable_does_not_make_other_errors(folder: Folder) -> None:
    problems = folder.problems("bus: {redis: {sentinel: {service: '${UNSET}', nodes: ['${UNSET}']}}}")
    assert len(problems) == 2 and all("is not set" in p for p in problems)


def test_only_files_that_the_manifest_names_are_read(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    real = os.open

    def spy(path: str, *args: int) -> int:
        opened.append(Path(path).name)
        return real(path, *args)

    monkeypatch.setattr(os, "open", spy)
    folder.write("secret", "x")
    folder.read("service_name: ${file:secret}\nbus: {redis: {tls: {ca_file: /etc/passwd}}}\nmodules: [os]")
    assert opened == ["lightbus.yaml", "secret"]
