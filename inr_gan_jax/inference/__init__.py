"""Tools on trained generators: functions on arrays, each with a thin command."""
