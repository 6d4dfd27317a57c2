"""Log files of the processes on a data folder: written, found, read together; and the command `vantage logs`."""
