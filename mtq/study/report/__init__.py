"""The report of a study as HTML, Markdown, pictures and numbers."""
