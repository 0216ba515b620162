#!/usr/bin/env python3
"""Turns files into a C table of byte arrays: embed.py OUT.c FILE... (gcc 12 has no #embed)."""
import hashlib
import sys

TYPES = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8",
         "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}


def main() -> None:
    out, *files = sys.argv[1:]
    with open(out, "w", encoding="ascii") as f:
        f.write('#include "api/assets.h"\n\n')
        rows = []
        for number, path in enumerate(files):
            with open(path, "rb") as source:
                data = source.read()
            name = path.rsplit("/", 1)[-1]
            f.write(f"static const unsigned char file_{number}[] = {{\n")
            for at in range(0, len(data), 24):
                f.write("".join(f"{byte}," for byte in data[at:at + 24]) + "\n")
            f.write("};\n")
            etag = hashlib.sha256(data).hexdigest()[:16]
            kind = TYPES[name.rsplit(".", 1)[-1]]
            rows.append(f'    {{"{name}", "{kind}", "\\"{etag}\\"", file_{number}, sizeof file_{number}}},\n')
        f.write("const struct asset assets[] = {\n" + "".join(rows) + "};\n")
        f.write(f"const size_t asset_count = {len(files)};\n")


if __name__ == "__main__":
    main()
