#!/usr/bin/env python3
"""Reads an apk of version 3, or a feed's packages.adb, without anything of the program that wrote it.

read_apk.py FILE PUBLIC_KEY.pem [FOLDER]

Written from apk-tools' documentation and headers. Every check that apk makes before it believes a file is made here: the signature (by
openssl), each file's digest and place, the order that its searches go by. Prints what it found as JSON; puts the files into FOLDER. Ends
with 1 and a reason where something is wrong.
"""
import hashlib, json, os, struct, subprocess, sys, tempfile, zlib

PACKAGE = ["name", "version", "hashes", "description", "arch", "license", "origin", "maintainer", "url", "repo-commit", "build-time",
           "installed-size", "file-size", "provider-priority", "depends", "provides", "replaces", "install-if", "recommends", "layer", "tags"]
SCRIPTS = ["trigger", "pre-install", "post-install", "pre-deinstall", "post-deinstall", "pre-upgrade", "post-upgrade"]


def need(condition, reason):
    if not condition:
        sys.exit("read_apk.py: " + reason)


class Adb:
    def __init__(self, data):
        self.data = data
        compatible, version, reserved, self.root = struct.unpack_from("<BBHI", data)
        need((compatible, version, reserved) == (0, 0, 0), "a header of another version")

    def number(self, tag):
        kind, value = tag >> 28, tag & 0x0FFFFFFF
        if kind == 1:
            return value
        need(kind in (2, 3) and value % 4 == 0, f"tag {tag:#x} is no number")
        return struct.unpack_from("<I" if kind == 2 else "<Q", self.data, value)[0]

    def blob(self, tag):
        kind, value = tag >> 28, tag & 0x0FFFFFFF
        if tag == 0:
            return b""
        need(kind in (8, 9, 10), f"tag {tag:#x} is no blob")
        form, size = {8: ("<B", 1), 9: ("<H", 2), 10: ("<I", 4)}[kind]
        need(value % size == 0, "a blob lies where it must not")
        length = struct.unpack_from(form, self.data, value)[0]
        need(value + size + length <= len(self.data), "a blob ends behind the block")
        return self.data[value + size:value + size + length]

    def text(self, tag):
        return self.blob(tag).decode()

    def slots(self, tag, kind):
        if tag == 0:
            return []
        need(tag >> 28 == kind, f"tag {tag:#x} is not of kind {kind:#x}")
        at = tag & 0x0FFFFFFF
        need(at % 4 == 0, "slots lie where they must not")
        count = struct.unpack_from("<I", self.data, at)[0]
        need(count > 1 and at + 4 * count <= len(self.data), "slots end behind the block")
        return list(struct.unpack_from(f"<{count - 1}I", self.data, at + 4))

    def array(self, tag):
        return self.slots(tag, 0xD)

    def object(self, tag, fields):
        slots = self.slots(tag, 0xE)
        need(len(slots) <= len(fields), f"an object has more fields than {fields}")
        return dict(zip(fields, slots + [0] * len(fields)))


def blocks(data):
    at = 0
    while at < len(data):
        need(at + 4 <= len(data), "the file ends in a block's header")
        head = struct.unpack_from("<I", data, at)[0]
        kind, size = head >> 30, head & 0x3FFFFFFF
        padded = (size + 7) // 8 * 8
        need(kind < 3 and size >= 4 and at + padded <= len(data), "the file ends in a block")
        need(not any(data[at + size:at + padded]), "padding that is not zero")
        yield kind, data[at + 4:at + size]
        at += padded


def verify(schema, block, signature, key):
    version, digest = signature[0], signature[1]
    need((version, digest) == (0, 4), "a signature of another kind")
    spki = subprocess.run(["openssl", "pkey", "-pubin", "-in", key, "-outform", "DER"], check=True, capture_output=True).stdout
    need(signature[2:18] == hashlib.sha512(spki[-65:]).digest()[:16], "signed with another key")
    with tempfile.TemporaryDirectory() as folder:
        message, sig = os.path.join(folder, "m"), os.path.join(folder, "s")
        with open(message, "wb") as f:
            f.write(schema + signature[:18] + hashlib.sha512(block).digest())
        with open(sig, "wb") as f:
            f.write(signature[18:])
        result = subprocess.run(["openssl", "dgst", "-sha512", "-verify", key, "-signature", sig, message], capture_output=True)
    need(result.returncode == 0, "the signature is wrong")


def in_order(names, what):
    need(all(a.encode() < b.encode() for a, b in zip(names, names[1:])), f"{what} are not in order: {names}")
    return names


