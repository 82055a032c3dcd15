"""Dashboard, alerts and documents against what the miner really shows, and, where Prometheus is
installed, against Prometheus itself."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from natix_miner.clock import SYSTEM_CLOCK
from natix_miner.neuron.health import Health
from natix_miner.neuron.metrics.server import serve_watching
from tests.neuron.populated import expert, populated, verdict

ROOT = Path(__file__).parents[2]
FILES = ROOT / "scripts" / "observability"
BOARD = json.loads((FILES / "grafana" / "dashboard.json").read_text())
ALERTS = yaml.safe_load((FILES / "alerts.yaml").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
COMPOSE = yaml.safe_load((FILES / "compose.yaml").read_text())
WATCHING = (ROOT / "docs" / "watching.md").read_text()

PROMTOOL, PROMETHEUS = shutil.which("promtool"), shutil.which("prometheus")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
needs_prometheus = pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed")

NAME = re.compile(r"\b(?:natix|process)_[a-z0-9_]+")
#: Shown only with --otlp-endpoint, by natix_miner/neuron/otlp.py.
ONLY_WITH_SPANS = {"natix_span_losses_total"}


def shown_names() -> set[str]:
    """Every name of a series in a real scrape."""
    scrape = generate_latest(populated().registry).decode()
    return {
        sample.name
        for family in text_string_to_metric_families(scrape)
        for sample in family.samples
    }


def expressions() -> list[tuple[str, str]]:
    """(panel, PromQL) of the dashboard, its variables filled in as Grafana does."""
    found = [
        (panel["title"], target["expr"])
        for panel in BOARD["panels"]
        for target in panel.get("targets", [])
    ]
    found += [("annotation", each["expr"]) for each in BOARD["annotations"]["list"]]
    return [
        (title, expr.replace("$instance", ".*").replace("$__rate_interval", "1m"))
        for title, expr in found
    ]


EXPRESSIONS = expressions()
USED = [*EXPRESSIONS, *((rule["alert"], rule["expr"]) for rule in RULES)]


@pytest.mark.parametrize(("where", "expr"), USED, ids=[f"{w}-{n}" for n, (w, _) in enumerate(USED)])
def test_every_metric_that_is_named_is_shown_by_the_miner(where, expr):
    names = set(NAME.findall(expr))
    assert names <= shown_names(), f"{where} names what the miner does not show"
    assert names or expr.startswith("up{")
    assert "$" not in expr, "a variable that the dashboard does not have"


def test_the_dashboard_shows_every_metric_of_the_miner():
    in_panels = {name for _, expr in EXPRESSIONS for name in NAME.findall(expr)}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in in_panels}
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown_names()}
    assert {name for name in shown if name.startswith("natix_")} - families == set()


def test_labels_that_are_selected_or_grouped_by_exist():
    scrape = generate_latest(populated().registry).decode()
    labels = {"instance", "job", "le"}
    for family in text_string_to_metric_families(scrape):
        for sample in family.samples:
            labels |= sample.labels.keys()
    for where, expr in USED:
        used = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)\s*\"", expr))
        for group in re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", expr):
            used |= {label.strip() for label in group.split(",")}
        assert used <= labels, where


def test_panels_do_not_overlap_and_have_ids_and_words_of_their_own():
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"].endswith("."), panel["title"]
            assert panel["datasource"]["uid"] == "prometheus"


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_every_alert_says_what_to_do_and_where_that_is_written(rule):
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    path, _, anchor = rule["annotations"]["runbook"].partition("#")
    heads = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads}
    assert anchor in anchors
    assert f"`{rule['alert']}`" in WATCHING


def test_no_alert_is_explained_that_is_not_there():
    assert set(re.findall(r"`(Natix\w+)`", WATCHING)) == {rule["alert"] for rule in RULES}


def test_the_table_of_metrics_is_that_of_the_registry():
    rows = re.findall(r"^\| `((?:natix|process)_\w+)(?:\{([^}]*)\})?`", WATCHING, re.MULTILINE)
    told = {name: {label for label in labels.split(",") if label} for name, labels in rows}
    assert len(told) == len(rows), "a metric stands there twice"
    shown: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(generate_latest(populated().registry).decode()):
        for sample in family.samples:
            name = re.sub(r"_(bucket|sum|count)$", "", sample.name)
            shown.setdefault(name, set()).update(sample.labels.keys() - {"le"})
    assert told.keys() - shown.keys() == ONLY_WITH_SPANS
    assert {name: told.get(name) for name in shown} == shown


def test_compose_listens_on_loopback_only_and_mounts_what_is_there():
    services = COMPOSE["services"]
    for name, service in services.items():
        assert service["network_mode"] == "host"
        assert "ports" not in service
        assert ":" in service["image"].rpartition("/")[2], f"{name} has no fixed version"
        for mount in service["volumes"]:
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (FILES / source).exists(), source
            else:
                assert source in COMPOSE["volumes"]
    assert "--web.listen-address=127.0.0.1:9090" in services["prometheus"]["command"]
    settings = services["grafana"]["environment"]
    assert settings["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert settings["GF_SECURITY_ADMIN_PASSWORD"].startswith("${GRAFANA_PASSWORD:?")


def test_grafana_finds_prometheus_and_the_dashboard():
    folder = FILES / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text())[
        "datasources"
    ]
    assert (source["uid"], source["url"]) == ("prometheus", "http://127.0.0.1:9090")
    (provider,) = yaml.safe_load((folder / "dashboards" / "natix.yaml").read_text())["providers"]
    mounts = [mount.split(":")[1] for mount in COMPOSE["services"]["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/dashboard.json" in mounts
    assert (
        COMPOSE["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
        in mounts
    )


def promtool(*arguments: str, text: str | None = None) -> None:
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *arguments], input=text, capture_output=True, text=True, timeout=30, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_promtool_takes_rules_configuration_and_metrics():
    promtool("check", "rules", str(FILES / "alerts.yaml"))
    promtool("check", "config", str(FILES / "prometheus.yml"))
    promtool("check", "metrics", text=generate_latest(populated().registry).decode())


@needs_promtool
def test_alerts_fire_when_they_should_and_not_else():
    promtool("test", "rules", "tests/scripts/alerts_test.yaml")


@needs_promtool
def test_every_expression_of_the_dashboard_parses(tmp_path):
    rules = [
        {"record": f"panel:expression_{number}", "expr": expr}
        for number, (_, expr) in enumerate(EXPRESSIONS)
    ]
    file = tmp_path / "expressions.yaml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", str(file))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Scraping:
    """A Prometheus on loopback that scrapes one port five times a second."""

    def __init__(self, folder: Path, target: int) -> None:
        config = yaml.safe_load((FILES / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "200ms", "evaluation_interval": "500ms"}
        config["rule_files"] = [str(FILES / "alerts.yaml")]
        config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{target}"]}]
        (folder / "prometheus.yml").write_text(json.dumps(config))
        self.port = free_port()
        assert PROMETHEUS is not None
        self.process = subprocess.Popen(
            [
                PROMETHEUS,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=(folder / "log").open("w"),
        )

    def query(self, expr: str) -> list[dict[str, Any]]:
        query = urllib.parse.urlencode({"query": expr})
        address = f"http://127.0.0.1:{self.port}/api/v1/query?{query}"
        with urllib.request.urlopen(address, timeout=5) as page:
            answer = json.load(page)
        assert answer["status"] == "success"
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def wait_for(self, expr: str, seconds: float = 30.0) -> None:
        give_up_at = time.monotonic() + seconds
        while time.monotonic() < give_up_at:
            try:
                if self.query(expr):
                    return
            except OSError:
                assert self.process.poll() is None, "prometheus has ended"
            time.sleep(0.1)
        raise AssertionError(f"{expr} is empty after {seconds} s")


@pytest.fixture
def scraping(tmp_path):
    metrics = populated()
    loop = asyncio.new_event_loop()
    port = free_port()
    close = serve_watching(
        "127.0.0.1", port, metrics.registry, Health(loop, SYSTEM_CLOCK), SYSTEM_CLOCK
    )
    prometheus = Scraping(tmp_path, port)
    yield prometheus, metrics
    prometheus.process.kill()
    prometheus.process.wait(10)
    close()
    loop.close()


@needs_prometheus
def test_a_real_prometheus_has_an_answer_to_every_panel(scraping):
    prometheus, metrics = scraping
    prometheus.wait_for('count_over_time(up{job="natix-miner"}[10s]) >= 2')
    metrics.answered(verdict(experts=(expert("network"),)), 7.4)
    prometheus.wait_for("natix_late_total == 1")
    for title, expr in EXPRESSIONS:
        if title != "annotation":  # it was started once
            assert prometheus.query(expr), f"{title}: {expr} is empty"
    (late,) = prometheus.query("sum(increase(natix_late_total[1m])) > bool 0")
    assert late["value"][1] == "1"
    prometheus.wait_for('ALERTS{alertname="NatixLateAnswers",alertstate="firing"}')
