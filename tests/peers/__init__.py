"""Checked against PyTorch: its own sample inputs, given to the operations here and there. See `test_opinfo.py`."""
