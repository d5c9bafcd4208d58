"""Fixtures for the operator tools."""

from integration.ops.deployed import deployed
from integration.ops.operator_tools import account, face, moto, ops, script

__all__ = ["account", "deployed", "face", "moto", "ops", "script"]
