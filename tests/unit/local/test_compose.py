"""docker-compose.yml and the files it mounts: checked as data, since a test machine has no Docker."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from conf.settings import load_settings
from local.jars import ROOT

TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SECRETS = {
    *("POSTGRES_PASSWORD", "REDIS_PASSWORD", "INFLUX_PASSWORD", "INFLUX_TOKEN", "GRAFANA_PASSWORD"),
    *("TICKSTREAM_API_BOOTSTRAP_KEY", "TICKSTREAM_DASHBOARD_PASSWORD"),
}
ONE_SHOT = {name for name, service in SERVICES.items() if service.get("restart") == "no"}

every_service = pytest.mark.parametrize("name", SERVICES)


def has_compose() -> bool:
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "compose", "version"], capture_output=True).returncode == 0


def test_core_runs_alone_and_the_rest_is_optional() -> None:
    by_profile: dict[str, set[str]] = {}
    for name, service in SERVICES.items():
        (profile,) = service.get("profiles", ["core"])
        by_profile.setdefault(profile, set()).add(name)
    assert by_profile["core"] - ONE_SHOT == {
        *("timescaledb", "influxdb", "kafka", "redis", "spark-master", "spark-worker-1", "spark-worker-2"),
        *("live", "stores", "relay", "tick-relay", "api", "dashboard", "feed"),
    }
    assert by_profile["full"] == {"predictor", "alerts", "poll", "schedule", "prometheus", "grafana"}
    assert by_profile["tools"] == {"kafka-ui", "pgadmin"}


@every_service
def test_service_is_pinned_or_built_here(name: str) -> None:
    service = SERVICES[name]
    if "build" in service:
        assert (ROOT / service["build"]["dockerfile"]).exists()
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+[\w.-]*", service["image"]), "a full version, not a moving tag"


@every_service
def test_service_says_whether_it_is_healthy(name: str) -> None:
    if name in ONE_SHOT:
        waiting = [other["depends_on"][name] for other in SERVICES.values() if name in other.get("depends_on", {})]
        assert waiting
        assert all(how == {"condition": "service_completed_successfully"} for how in waiting)
    else:
        check = SERVICES[name]["healthcheck"]
        assert check["test"][0] in ("CMD", "CMD-SHELL")
        assert {"interval", "timeout", "retries"} <= check.keys()


@every_service
def test_ports_are_open_to_this_machine_only(name: str) -> None:
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in SERVICES[name].get("ports", []))


@every_service
def test_service_waits_for_what_exists_and_is_healthy(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        expected = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
        assert how["condition"] == expected
        assert other in SERVICES
        assert SERVICES[other].get("profiles") in (None, SERVICES[name].get("profiles")), "it would never start"


@every_service
def test_volumes_are_named_or_files_of_the_repository(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source = volume.split(":")[0]
        assert (ROOT / source).is_file() if source.startswith("./") else source in COMPOSE["volumes"]


def test_services_that_read_or_write_files_have_the_volume_that_they_share() -> None:
    for name in ("live", "stores", "schedule", "predictor", "api", "spark-worker-1", "spark-worker-2"):
        assert any(volume.split(":")[:2] == ["state", "/data"] for volume in SERVICES[name]["volumes"]), name


def test_boards_and_rules_are_where_grafana_and_prometheus_look() -> None:
    inside = {volume.split(":")[0]: volume.split(":")[1] for name in ("grafana", "prometheus")
              for volume in SERVICES[name]["volumes"]}  # fmt: skip
    provider = yaml.safe_load((ROOT / "deploy" / "grafana-boards.yml").read_text())["providers"][0]
    for board in sorted((ROOT / "deploy" / "grafana").glob("*.json")):
        assert inside[f"./deploy/grafana/{board.name}"] == f"{provider['options']['path']}/{board.name}"
    pattern = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())["rule_files"][0]
    for rules in sorted((ROOT / "deploy" / "rules").glob("*.yml")):
        assert Path(inside[f"./deploy/rules/{rules.name}"]).match(pattern)
    sources = yaml.safe_load((ROOT / "deploy" / "grafana-datasources.yml").read_text())["datasources"]
    assert "prometheus" in {source.get("uid") for source in sources}


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "build" in service])
def test_metrics_are_open_inside_the_set_and_not_outside(name: str) -> None:
    assert not any(port.split(":")[2].startswith("91") for port in SERVICES[name].get("ports", []))
    if name != "dashboard":
        assert SERVICES[name]["environment"]["TICKSTREAM_METRICS_HOST"] == "0.0.0.0"


def test_no_shell_stands_between_a_server_and_the_signal_to_stop() -> None:
    for name, service in SERVICES.items():
        command = service.get("command", [])
        assert command[:1] != ["sh"] or command[2].startswith("exec "), name


def test_host_ports_are_used_once() -> None:
    ports = [port.split(":")[1] for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == len(set(ports))


def test_secrets_are_asked_for_and_never_written_down() -> None:
    asked = set(re.findall(r"\$\{(\w+):\?[^}]+\}", TEXT))
    assert asked == SECRETS
    assert not re.search(r"(?i)(password|token)\w*: *[\"']?(?!\$)[\w]", re.sub(r"#.*", "", TEXT))


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "build" in service])
def test_settings_of_our_own_services_are_known(name: str) -> None:
    """With nothing set beside the file: `${NAME:-default}` is the default."""
    environment = {
        key: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value)) for key, value in SERVICES[name]["environment"].items()
    }
    settings = load_settings(environment, env_file=None)
    if name == "dashboard":  # it reads the API, and has no business with the stores
        assert not {"POSTGRES_DSN", "REDIS_URL", "INFLUX_TOKEN"} & environment.keys()
        return
    assert settings.kafka_bootstrap == "kafka:9092"
    assert settings.influx_url == "http://influxdb:8086"


def test_api_knows_the_schedule() -> None:
    planned, known = (SERVICES[name]["environment"]["TICKSTREAM_SCHEDULE"] for name in ("schedule", "api"))
    assert planned == known and "backup" in known


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "build" in service])
def test_commands_of_our_own_services_exist(name: str) -> None:
    command = SERVICES[name]["command"]
    if command[:2] == ["python", "-m"]:
        package = ROOT / command[2].replace(".", "/")
        assert package.with_suffix(".py").exists() or (package / "__main__.py").exists()
    else:
        assert command[0] in ("./spark-submit.sh", "/opt/spark/bin/spark-class")


@pytest.mark.parametrize("name", ["live", "stores"])
def test_drivers_fit_on_the_cluster_together(name: str) -> None:
    options = SERVICES[name]["environment"]["SUBMIT_ARGS"]
    worker = SERVICES["spark-worker-1"]["command"]
    assert f"spark.driver.host={name} " in options
    assert 2 * int(re.findall(r"executor\.cores=(\d+)", options)[0]) <= int(worker[worker.index("--cores") + 1])
    assert 2 * int(re.findall(r"executor\.memory=(\d+)g", options)[0]) <= int(worker[worker.index("--memory") + 1][:-1])
    assert "spark.ui.enabled=true" in options, "the health check asks the driver's page"


def test_image_copies_every_room_that_runs_and_drops_root() -> None:
    lines = (ROOT / "deploy" / "Dockerfile").read_text().splitlines()
    copied = {source for line in lines if line.startswith("COPY") for source in line.split()[1:-1]}
    copied = {source for source in copied if Path(source).parts[0] == source or Path(source).parts[0] not in copied}
    admitted = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == admitted
    assert {"core", "conf", "stores", "producers", "jobs", "api", "dashboard", "ml", "alerts", "local"} <= copied
    assert "USER tickstream" in lines
    assert re.search(r"FROM python:3\.11\.\d+-slim", lines[1])


def test_image_has_all_that_fetching_the_jars_needs_before_it_fetches_them(tmp_path: Path) -> None:
    before = (ROOT / "deploy" / "Dockerfile").read_text().split("RUN IVY_CACHE")[0]
    for line in before.splitlines():
        if line.startswith("COPY"):
            *sources, folder = line.split()[1:]
            (tmp_path / folder).mkdir(exist_ok=True)
            for source in sources:
                shutil.copy(ROOT / source, tmp_path / folder)
    imported = [sys.executable, "-c", "from local.jars import ROOT, ensure_jars; print(ROOT)"]
    done = subprocess.run(imported, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == f"{tmp_path}\n", done.stderr
    assert {"ivy.xml", "ivysettings.xml"} <= set(os.listdir(tmp_path / "conf"))


@pytest.mark.parametrize("path", sorted((ROOT / "deploy").glob("*.yml")), ids=lambda path: path.name)
def test_deploy_file_names_services_of_the_set(path: Path) -> None:
    assert yaml.safe_load(path.read_text())
    hosts = set(re.findall(r"(?:http://|\"|url: )([a-z][\w-]*):\d+", path.read_text()))
    assert hosts <= {*SERVICES, "localhost"}


@pytest.mark.skipif(not has_compose(), reason="no Docker client with compose on this machine")
def test_docker_compose_accepts_the_file() -> None:
    env = os.environ | dict.fromkeys(SECRETS, "x")
    command = ["docker", "compose", "--profile", "tools", "--profile", "full", "config", "--quiet"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
