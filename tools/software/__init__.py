"""What tools/measure_software.py is made of."""
