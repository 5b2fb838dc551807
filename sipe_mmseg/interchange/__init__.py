"""Label maps in the formats of annotation tools, and maps of other packages beside ours."""
