"""embed - writes a C file with the bytes of other files: embed.py OUT FILE..."""

import pathlib
import sys

TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

out, *files = map(pathlib.Path, sys.argv[1:])
arrays, rows = [], []
for i, file in enumerate(files):
    arrays.append(f"static const uint8_t file_{i}[] = {{{','.join(map(str, file.read_bytes()))}}};")
    rows.append(f'    {{"/{file.name}", "{TYPES[file.suffix]}", file_{i}, sizeof file_{i}}},')
out.write_text("\n".join(['#include "bank/dashboard_static.h"', *arrays,
                          "const struct dashboard_file dashboard_files[] = {", *rows,
                          "    {NULL, NULL, NULL, 0},", "};", ""]), encoding="ascii")
