"""The service: it watches inboxes and files every new image into the folder of its class."""
