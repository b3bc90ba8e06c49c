"""Campaigns from prompt scripts: rows become pictures, can be stopped and go on."""
