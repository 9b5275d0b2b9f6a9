"""The command: table and JSON, errors with row numbers, files whole or not at all."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from baseload.base.errors import BadInputError, BaseloadError, OutputError, UnknownNameError
from baseload.cli.output import write_json
from baseload.cli.predict import predict, read_rows

HEADER = "row_id,device,model,tensor_parallel,num_gpus,task,batch_size,output_len"
LINE = "r1,H100,Qwen/Qwen3-32B,2,2,lm-arena-chat,32,630"


def run(*arguments: str) -> str:
    """What the command prints; errors come through as they were raised."""
    app = typer.Typer()
    app.command()(predict)
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def table(tmp_path: Path, *lines: str) -> str:
    """A table file with these lines."""
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def test_one_setting_as_json_on_standard_output() -> None:
    text = run(
        "Qwen/Qwen3-32B", "H100-80GB", "--tensor-parallel", "2", "--batch", "32",
        "--context", "2000", "--json", "-",
    )  # fmt: skip
    answer = json.loads(text)
    assert answer["schema"] == "baseload-predict/1"
    assert answer["num_gpus"] == 2
    assert 0.3 < answer["energy_j_per_token"] < 1.2
    assert answer["marginal_energy_j_per_token"] < answer["energy_j_per_token"]
    assert answer["method"] in ("measured", "modelled", "assumed")
    assert {"step_s", "power_w", "error_frac", "basis", "tokens_per_s"} <= set(answer)


def test_one_setting_for_people() -> None:
    text = run("qwen3-32b", "H100", "--tp", "2", "--batch", "16")
    for word in ("J/token", "W/GPU", "128", "error about"):
        assert word in text


def test_a_lower_clock_is_shown_as_assumed(tmp_path: Path) -> None:
    common = ("Llama-3.1-8B", "H100", "--batch", "32", "--context", "400")
    text = run(*common, "--clock", "0.8")
    assert "clock 80 %" in " ".join(text.split())
    assert "assumed, not measured" in " ".join(text.split())
    full, slow = (json.loads(run(*common, "--clock", frac, "--json", "-")) for frac in ("1", "0.8"))
    assert (full["clock_frac"], slow["clock_frac"]) == (1.0, 0.8)
    assert (full["method"], slow["method"]) == ("measured", "assumed")
    assert slow["energy_j_per_token"] < full["energy_j_per_token"]
    assert slow["step_s"] > full["step_s"]
    with pytest.raises(BadInputError, match=r"0\.3 to 1"):
        run(*common, "--clock", "0.2")
    with pytest.raises(BadInputError, match="--clock"):
        run("--table", table(tmp_path, HEADER, LINE), "--clock", "0.8")


def test_a_table_echoes_names_and_sums_up_errors(tmp_path: Path) -> None:
    path = table(tmp_path, HEADER + ",joules_per_output_token", LINE + ",0.55", LINE + ",")
    answer = json.loads(run("--table", path, "--json", "-"))
    first, second = answer["rows"]
    assert (first["row_id"], first["device"], first["model"]) == ("r1", "H100", "Qwen/Qwen3-32B")
    assert first["measured_energy_j_per_token"] == 0.55
    assert "measured_energy_j_per_token" not in second
    assert first["energy_j_per_token"] == second["energy_j_per_token"]
    assert answer["summary"][0]["rows"] == 1
    assert "1" in run("--table", path)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (("device,batch_size", "H100,1"), "model are missing"),
        (("device,model", "H100,Qwen3-8B"), "batch_size is missing"),
        ((HEADER,), "no rows"),
        (("",), "missing"),
        ((HEADER, LINE, LINE.replace(",32,", ",-1,")), "row 3: batch_size"),
        ((HEADER, LINE.replace("lm-arena-chat,32", "lm-arena-chat,abc")), "row 2: batch_size"),
        ((HEADER, LINE + ",more"), "row 2"),
        ((HEADER + ",joules_per_output_token", LINE + ",zero"), "row 2: joules"),
    ],
)
def test_bad_tables_name_the_place(tmp_path: Path, lines: tuple[str, ...], says: str) -> None:
    with pytest.raises(BadInputError, match=says):
        run("--table", table(tmp_path, *lines), "--json", "-")


def test_unknown_names_come_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Qwen3-32B"):
        run("Qwen3-23B", "H100")
    with pytest.raises(UnknownNameError, match="modelled"):
        run("Qwen3-8B", "H100", "--method", "modeled")
    with pytest.raises(UnknownNameError, match="vllm-0"):
        run("Qwen3-8B", "H100", "--engine", "vllm-0.11")
    with pytest.raises(UnknownNameError):
        run("--table", table(tmp_path, HEADER, LINE.replace("Qwen3-32B", "Qwen9-32B")))


@pytest.mark.parametrize(
    "arguments",
    [
        ("Qwen3-8B",),
        (),
        ("Qwen3-8B", "H100", "--batch", "0"),
        ("Qwen3-8B", "H100", "--batch", "nan"),
        ("Qwen3-8B", "H100", "--context", "1e9"),
        ("Llama-3.1-70B", "L4"),
        ("Qwen3-8B", "H100", "--power-cap", "20"),
        ("Qwen3-8B", "H100", "--table", "x.csv"),
        ("--table", "/does/not/exist.csv"),
    ],
)
def test_misuse_is_a_baseload_error(arguments: tuple[str, ...]) -> None:
    with pytest.raises(BaseloadError):
        run(*arguments)


def test_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    run("Qwen3-8B", "H100", "--json", str(target))
    assert json.loads(target.read_text(encoding="utf-8"))["schema"] == "baseload-predict/1"
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
    with pytest.raises(OutputError, match="cannot write"):
        write_json({}, str(tmp_path / "missing" / "out.json"))
    with pytest.raises(OutputError):
        write_json({}, str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_a_failed_run_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    target.write_text("old", encoding="utf-8")
    with pytest.raises(BaseloadError):
        run("Qwen3-8B", "H100", "--batch", "-1", "--json", str(target))
    assert target.read_text(encoding="utf-8") == "old"


def test_not_a_text_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"\xff\xfe\x00device")
    with pytest.raises(BadInputError, match="UTF-8"):
        read_rows(path)
