"""Stands before the package of this name, and holds no model: notebooks that the tests run take a tiny one."""
