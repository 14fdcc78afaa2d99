"""Files that run on SenseCore's nodes, with Python >= 3.8 and its standard library alone; nothing imports them here."""
