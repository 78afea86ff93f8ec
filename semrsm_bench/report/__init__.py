"""Records -> what people look at: tables, figures, the paper's own figures beside ours."""
