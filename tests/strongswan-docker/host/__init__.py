"""What the script `gateway` consists of; standard library only."""
