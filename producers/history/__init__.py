"""History on request: what is missing (`plan`), and how it is fetched and kept (`fill`)."""
