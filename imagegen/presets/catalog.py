"""All brands: read from their folders, checked, found by name, swapped as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from imagegen.adapter_files.check import check_adapter, check_file
from imagegen.adapter_files.targets import read_modules
from imagegen.callers import Caller
from imagegen.errors import InvalidModel, InvalidPreset, UnknownBrand
from imagegen.model_sizes import side_limits
from imagegen.presets.brand import BrandPreset
from imagegen.presets.files import AdapterCheck, BrandFolder, list_brands, read_brand


class PresetCatalog:
    """All brands, in the order of their names. Read by any thread, swapped as a whole by one."""

    def __init__(self, presets: Iterable[BrandPreset]) -> None:
        self.refused: Mapping[str, str] = {}  # brand -> why its newest version is not here
        self.swap(presets, {})

    @classmethod
    def load(cls, folder: Path, model_folder: Path | None = None) -> PresetCatalog:
        """Reads every brand below `folder`. Raises InvalidPreset with all faults, one a line.

        model_folder: the model whose layers the LoRAs must fit, and which must draw the brands'
        sizes, where it lies on this machine.
        """
        presets, faults = read_presets(folder, model_folder)
        if faults:
            raise InvalidPreset("\n".join(_flat(faults)))
        return cls(presets)

    def swap(self, presets: Iterable[BrandPreset], refused: Mapping[str, str]) -> None:
        """From now on these. Whoever reads sees all of the old ones or all of the new."""
        ordered = sorted(presets, key=lambda preset: (preset.name.casefold(), preset.id))
        self._presets = {preset.id: preset for preset in ordered}
        self.refused = dict(refused)

    def seen_by(self, caller: Caller) -> PresetCatalog:
        """The brands that exist for `caller`, as they are now."""
        if caller.brands is None:
            return self
        seen = PresetCatalog(preset for preset in self if caller.may_use(preset.id))
        seen.refused = {brand: why for brand, why in self.refused.items() if caller.may_use(brand)}
        return seen

    def get(self, brand: str) -> BrandPreset:
        """Raises UnknownBrand."""
        presets = self._presets
        try:
            return presets[brand]
        except KeyError:
            known = ", ".join(sorted(presets)) or "none"
            raise UnknownBrand(f"no brand {brand!r}; there are {known}") from None

    def __contains__(self, brand: str) -> bool:
        return brand in self._presets

    def __iter__(self) -> Iterator[BrandPreset]:
        return iter(self._presets.values())

    def __len__(self) -> int:
        return len(self._presets)


def check_presets(folder: Path, model_folder: Path) -> list[str]:
    """Every fault of every brand, adapters and sizes against the model too.

    Each as `file:line: key: message`.
    """
    return _flat(read_presets(folder, model_folder)[1])


def read_presets(
    folder: Path, model_folder: Path | None
) -> tuple[list[BrandPreset], dict[str, list[str]]]:
    """The brands that are in order, and the faults of the others by their name.

    What is wrong with the folder, or with the model, stands under the empty name.
    """
    check: AdapterCheck = check_file
    sides = None if model_folder is None else side_limits(model_folder)
    faults: dict[str, list[str]] = {}
    if model_folder is not None:
        try:
            read_modules(model_folder)
            check = partial(check_adapter, model_folder=model_folder)
        except InvalidModel as error:
            faults[""] = [str(error)]
    folders, of_folder = list_brands(folder)
    if of_folder:
        faults[""] = [*faults.get("", []), *of_folder]
    presets = []
    for brand in folders:
        read = read_brand(brand, check, sides)
        if isinstance(read, list):
            faults[brand.name] = read
        else:
            presets.append(_preset(read))
    return presets, faults


def _flat(faults: Mapping[str, list[str]]) -> list[str]:
    return [fault for some in faults.values() for fault in some]


def _preset(read: BrandFolder) -> BrandPreset:
    content = read.content
    return BrandPreset(
        id=read.brand,
        name=content.name,
        description=content.description,
        version=read.version,
        adapters=read.adapters,
        template=content.prompt.template,
        negative_prompt=content.prompt.negative,
        banned_terms=tuple(content.banned_terms),
        defaults=content.defaults,
        formats=MappingProxyType({n: (s.width, s.height) for n, s in content.formats.items()}),
        palette=tuple(content.palette),
        examples=tuple(content.examples),
        cover=read.cover,
        kit=read.kit,
    )
