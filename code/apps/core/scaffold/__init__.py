"""A new processor from a template: a whole folder, ready to run in mock mode."""

from .place import FolderExistsError, Scaffolded, scaffold
from .plan import Plan, PlanError, Template

__all__ = ["FolderExistsError", "Plan", "PlanError", "Scaffolded", "Template", "scaffold"]
