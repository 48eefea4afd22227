"""The review page's server: a process of its own, which reads the journal and has a daemon act for it."""
