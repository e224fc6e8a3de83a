"""The Kubernetes manifests and the Airflow DAGs: checked as data, since there is no cluster and no Airflow here."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from conf.schedule import JOBS, entries
from conf.settings import OWN_NAMES, load_settings
from local.jars import ROOT
from local.programs import Feed, programs
from metrics.serve import OFFSETS

FOLDER = ROOT / "deploy" / "kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
RESOURCES: list[dict[str, Any]] = [
    document for name in KUSTOMIZATION["resources"] for document in yaml.safe_load_all((FOLDER / name).read_text())
]
SECRETS = {"POSTGRES_DSN", "REDIS_URL", "INFLUX_TOKEN", "TICKSTREAM_API_BOOTSTRAP_KEY", "TICKSTREAM_DASHBOARD_PASSWORD"}


def of_kind(*kinds: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in RESOURCES if each["kind"] in kinds}


WORKLOADS = of_kind("Deployment", "Job")
PODS = {name: each["spec"]["template"]["spec"] for name, each in WORKLOADS.items()}
every_workload = pytest.mark.parametrize("name", WORKLOADS)
SETTINGS: dict[str, str] = of_kind("ConfigMap")["settings"]["data"]


def container(name: str) -> dict[str, Any]:
    (found,) = PODS[name]["containers"]
    return dict(found)


def test_every_manifest_is_listed_and_named_once() -> None:
    files = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(KUSTOMIZATION["resources"]) == files
    names = [(each["kind"], each["metadata"]["name"]) for each in RESOURCES]
    assert len(names) == len(set(names))


def test_every_program_of_the_stack_runs() -> None:
    local = {"ticks": "tick-relay"}
    assert {local.get(each.name, each.name) for each in programs(Feed(), "all")} | {"migrate"} == WORKLOADS.keys()


@every_workload
def test_pod_is_not_root_and_may_do_nothing_more(name: str) -> None:
    pod = PODS[name]["securityContext"]
    assert pod["runAsNonRoot"] and pod["runAsUser"] == 10001 and pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert f"--uid {pod['runAsUser']} " in (ROOT / "deploy" / "Dockerfile").read_text()
    assert container(name)["securityContext"] == {
        "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}
    }  # fmt: skip
    if PODS[name].get("serviceAccountName") != "spark":
        assert PODS[name]["automountServiceAccountToken"] is False


@every_workload
def test_resources_are_asked_for_and_memory_is_limited(name: str) -> None:
    resources = container(name)["resources"]
    assert {"cpu", "memory"} <= resources["requests"].keys()
    assert resources["limits"] == {"memory": resources["requests"]["memory"]}


@every_workload
def test_it_is_known_whether_it_lives(name: str) -> None:
    own = container(name)
    if WORKLOADS[name]["kind"] == "Job":
        return
    ports = {port["name"]: port["containerPort"] for port in own.get("ports", [])}
    probe = own["livenessProbe"]
    if "exec" in probe:
        assert probe["exec"]["command"][:2] == ["pgrep", "-f"]
        assert probe["exec"]["command"][2] in " ".join(own["command"])
    else:
        assert (probe.get("httpGet") or probe["tcpSocket"])["port"] in ports
    metrics = {"tick-relay": "ticks"}.get(name, name)
    assert ports.get("metrics") == (9100 + OFFSETS[metrics] if metrics in OFFSETS else None)


@every_workload
def test_labels_fit_and_only_one_of_each_but_the_readers(name: str) -> None:
    template = WORKLOADS[name]["spec"]["template"]["metadata"]["labels"]
    assert template == {"app": name}
    if WORKLOADS[name]["kind"] == "Job":
        return
    spec = WORKLOADS[name]["spec"]
    assert spec["selector"]["matchLabels"] == template
    alone = {"replicas": 1, "strategy": {"type": "Recreate"}}
    assert name in ("api", "dashboard") or {key: spec[key] for key in alone} == alone


@every_workload
def test_image_is_ours_and_the_command_exists(name: str) -> None:
    own = container(name)
    assert own["image"] == KUSTOMIZATION["images"][0]["name"] == "tickstream"
    command = own["command"]
    assert all(isinstance(word, str) for word in command)
    if command[:2] == ["python", "-m"]:
        package = ROOT / command[2].replace(".", "/")
        assert package.with_suffix(".py").exists() or (package / "__main__.py").exists()
    else:
        assert command[0] == "./spark-submit.sh" and (ROOT / command[1]).exists()


@every_workload
def test_settings_are_known_and_secrets_are_not_written_down(name: str) -> None:
    own = container(name)
    plain = {each["name"]: each["value"] for each in own.get("env", []) if "value" in each}
    ours = {key: value for key, value in plain.items() if key.startswith("TICKSTREAM_") or key in OWN_NAMES}
    load_settings(SETTINGS | ours, env_file=None)
    assert not SECRETS & (plain.keys() | SETTINGS.keys())
    referred = {each["valueFrom"]["secretKeyRef"]["key"] for each in own.get("env", [])
                if "secretKeyRef" in each.get("valueFrom", {})}  # fmt: skip
    assert referred <= SECRETS
    if name == "dashboard":  # it reads the API, and has no business with the stores
        assert "envFrom" not in own
    else:
        assert own["envFrom"] == [{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "tickstream"}}]


def test_secret_that_has_to_be_made_is_told_in_full() -> None:
    text = (FOLDER / "settings.yaml").read_text()
    assert set(re.findall(r"--from-literal=(\w+)=", text)) == SECRETS


def test_schedule_of_the_settings_is_one() -> None:
    assert {each.name for each in entries(SETTINGS["TICKSTREAM_SCHEDULE"], "UTC")} >= {"backup", "retention"}


def test_volumes_claims_and_maps_exist() -> None:
    claims, maps = of_kind("PersistentVolumeClaim"), of_kind("ConfigMap")
    for pod in PODS.values():
        for volume in pod.get("volumes", []):
            claim, held = volume.get("persistentVolumeClaim"), volume.get("configMap")
            assert claim is None or claim["claimName"] in claims
            assert held is None or held["name"] in maps
        mounted = {mount["name"] for mount in pod["containers"][0].get("volumeMounts", [])}
        assert mounted == {volume["name"] for volume in pod.get("volumes", [])}


def test_services_lead_to_ports_that_pods_have() -> None:
    for name, service in of_kind("Service").items():
        assert service["spec"]["selector"] == {"app": name}
        ports = {port["name"]: port["containerPort"] for port in container(name)["ports"]}
        assert {port["name"]: port["port"] for port in service["spec"]["ports"]}.items() <= ports.items()


@pytest.mark.parametrize("name", ["live", "stores"])
def test_driver_is_where_its_executors_look_for_it(name: str) -> None:
    own = container(name)
    env = {each["name"]: each.get("value", "") for each in own["env"]}
    options = dict(re.findall(r"--conf (\S+?)=(\S+)", env["SUBMIT_ARGS"]))
    space = KUSTOMIZATION["namespace"]
    assert env["SPARK_MASTER"].startswith("k8s://https://")
    assert options["spark.driver.host"] == f"{name}.{space}.svc" and options["spark.kubernetes.namespace"] == space
    ports = {port["name"]: str(port["containerPort"]) for port in own["ports"]}
    assert (options["spark.driver.port"], options["spark.blockManager.port"]) == (ports["driver"], ports["blocks"])
    service = of_kind("Service")[name]["spec"]
    assert service["clusterIP"] == "None" and service["publishNotReadyAddresses"] is True
    image = KUSTOMIZATION["images"][0]
    assert options["spark.kubernetes.container.image"] == f"{image['newName']}:{image['newTag']}"
    slots = int(options["spark.executor.instances"]) * int(options["spark.executor.cores"])
    assert slots >= 2 * int(SETTINGS["TICKSTREAM_TICKS_PARTITIONS"]), "a task of live never ends"
    assert options["spark.kubernetes.executor.request.cores"] == "500m", "slots are no processors"
    template = yaml.safe_load(of_kind("ConfigMap")["executor"]["data"]["executor.yaml"])
    assert template["spec"]["securityContext"] == PODS[name]["securityContext"]


def test_executor_starts_what_spark_asks_for_and_anything_else_as_it_is(tmp_path: Path) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\npwd >&2\n')
    java.chmod(0o755)
    given = {"DRIVER_URL": "spark://d", "EXECUTOR_ID": "7", "EXECUTOR_CORES": "4", "APPLICATION_ID": "app",
             "EXECUTOR_POD_IP": "10.0.0.9", "RESOURCE_PROFILE_ID": "0", "EXECUTOR_POD_NAME": "pod",
             "HOME": "/opt/spark", "EXECUTOR_MEMORY": "1g",
             "JAVA_OPT_0": "-Da=b c", "JAVA_OPT_1": "-Dd=$e"}  # fmt: skip
    env = {f"SPARK_{name}": value for name, value in given.items()} | {"PATH": os.environ["PATH"]}
    script = str(FOLDER / "executor.sh")
    done = subprocess.run([script, "executor"], env=env | {"JAVA_HOME": str(tmp_path)}, capture_output=True, text=True)
    words = done.stdout.splitlines()
    assert words[:4] == ["-Xms1g", "-Xmx1g", "-cp", "/opt/spark/jars/*"]
    assert words[4:6] == ["-Da=b c", "-Dd=$e"]
    assert words[6] == "org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend"
    named = dict(zip(words[7::2], words[8::2], strict=True))
    # Spark writes there, and the image's own folder is root's.
    assert Path(done.stderr.strip()) != Path.cwd() and os.access(done.stderr.strip(), os.W_OK)
    assert named["--driver-url"] == "spark://d" and named["--podName"] == "pod" and named["--hostname"] == "10.0.0.9"
    assert subprocess.run([script, "echo", "a b"], env=env, capture_output=True, text=True).stdout == "a b\n"


def test_image_has_the_executor_where_spark_looks_for_it() -> None:
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    assert "COPY deploy/kubernetes/executor.sh /opt/entrypoint.sh" in text
    assert 'ENTRYPOINT ["/opt/entrypoint.sh"]' in text


def test_dags_name_jobs_that_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for Airflow, which shows that the file can be read and what it asks for, and no more."""
    made: list[dict[str, Any]] = []

    class Dag:
        def __init__(self, **options: Any) -> None:
            self.options = options

        def __enter__(self) -> "Dag":
            return self

        def __exit__(self, *_: object) -> None: ...

    def operator(**options: Any) -> None:
        made.append(options)

    parts = {"airflow.sdk": {"DAG": Dag}, "airflow.providers.standard.operators.bash": {"BashOperator": operator}}
    parts["pendulum"] = {"datetime": lambda *_, **__: None}
    for name, held in parts.items():
        for at in range(1, name.count(".") + 2):
            whole = ".".join(name.split(".")[:at])
            monkeypatch.setitem(sys.modules, whole, sys.modules.get(whole, ModuleType(whole)))
        for key, value in held.items():
            setattr(sys.modules[name], key, value)
    namespace = runpy.run_path(str(ROOT / "deploy" / "airflow" / "tickstream.py"))
    dags = {name: each for name, each in namespace.items() if isinstance(each, Dag)}
    assert len(dags) == len(made) == len(JOBS)
    assert {each["bash_command"].split("--run ")[1].split()[0] for each in made} == JOBS.keys()
    for name, dag in dags.items():
        assert dag.options["dag_id"] == name and dag.options["max_active_runs"] == 1 and not dag.options["catchup"]
        assert entries(f"backup={dag.options['schedule']}", "UTC")
    # The worker's environment has what the file asks for; the project refuses what it does not know of it.
    start, _, _ = made[0]["bash_command"].partition(" -m ")
    environment = os.environ | {"TICKSTREAM_HOME": str(ROOT), "PYTHON": sys.executable}
    code = "from conf.settings import load_settings; load_settings()"
    done = subprocess.run(["bash", "-c", f"{start} -c '{code}'"], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
