"""The process: settings, composition root, kopf handlers, command line."""
