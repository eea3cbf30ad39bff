"""The report as one HTML file that needs no network: a section for each part of a study.

The text of a section is a jinja2 template in sections/, which says what it may use (see `assemble`).
"""

from modadd_jax.report.page.assemble import page, picture

__all__ = ["page", "picture"]
