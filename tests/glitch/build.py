"""Makes the image that the faults are tried on: the card's code as the firmware has it (the same compiler, options
and configuration of the engine), without a board, and each function where it can be found (no LTO)."""

import os
import pathlib
import subprocess

from image import ROOT

HERE = pathlib.Path(__file__).parent
FLAGS = ["-Os", "-g", "-mthumb", "-mcpu=cortex-m3", "-ffunction-sections", "-fdata-sections"]
OURS = ["-std=c17", "-fno-lto", "-fstack-protector-strong", "-Wall", "-Wextra", "-Werror", f"-I{ROOT}",
        "-DMBEDTLS_ALLOW_PRIVATE_ACCESS", "-DMBEDTLS_CONFIG_FILE=<cardwire_mbedtls_config.h>",
        '-DCARDWIRE_VERSION="0"', "-DCT_STACK_DEPTH=3968u"]
# Of proto/ what runs in a chip; the reader's half of T=1 is not in it.
PARTS = ("base", "proto", "card")


def build(folder, *more):
    """The ELF, in `folder`. `more`: options, as -DHARD_OFF."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ, CC="arm-none-eabi-gcc", AR="arm-none-eabi-gcc-ar")
    engine = pathlib.Path(subprocess.run(
        [ROOT / "scripts" / "mbedtls", "--cflags", " ".join(FLAGS)], env=environment, check=True,
        capture_output=True, text=True).stdout.strip())
    objects = []
    running = []
    sources = [p for part in PARTS for p in sorted((ROOT / part).glob("*.c"))] + [HERE / "port.c"]
    for source in sources:
        made = folder / f"{source.parent.name}-{source.stem}.o"
        objects.append(made)
        running.append(subprocess.Popen(
            ["arm-none-eabi-gcc", *FLAGS, *OURS, *more, "-isystem", engine / "include", "-isystem",
             engine / "library", "-c", source, "-o", made]))
        if len(running) == 2:
            _wait(running)
    _wait(running)
    elf = folder / "glitch.elf"
    subprocess.run(["arm-none-eabi-gcc", *FLAGS, "-fno-lto", "-nostartfiles", "-specs=nano.specs", "-specs=nosys.specs",
                    "-T", HERE / "image.ld", "-Wl,--gc-sections", "-Wl,--no-warn-rwx-segments", *objects,
                    engine / "libmbed.a", "-o", elf], check=True)
    return elf


def _wait(running):
    for one in running:
        if one.wait() != 0:
            raise RuntimeError(f"not compiled: {one.args[-3]}")
    running.clear()
