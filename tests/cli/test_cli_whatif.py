"""``navarch simulate``: a configuration in, an answer out; by the group itself and by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from navarch.cli.main import main
from simulation.whatif_files import FLEET, written

QUICK = ("--days", "0.1", "--seeds", "2", "--jobs", "1")


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["simulate", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_configuration_is_run_by_the_group_itself_and_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ("--config", str(written(tmp_path, FLEET)), *QUICK)
    code, out, _ = told(capsys, *said)
    assert code == 0
    assert out.startswith("fleet.yaml: profile h100-2024, 0.1 days, 2 seeds from 1")
    assert "capacity delivered, %" in out
    assert told(capsys, "what-if", *said) == (0, out, "")


def test_variants_are_compared_in_a_table_and_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vary = "pools.training.min_nodes=2,3"
    config = str(written(tmp_path, FLEET))
    said = ("--config", config, "--profile", "meta-rsc", "--vary", vary, *QUICK)
    code, out, _ = told(capsys, *said, "--report", str(tmp_path / "out"))
    assert code == 0
    assert "min_nodes=3, against min_nodes=2: " in out
    code, out, _ = told(capsys, *said, "-o", "json")
    found = json.loads(out)
    assert json.loads((tmp_path / "out" / "what-if.json").read_text()) == found
    assert found["profile"] == "meta-rsc"
    assert [each["values"] for each in found["variants"]] == [
        {"pools.training.min_nodes": "2"},
        {"pools.training.min_nodes": "3"},
    ]
    assert found["variants"][1]["differences_to_first"]["cost_usd"]["beyond_chance"]
    assert found["variants"][0]["runs"][0]["seed"] == 1


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (("what-if",), "Missing option '--config'"),
        (("--profile", "mars"), "there is no profile 'mars', expected one of h100-2024"),
        (("--vary", "max_nodes"), "varies nothing, expected KEY=V1,V2"),
        (("--vary", "pools.training.max_nodes=x"), "expected a whole number"),
        (("--load", "web=trace.csv"), "there is no pool 'web' for a load"),
        (("--days", "0"), "0"),
        (("--seeds", "0"), "0"),
        (("profiles",), "--config stands behind profiles, not before it"),
    ],
)
def test_mistakes_are_told_on_one_line(
    arguments: tuple[str, ...], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = () if arguments == ("what-if",) else ("--config", str(written(tmp_path, FLEET)))
    code, out, err = told(capsys, *named, *arguments)
    assert code in {1, 2}
    assert out == ""
    assert expected in err
    assert err.count("\n") == 1


def test_profiles_are_listed_with_their_rates_and_sources(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = told(capsys, "profiles")
    assert code == 0
    assert "h100-2024    3.16    159" in out
    assert "aws-v100-us-west-2a" in out
    _, out, _ = told(capsys, "profiles", "-o", "json")
    found = json.loads(out)
    assert all(one["source"] for each in found["profiles"] for one in each["hazards"])


def test_the_example_answers_its_question(capsys: pytest.CaptureFixture[str]) -> None:
    config = Path(__file__).resolve().parents[2] / "examples" / "what-if" / "fleet.yaml"
    vary = "pools.training.disruption.max_unavailable_percent=0,10"
    said = ("--config", str(config), "--vary", vary, "--days", "0.05", "--seeds", "1")
    code, out, _ = told(capsys, *said, "--jobs", "1")
    assert code == 0
    assert "max_unavailable_percent=10, against max_unavailable_percent=0" in out


def test_without_anything_the_group_helps(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = told(capsys)
    assert code == 0
    assert "what-if" in out
