"""The file formats of an export, each compared with the network before it is published."""
