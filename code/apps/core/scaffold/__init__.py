"""A new processor from a template: everything that SPEC §1 asks for, ready to run in mock mode."""

from .place import FolderExistsError, Scaffolded, scaffold
from .plan import Plan, PlanError, Template

__all__ = ["FolderExistsError", "Plan", "PlanError", "Scaffolded", "Template", "scaffold"]
