"""Brands: what each adds to a request, read from its folder and checked."""

from imagegen.presets.brand import BrandPreset
from imagegen.presets.catalog import PresetCatalog, check_presets, read_presets

__all__ = ["BrandPreset", "PresetCatalog", "check_presets", "read_presets"]
