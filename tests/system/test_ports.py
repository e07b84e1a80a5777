"""The images for chips that nobody here has (docs/porting.md): that they are laid out as the chip's boot and the
driver of its flash need them. Whether they run is not tested by anything."""

import pathlib
import re
import struct
import subprocess

import pytest

import cardwire_lab as lab

CHIPS = {"rp2350": (0x10000000, 0x20000000), "stm32l5": (0x08000000, 0x20000000)}  # flash, RAM
FLASH, RAM = (128 + 4) * 1024, 32 * 1024  # with chip_drivers


@pytest.fixture(scope="module", autouse=True)
def built():
    subprocess.run([lab.ROOT / "scripts" / "build", "--chip"], check=True)


def elf(chip):
    return lab.ROOT / "build-chip" / f"cardwire-{chip}.elf"


def image(chip, tmp_path):
    out = pathlib.Path(tmp_path) / "image"
    subprocess.run(["arm-none-eabi-objcopy", "-O", "binary", elf(chip), out], check=True)
    return out.read_bytes()


@pytest.mark.parametrize("chip", CHIPS)
def test_image_begins_with_its_vectors_and_fits(chip, tmp_path):
    flash, ram = CHIPS[chip]
    data = image(chip, tmp_path)
    stack, reset, nmi, fault = struct.unpack_from("<4I", data)
    assert ram < stack < ram + RAM and stack % 8 == 0
    assert all(flash < v < flash + len(data) and v & 1 for v in (reset, nmi, fault))
    assert (nmi == fault) == (chip == "rp2350")  # the STM32's flash reports by NMI what ECC cannot mend
    assert len(data) <= FLASH


def test_rp2350_image_has_what_the_boot_rom_looks_for(tmp_path):
    block = struct.pack("<5I", 0xFFFFDED3, 0x10210142, 0x000001FF, 0, 0xAB123579)  # datasheet §5.9.5.1
    at = image("rp2350", tmp_path).find(block)
    assert 0 < at < 4096 - len(block) and at % 4 == 0


def test_rp2350_routines_need_nothing_from_the_flash():
    listing = subprocess.run(["arm-none-eabi-objdump", "-d", "-j", ".routines", elf("rp2350")], check=True,
                             capture_output=True, text=True).stdout
    code = re.findall(r"^(200[0-9a-f]{5}):\s+\S+(?: \S{4})?\s+(\S+)\s*(.*)$", listing, re.M)
    assert len(code) > 40
    for _, operation, operands in code:
        target = re.match(r"(?:\w+, )?([0-9a-f]{8}) <", operands)
        if operation.startswith(("b", "cb")) and target:
            assert target[1].startswith("2008"), (operation, operands)
        assert operation not in ("blx", "bl"), operands
        if operation == ".word":  # addresses that it knows: none in the flash's windows
            assert not 0x10000000 <= int(operands.split()[0], 16) < 0x20000000, operands
