"""The only code that imports a driver: rabbitmq, redis, postgres, docker, hub."""

from __future__ import annotations