def info(adb, tag):
    fields = adb.object(tag, PACKAGE)
    depends = [adb.object(dep, ["name", "version", "match"]) for dep in adb.array(fields["depends"])]
    need(not any(dep["version"] or dep["match"] for dep in depends), "a dependency on a version")
    told = {name: adb.text(fields[name]) for name in ["name", "version", "description", "arch", "license", "origin", "maintainer", "url"]}
    told["depends"] = in_order([adb.text(dep["name"]) for dep in depends], "dependencies")
    told["hashes"] = adb.blob(fields["hashes"]).hex()
    told["installed-size"] = adb.number(fields["installed-size"])
    told["file-size"] = adb.number(fields["file-size"]) if fields["file-size"] else None
    need(not any(fields[name] for name in ["repo-commit", "build-time", "provider-priority", "provides", "replaces", "install-if",
                                           "recommends", "layer", "tags"]), "a field that nobody set")
    return told


def owner(adb, tag):
    acl = adb.object(tag, ["mode", "user", "group", "xattrs"])
    need((adb.text(acl["user"]), adb.text(acl["group"]), acl["xattrs"]) == ("root", "root", 0), "a file of somebody else's")
    return adb.number(acl["mode"])


def package(adb, data, folder):
    fields = adb.object(adb.root, ["info", "paths", "scripts", "triggers", "replaces-priority"])
    told = info(adb, fields["info"])
    # The id is of the block with zeros in its place.
    unique = bytes.fromhex(told["hashes"])
    at = adb.data.index(unique)
    zeroed = adb.data[:at] + bytes(len(unique)) + adb.data[at + len(unique):]
    need(len(unique) == 20 and hashlib.sha256(zeroed).digest()[:20] == unique, "the unique id is wrong")

    files, rest, size = {}, list(data), 0
    paths = [adb.object(path, ["name", "acl", "files"]) for path in adb.array(fields["paths"])]
    in_order([adb.text(path["name"]) for path in paths], "folders")
    for path_index, path in enumerate(paths, 1):
        directory = adb.text(path["name"])
        need(owner(adb, path["acl"]) == 0o755, f"{directory} is no folder for all")
        if folder:
            os.makedirs(os.path.join(folder, directory), exist_ok=True)
        entries = [adb.object(entry, ["name", "acl", "size", "mtime", "hash", "target"]) for entry in adb.array(path["files"])]
        in_order([adb.text(entry["name"]) for entry in entries], "files")
        for file_index, entry in enumerate(entries, 1):
            name = os.path.join(directory, adb.text(entry["name"]))
            length, mode, content = adb.number(entry["size"]), owner(adb, entry["acl"]), b""
            need(entry["target"] == 0, f"{name} is a link")
            if length:
                need(bool(rest), f"{name} has no data")
                head, content = rest[0][:8], rest[0][8:]
                rest = rest[1:]
                need(struct.unpack("<II", head) == (path_index, file_index), f"the data of {name} is another file's")
            need(len(content) == length and hashlib.sha256(content).digest() == adb.blob(entry["hash"]), f"{name} is damaged")
            size += length
            files[name] = {"mode": mode, "size": length, "mtime": adb.number(entry["mtime"])}
            if folder:
                target = os.path.join(folder, name)
                with open(target, "wb") as f:
                    f.write(content)
                os.chmod(target, mode)
    need(not rest, "data that is no file's")
    need(told["installed-size"] == size, "the installed size is wrong")
    scripts = adb.object(fields["scripts"], SCRIPTS)
    told["scripts"] = {name: adb.text(tag) for name, tag in scripts.items() if tag}
    told["files"] = files
    return told


def main():
    path, key, folder = sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None
    with open(path, "rb") as f:
        raw = f.read()
    need(raw[:4] == b"ADBd", "not compressed as apk does it")
    inflate = zlib.decompressobj(-15)
    data = inflate.decompress(raw[4:]) + inflate.flush()
    need(inflate.eof and not inflate.unused_data, "the compressed part ends too early, or too late")
    need(data[:4] == b"ADB.", "no ADB")
    schema, parts = data[4:8], list(blocks(data[8:]))
    need([kind for kind, _ in parts[:2]] == [0, 1] and all(kind == 2 for kind, _ in parts[2:]), "blocks in another order")
    block, signature = parts[0][1], parts[1][1]
    verify(schema, block, signature, key)
    adb = Adb(block)
    if schema == b"pckg":
        told = package(adb, [content for _, content in parts[2:]], folder)
        told["identity"] = hashlib.sha256(block).hexdigest()
    else:
        need(schema == b"indx" and len(parts) == 2, "neither a package nor an index")
        index = adb.object(adb.root, ["description", "packages", "pkgname-spec"])
        told = {"packages": [info(adb, tag) for tag in adb.array(index["packages"])]}
    json.dump(told, sys.stdout, indent=1)
    print()


main()
