"""The report as one HTML file that needs no network.

The text is story.html: sections headed `## id | title | stage`, of blocks between empty lines. A block whose
numbers, figure or table are not there is left out, so that one text fits clean, muddy and imported models,
and runs of which a stage failed. Besides the numbers of `cite` a block may hold {{figure:name|caption}},
{{table:name}} and {{part:name}}, what Python has to say.
"""

from modadd_jax.report.page.assemble import page, picture

__all__ = ["page", "picture"]
