"""Manifests, policies and scripts for clusters: valid by the published schemas, and with the safeguards that they promise."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import ray.autoscaler
import yaml

from curate.cli import main
from curate.recipe.file import from_dict

INFRA = Path(__file__).resolve().parent.parent.parent / "infra"
KUBERAY = "KUBERAY_CRDS"
"""Environment variable: a folder with ray.io_rayjobs.yaml.gz and ray.io_rayclusters.yaml.gz, KubeRay's definitions."""


def documents(name: str) -> list[dict]:
    """The documents of a YAML file."""
    return list(yaml.safe_load_all((INFRA / name).read_text()))


def cluster_specs() -> list[dict]:
    """The cluster part of the RayJob and of the RayCluster."""
    [job] = [found for found in documents("kuberay/rayjob.yaml") if found["kind"] == "RayJob"]
    [cluster] = documents("kuberay/raycluster.yaml")
    return [job["spec"]["rayClusterSpec"], cluster["spec"]]


def pods(spec: dict) -> list[dict]:
    """Pod specs of all groups."""
    return [group["template"]["spec"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]


def test_yaml_is_well_formed():
    yamllint = pytest.importorskip("yamllint", reason="yamllint is not installed")
    assert yamllint
    done = subprocess.run(
        [sys.executable, "-m", "yamllint", "--strict", "-c", INFRA / ".yamllint", INFRA],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_config_of_ray_up_fits_rays_own_schema():
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    [config] = documents("aws/cluster.yaml")
    jsonschema.validate(config, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**config, "head_node": "x", "wrong": 1}, schema)


@pytest.mark.parametrize("kind", ["rayjob", "raycluster"])
def test_manifests_fit_the_definitions_of_kuberay(kind):
    if KUBERAY not in os.environ:
        pytest.skip(f"{KUBERAY} names no folder with KubeRay's definitions")
    definition = yaml.safe_load(gzip.decompress((Path(os.environ[KUBERAY]) / f"ray.io_{kind}s.yaml.gz").read_bytes()))
    [schema] = [v["schema"]["openAPIV3Schema"] for v in definition["spec"]["versions"] if v["name"] == "v1"]
    [found] = [d for d in documents(f"kuberay/{kind}.yaml") if d["kind"].lower() == kind]
    jsonschema.validate(found, closed(schema))


def closed(schema: dict) -> dict:
    """The schema with unknown fields refused, as the API server drops them without a word."""
    if "properties" in schema:
        return (
            {
                **schema,
                "properties": {name: closed(part) for name, part in schema["properties"].items()},
                "additionalProperties": False,
            }
            if schema.get("type") == "object" and schema["properties"].keys() != {"name"}
            else schema
        )
    if isinstance(schema.get("items"), dict):
        return {**schema, "items": closed(schema["items"])}
    if schema.get("x-kubernetes-int-or-string"):
        return {}
    return schema


def test_clusters_ask_for_the_token_and_have_a_head_for_drivers_alone_that_is_on_demand():
    for spec in cluster_specs():
        assert spec["authOptions"] == {"mode": "token"}
        assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
        assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
        assert spec["enableInTreeAutoscaling"]
        affinity = spec["headGroupSpec"]["template"]["spec"]["affinity"]["nodeAffinity"]
        [term] = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        assert term["matchExpressions"][0]["values"] == ["on-demand"]
    [config] = documents("aws/cluster.yaml")
    head = config["available_node_types"][config["head_node_type"]]
    assert head["resources"] == {"CPU": 0}
    assert "InstanceMarketOptions" not in head["node_config"]


def test_no_pod_is_root_or_without_limits():
    for spec in cluster_specs():
        for pod in pods(spec):
            assert pod["securityContext"]["runAsNonRoot"]
            for container in pod["containers"]:
                assert {"cpu", "memory"} <= container["resources"]["limits"].keys()
                assert container["securityContext"]["allowPrivilegeEscalation"] is False
                assert "env" not in container  # credentials come by the service account's role


def test_a_job_ends_with_its_cluster_and_is_tried_again():
    [job] = [found["spec"] for found in documents("kuberay/rayjob.yaml") if found["kind"] == "RayJob"]
    assert job["shutdownAfterJobFinishes"]
    assert job["backoffLimit"] > 0
    assert not {"entrypointNumCpus", "entrypointResources"} & job.keys()  # then Ray starts the driver on the head
    [recipe] = [found for found in documents("kuberay/rayjob.yaml") if found["kind"] == "ConfigMap"]
    from_dict(yaml.safe_load(recipe["data"]["recipe.yaml"]), Path("/"))


def test_the_policy_allows_nothing_outside_the_prefixes():
    policy = json.loads((INFRA / "aws/policy.json").read_text())
    for statement in policy["Statement"]:
        assert "*" not in "".join(statement["Action"])
        writes = {"s3:PutObject", "s3:DeleteObject"} & set(statement["Action"])
        assert not writes or statement["Resource"].endswith("/runs/*")


def test_the_image_is_not_root_and_takes_the_locked_dependencies():
    lines = (INFRA / "Dockerfile").read_text()
    assert lines.count("FROM ") == 2
    assert re.search(r"^USER (?!root)\w+", lines, re.MULTILINE)
    assert "--require-hashes -r requirements.lock" in lines
    assert "RAY_AUTH_MODE=token" in lines


@pytest.mark.parametrize("name", ["dedup", "order", "shards", "run_recipe"])
def test_entry_scripts_refuse_a_wrong_recipe(name, tmp_path):
    script = INFRA.parent / "jobs" / f"{name}.py"
    done = subprocess.run(
        [sys.executable, script, str(tmp_path / "none.yaml")], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode in (1, 2)
    assert "none.yaml" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--address", "ray://x:10001"], "http://HEAD:8265"),
        (["--address", "http://127.0.0.1:1"], "cannot be reached"),
        (["--address", "http://127.0.0.1:1", "--until", "nowhere"], "nowhere"),
    ],
)
def test_a_wrong_submission_says_what_to_do(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    (tmp_path / "r.yaml").write_text("inputs: [{source: a, path: 's3://b/x.jsonl'}]\nworkspace: s3://b/run\n")
    assert main(["submit", str(tmp_path / "r.yaml"), *arguments]) == 2
    assert message in capsys.readouterr().err
