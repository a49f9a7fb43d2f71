"""The command line: one small module a command group. Heavy imports happen inside the commands."""
