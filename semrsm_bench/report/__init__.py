"""Rows -> what people look at: tables, figures and the page, with the papers' own figures beside ours."""
