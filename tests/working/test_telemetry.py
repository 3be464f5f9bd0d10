"""Logs without secrets; every metric written down and there from the start."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Literal

import pytest
import structlog
from prometheus_client import REGISTRY, Counter, Gauge, Histogram, Metric, generate_latest
from pydantic import SecretStr

from controlplane import telemetry
from controlplane.model.phases import EndReason

ROOT = Path(__file__).parents[2]
METRICS = ROOT / "docs" / "metrics.md"
SEAL = "gAAAAABn" + "x" * 60


def declared() -> list[Metric]:
    kinds = (Counter, Gauge, Histogram)
    metrics = [value for value in vars(telemetry).values() if isinstance(value, kinds)]
    return [described for metric in metrics for described in metric.describe()]


def test_each_metric_has_a_row_in_the_table_and_each_row_a_metric() -> None:
    rows = dict(re.findall(r"^\| `(greenroom_\w+)` \| (\w+) \|", METRICS.read_text(), re.M))

    assert rows == {metric.name: metric.type for metric in declared()}


def test_metrics_are_declared_in_one_place_only() -> None:
    rooms = [file for room in ("controlplane", "workers") for file in (ROOT / room).rglob("*.py")]
    elsewhere = [
        str(file.relative_to(ROOT))
        for file in rooms
        if file.name != "telemetry.py"
        and re.search(r"prometheus_client import.*(Counter|Gauge|Histogram)", file.read_text())
    ]

    assert elsewhere == []


def test_label_values_known_in_advance_exist_before_anything_happened() -> None:
    text = generate_latest().decode()

    for reason in EndReason:
        assert f'greenroom_leases_ended_total{{reason="{reason.value}"}}' in text
    for outcome in telemetry.OUTCOMES:
        assert f'handled_total{{outcome="{outcome}",queue="lease.requests"}}' in text


def test_queues_of_nodes_and_hubs_share_one_label_each() -> None:
    assert telemetry.lane("node.node17") == "node"
    assert telemetry.lane("hub.h1-2") == "hub"
    assert telemetry.lane("lease.requests") == "lease.requests"


def test_a_reason_that_nobody_declared_makes_no_new_label() -> None:
    before = REGISTRY.get_sample_value("greenroom_messages_quarantined_total", {"reason": "other"})

    telemetry.quarantined("x" * 500)

    after = REGISTRY.get_sample_value("greenroom_messages_quarantined_total", {"reason": "other"})
    assert (before, after) == (before, (before or 0) + 1)


@pytest.mark.usefixtures("logging_put_back")
@pytest.mark.parametrize("format", ["json", "console"])
def test_no_secret_reaches_a_log_line(
    capsys: pytest.CaptureFixture[str], format: Literal["json", "console"]
) -> None:
    telemetry.configure(format, "info")

    try:
        raise ValueError(f"cannot reach amqp://greenroom:hunter2@broker/ with {SEAL}")
    except ValueError:
        structlog.get_logger().exception(
            "lease.failed",
            lease="l1",
            sealed="hunter2",
            token="hunter2",
            key=SecretStr("hunter2"),
            body=b"hunter2",
            nested={"environment": {"A": "hunter2"}, "list": [SecretStr("hunter2"), SEAL]},
            url="postgresql://me:hunter2@db/x",
        )

    written = capsys.readouterr().out
    assert "lease.failed" in written
    assert "Traceback" in written
    assert "hunter2" not in written
    assert SEAL not in written


@pytest.mark.usefixtures("logging_put_back")
def test_json_logs_are_one_object_per_line_drivers_included(
    capsys: pytest.CaptureFixture[str],
) -> None:
    telemetry.configure("json", "info")

    structlog.get_logger().info("process.listening", port=8001)
    logging.getLogger("some.driver").warning("it said %s", "hello")

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["process.listening", "it said hello"]
    assert lines[0]["port"] == 8001
    assert lines[1]["level"] == "warning"


@pytest.mark.usefixtures("logging_put_back")
def test_in_a_hub_lines_go_through_the_hubs_own_logger(caplog: pytest.LogCaptureFixture) -> None:
    hub = logging.getLogger("JupyterHub")
    telemetry.configure_in_hub(hub)

    with caplog.at_level(logging.INFO, logger="JupyterHub"):
        structlog.get_logger().info("broker.connected", link="hub publishes", token="hunter2")

    assert [record.name for record in caplog.records] == ["JupyterHub"]
    assert "event='broker.connected'" in caplog.text
    assert "hunter2" not in caplog.text
