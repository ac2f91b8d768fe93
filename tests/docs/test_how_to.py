"""What the how-to pages tell people to type exists, and rolling back does."""

from __future__ import annotations

import asyncio
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pages import DOCS, Block, all_pages, blocks

import filterkit
from filterkit.builtin.local import LocalDeployer
from filterkit.builtin.replay import ReplayOracle
from filterkit.cli.main import cli
from filterkit.contracts import Context
from filterkit.testing import (
    fake_context,
    make_request,
    make_student,
    sample_articles,
    sample_label,
    tiny_spec,
    write_labelled,
)


def wrong_commands(block: Block) -> Iterator[str]:
    """Lines of a block that call a command or an option that filterkit does not have."""
    joined = block.text.replace("\\\n", " ")
    for line in re.findall(r"^(?:\$ )?(?:[A-Z_]+=\S+ )*(filterkit .*)$", joined, re.M):
        words = re.sub(r"\s+#.*|'[^']*'|\s{2,}\S.*", "", line).split()[1:]
        command: click.Command = cli
        while words and isinstance(command, click.Group) and not words[0].startswith("-"):
            inner = command.get_command(click.Context(command), words[0])
            if inner is None:
                yield f"{block.where}: {line}"
                break
            command = inner
            words = words[1:]
        else:
            known = {name for p in command.params for name in p.opts} | {"--help", "--version"}
            if [w for w in words if w.startswith("-") and w.partition("=")[0] not in known and w != "-"]:
                yield f"{block.where}: {line}"


def test_commands_in_pages_exist() -> None:
    found = [
        b for page in all_pages() for b in blocks(page, "sh", "console", "text") if page.parent.name != "reference"
    ]
    assert sum("filterkit " in block.text for block in found) > 15
    assert not [wrong for block in found for wrong in wrong_commands(block)]


@pytest.mark.parametrize(
    "line",
    [
        "filterkit brew coffee",
        "$ filterkit label x --with-milk 3",
        "A=1 filterkit plugins pour x",
        "filterkit new cup a",
    ],
)
def test_a_command_that_does_not_exist_is_seen(line: str) -> None:
    assert list(wrong_commands(Block("sh", f"echo fine\n{line}\n", "here")))
    assert not list(wrong_commands(Block("sh", "filterkit label x --articles 'a b' -O key=1  # --no\n", "here")))


def test_rolling_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = tmp_path / "newsroom"
    spec, context = filterkit.load_filter("uplifting").spec, fake_context(workspace / ".filterkit")
    (workspace / ".filterkit" / "deployments").mkdir(parents=True)
    deployer = LocalDeployer(
        LocalDeployer.Options.model_validate({"path": str(workspace / "deployments")}), spec, context
    )
    made = []
    for rows in (30, 40):
        student = tmp_path / f"student-{rows}"
        made.append(deployer.publish(student, make_student(student, spec, context, rows=rows)))
        deployer.activate(made[-1])
        record = workspace / ".filterkit" / "deployments" / f"{rows}-uplifting.json"
        record.write_text(made[-1].model_dump_json())
    monkeypatch.chdir(tmp_path)
    code = "\n".join(block.text for block in blocks(DOCS / "how-to" / "verify-and-roll-back.md", "python"))
    (tmp_path / "page.py").write_text(code, encoding="utf-8")
    names = runpy.run_path(str(tmp_path / "page.py"))
    assert f"live: {made[0].id}" in capsys.readouterr().out
    current = deployer.current()
    assert current is not None
    assert current.id == made[0].id
    assert names["student"].manifest.student_hash == made[0].student_hash


def test_relative_paths_in_options_start_at_the_workspace(tmp_path: Path) -> None:
    """As docs/reference/config.md says, wherever one stands."""
    spec = tiny_spec()
    context = Context(workdir=tmp_path / "work", root=tmp_path / "newsroom")
    deployer = LocalDeployer(LocalDeployer.Options.model_validate({}), spec, context)
    assert deployer.target == str(tmp_path / "newsroom" / "deployments" / "tiny")
    articles = sample_articles(3)
    (tmp_path / "newsroom").mkdir()
    write_labelled(tmp_path / "newsroom" / "desk.jsonl", [(a, sample_label(a, spec)) for a in articles])
    oracle = ReplayOracle(ReplayOracle.Options.model_validate({"labels": "desk*.jsonl"}), spec, context)

    async def ask() -> str:
        await oracle.open()
        return (await oracle.complete(make_request(spec, articles[0]))).text

    assert "help" in asyncio.run(ask())
