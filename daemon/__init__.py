"""The service: it watches inboxes and files every new image into the folder of its class."""

import models  # noqa: F401 - it sets the environment, and must do so before anything imports NumPy
