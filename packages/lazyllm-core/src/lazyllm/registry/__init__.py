"""Names: entry points, groups, registration."""

from .classes import class_names, component_by_class_name
from .group import Group, find_group, group_names
from .register import Register
from .registered import Registered

__all__ = ["Group", "Register", "Registered", "class_names", "component_by_class_name", "find_group", "group_names"]
