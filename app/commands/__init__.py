"""The subcommands of `vlmir`, one file per group; heavy imports happen inside the commands."""
