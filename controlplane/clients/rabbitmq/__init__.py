"""RabbitMQ: the only road between processes. Imports no other driver; usable in a hub.

broker       what callers hold: publish, consume, declare, check
routes       where a message goes
topology     every exchange and queue, and what binds them
link         one connection, kept up
consumer     one queue being read, through reconnects and deleted queues
delivery     one message in hand
canary       a message to ourselves
quarantine   what people see of messages that nobody could handle

Names of queues and exchanges are written without the installation's prefix
(`lease.requests`, `node.node1`); the broker object adds it.
"""

from __future__ import annotations

from controlplane.clients.rabbitmq.broker import Broker
from controlplane.clients.rabbitmq.consumer import Consumer
from controlplane.clients.rabbitmq.delivery import Delivery
from controlplane.clients.rabbitmq.quarantine import Quarantined
from controlplane.clients.rabbitmq.routes import Route, command, event, hub, report, request

__all__ = [
    "Broker",
    "Consumer",
    "Delivery",
    "Quarantined",
    "Route",
    "command",
    "event",
    "hub",
    "report",
    "request",
]
