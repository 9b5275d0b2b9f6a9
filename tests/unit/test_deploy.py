"""What is in deploy/: it can be read, and names only what exists."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from baseload.cli.gateway_file import load_content
from baseload.gateway.config import GatewayConfig
from baseload.gateway.metric_names import BY_NAME
from baseload.gateway.request_log import _Line

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
YAML = sorted(DEPLOY.rglob("*.yaml"))
METRIC = re.compile(r"\b((?:baseload|process|gen_ai)_[a-z_]+)\b")
NO_METRIC = {"baseload_gateway"}
KUBERNETES = {path.stem: path for path in (DEPLOY / "kubernetes").glob("*.yaml")}


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def name(path):
    return str(path.relative_to(DEPLOY))


def board():
    return json.loads((DEPLOY / "grafana" / "baseload.json").read_text(encoding="utf-8"))


def board_queries():
    for panel in board()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def alerts():
    return read(DEPLOY / "prometheus" / "alerts.yaml")["groups"][0]["rules"]


def known(metric):
    """The metric that a name in a query stands for."""
    base = re.sub(r"_(bucket|sum|count)$", "", metric)
    return BY_NAME.get(metric) or BY_NAME.get(base)


QUERIES = [*board_queries(), *((rule["alert"], rule["expr"]) for rule in alerts())]


@pytest.mark.parametrize("path", YAML, ids=name)
def test_yaml_can_be_read(path):
    assert read(path)


@pytest.mark.parametrize(("where", "query"), QUERIES, ids=[where for where, _ in QUERIES])
def test_a_query_names_metrics_and_labels_that_exist(where, query):
    metrics = METRIC.findall(query)
    assert metrics or query.startswith("up{")
    for metric in metrics:
        found = known(metric)
        assert found is not None, metric
        suffix = metric.removeprefix(found.name)
        assert suffix in (("_bucket", "_sum", "_count") if found.kind == "histogram" else ("",))
    labels = {label for metric in metrics for label in known(metric).labels} | {"le", "job"}
    for inside in re.findall(r"\{([^}]*)\}", query):
        assert set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", inside)) <= labels
    for inside in re.findall(r"by \(([^)]*)\)", query):
        assert {label.strip() for label in inside.split(",")} <= labels


def test_a_counter_is_never_shown_as_it_stands():
    """A counter means nothing but by its rate."""
    for where, query in QUERIES:
        for metric in METRIC.findall(query):
            found = known(metric)
            if found.kind != "gauge":
                around = rf"(rate|increase)\({metric}(\{{[^}}]*\}})?\["
                assert re.search(around, query), (where, metric)


def test_the_board_shows_every_metric_of_the_gateway():
    shown = {known(metric).name for _, query in board_queries() for metric in METRIC.findall(query)}
    beside = {"baseload_build_info", "process_open_fds", "process_start_time_seconds"}
    beside |= {metric for metric in BY_NAME if metric.startswith("gen_ai_")}
    assert set(BY_NAME) - shown == beside


def test_panels_have_names_places_and_units():
    found = board()
    ids = [panel["id"] for panel in found["panels"]]
    assert len(set(ids)) == len(ids)
    cells = set()
    for panel in found["panels"]:
        place = panel["gridPos"]
        assert panel["title"]
        assert place["x"] + place["w"] <= 24
        here = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not here & cells, panel["title"]
        cells |= here
        if panel["type"] != "row":
            assert panel["fieldConfig"]["defaults"]["unit"]


def test_the_configmap_is_a_configuration_that_would_be_taken():
    text = read(KUBERNETES["configmap"])["data"]["baseload.yaml"]
    key = {"BASELOAD_KEY": "bl-0123456789012345678901234567890123456789"}
    loaded = load_content(text.encode(), folder=Path(), where="the ConfigMap", environ=key)
    assert isinstance(loaded.config, GatewayConfig)
    assert loaded.config.listen.host == "0.0.0.0"
    assert loaded.config.keys


def test_the_pod_has_time_to_drain_and_the_right_probes():
    config = yaml.safe_load(read(KUBERNETES["configmap"])["data"]["baseload.yaml"])
    pod = read(KUBERNETES["deployment"])["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    pause_s = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    needed_s = pause_s + config["limits"]["drain_s"] + 2
    assert needed_s < pod["terminationGracePeriodSeconds"] < needed_s + 30
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/health"
    assert container["startupProbe"]["httpGet"]["path"] == "/health"
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports["http"] == config["listen"]["port"]
    secret = read(KUBERNETES["secret"])
    assert container["envFrom"][0]["secretRef"]["name"] == secret["metadata"]["name"]
    assert list(secret["stringData"].values()) == [""], "no secret in the repository"
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert pod["securityContext"]["runAsNonRoot"]


def test_kustomize_reads_what_is_there():
    files = read(KUBERNETES["kustomization"])["resources"]
    assert all((DEPLOY / "kubernetes" / file).exists() for file in files)
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    made = subprocess.run(
        ["kubectl", "kustomize", str(DEPLOY / "kubernetes")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    kinds = [one["kind"] for one in yaml.safe_load_all(made.stdout)]
    assert sorted(kinds) == ["ConfigMap", "Deployment", "Service"]


def names_of(lines):
    return {re.split(r"[><=;\[ ]", line, maxsplit=1)[0] for line in lines}


def test_the_image_has_all_that_the_project_needs_but_tables_and_drawings():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (DEPLOY / "requirements.txt").read_text(encoding="utf-8").splitlines()
    installed = [line for line in lines if line and not line.startswith("#")]
    needed = names_of(project["dependencies"])
    assert needed - names_of(installed) <= {"polars", "matplotlib", "prometheus-client"}
    assert names_of(installed) <= needed
    floors = {line.split(";")[0] for line in project["dependencies"]}
    assert set(installed) <= floors, "another version than the project's"


def test_the_gateway_runs_without_what_the_image_lacks():
    program = (
        "import sys\n"
        "for name in ('polars', 'matplotlib', 'prometheus_client', 'opentelemetry', 'pyarrow'):\n"
        "    sys.modules[name] = None\n"
        "import baseload.gateway.service, baseload.gateway.spans, baseload.gateway.summary\n"
        "from baseload.cli.gateway_file import load_builtin\n"
        "from baseload.cli.main import main\n"
        "load_builtin()\n"
        "sys.exit(main(['serve', '--help']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_dockerfile_copies_what_exists_and_runs_as_nobody_of_note():
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8")
    for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE):
        for source in line.split()[:-1]:
            assert f"!{source}\n" in ignored, source
    user = text.rindex("USER ")
    assert text[user:].startswith("USER 10001")
    assert "HEALTHCHECK" in text[user:]
    assert user < text.index("RUN python /opt/baseload/warm.py")
    compile((DEPLOY / "warm.py").read_text(encoding="utf-8"), "warm.py", "exec")


def unit():
    found = configparser.RawConfigParser(strict=False)
    found.optionxform = str
    found.read(DEPLOY / "systemd" / "baseload.service", encoding="utf-8")
    return found


def test_the_unit_reloads_stops_and_is_closed():
    service = unit()["Service"]
    assert "-HUP" in service["ExecReload"]
    assert int(service["TimeoutStopSec"]) > GatewayConfig(models=(), replicas=()).limits.drain_s
    for closed in ("NoNewPrivileges", "PrivateTmp", "ProtectHome", "DynamicUser"):
        assert service[closed] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_reads_the_unit(tmp_path):
    text = (DEPLOY / "systemd" / "baseload.service").read_text(encoding="utf-8")
    path = tmp_path / "baseload.service"
    path.write_text(text.replace("/opt/baseload/bin/baseload", sys.executable), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if "baseload.service" in line]
    assert said == [], done.stderr


def section(text, heading):
    """The part of a page under a heading of the second level."""
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_the_how_to_says_what_each_alert_means():
    text = (ROOT / "docs" / "how-to" / "operate-the-gateway.md").read_text(encoding="utf-8")
    told = re.findall(r"^### (\w+)$", section(text, "7. What each alert means"), re.MULTILINE)
    assert told == [rule["alert"] for rule in alerts()]
    assert all(rule["annotations"]["summary"] and rule["labels"]["severity"] for rule in alerts())


def test_the_how_to_names_every_field_of_the_log():
    text = (ROOT / "docs" / "how-to" / "operate-the-gateway.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`(\w+)`", section(text, "6. Watch")))
    assert set(_Line.__struct_fields__) <= told


@pytest.mark.parametrize("metric", BY_NAME.values(), ids=lambda metric: metric.name)
def test_every_metric_is_described_as_it_is(metric):
    text = (ROOT / "docs" / "reference" / "gateway-metrics.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `{metric.name}` \|(.*)\|$", text, re.MULTILINE)
    kind, labels, workers, meaning = (cell.strip() for cell in row.split("|"))
    assert kind == metric.kind
    assert tuple(re.findall(r"`(\w+)`", labels)) == metric.labels
    assert workers == (metric.together if metric.kind == "gauge" else "sum")
    assert len(meaning) > 10


def test_no_metric_is_described_that_is_gone():
    text = (ROOT / "docs" / "reference" / "gateway-metrics.md").read_text(encoding="utf-8")
    described = re.findall(r"^\| `((?:baseload|process|gen_ai)_\w+)` \|", text, re.MULTILINE)
    assert sorted(described) == sorted(BY_NAME)
    others = {label for metric in BY_NAME.values() for label in metric.labels}
    others.add("baseload_emulated_energy_joules_total")
    for metric in METRIC.findall(text):
        assert known(metric) or metric in others, metric
