"""The HTTP face: routes, bodies and headers. The rules live one folder up."""
