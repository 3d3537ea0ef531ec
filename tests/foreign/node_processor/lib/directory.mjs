/**
 * Directories that are held open while a run uses them.
 *
 * Node has no `openat`, but on Linux `/proc/self/fd/<descriptor>/<name>` is the same thing: a name in the directory
 * that is open, wherever that has been moved, and whatever a link in its path says by now. Elsewhere a path has to do.
 */

import { randomUUID } from "node:crypto";
import { constants, existsSync } from "node:fs";
import { lstat, mkdir, open, rename, unlink } from "node:fs/promises";

const { O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants;
const BY_DESCRIPTOR = existsSync("/proc/self/fd");

export class Directory {
    constructor(path, handle) {
        this.path = path;
        this.handle = handle;
    }

    /** Return the directory at `path`, whose links are followed: a root of the settings. */
    static async root(path, { make }) {
        if (make) {
            await mkdir(path, { recursive: true });
        }
        return new Directory(path, await open(path, O_RDONLY | O_DIRECTORY));
    }

    /** Return the directory `name` in this one; a link of that name is an error. */
    async enter(name, { make }) {
        if (make) {
            await mkdir(this.at(name)).catch((error) => {
                if (error.code !== "EEXIST") {
                    throw error;
                }
            });
        }
        return new Directory(`${this.path}/${name}`, await open(this.at(name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    }

    /** Return a path for `name` in this directory. */
    at(name) {
        return BY_DESCRIPTOR ? `/proc/self/fd/${this.handle.fd}/${name}` : `${this.path}/${name}`;
    }

    /** Return a handle on the file `name`, which no other has made before, or throw `EEXIST`. */
    create(name) {
        return open(this.at(name), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o666);
    }

    /** Return the file `name` as `{text, mtimeMs}`, or `null` if there is none; `text` is `null` if it is no file. */
    async read(name, mostBytes) {
        let handle;
        try {
            handle = await open(this.at(name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
        } catch (error) {
            if (error.code === "ENOENT") {
                return null;
            }
            if (error.code === "ELOOP") {
                return { text: null, mtimeMs: 0 };
            }
            throw error;
        }
        try {
            const { size, mtimeMs } = await handle.stat();
            const isText = (await handle.stat()).isFile() && size <= mostBytes;
            return { text: isText ? await handle.readFile("utf8") : null, mtimeMs };
        } finally {
            await handle.close();
        }
    }

    /**
     * Write `data` under a temporary name and rename it to `name`. `mayAppear` is asked right before that; if it says
     * no, nothing appears and the result is false.
     */
    async write(name, data, mayAppear = () => true) {
        const temporary = `.${randomUUID()}.part`;
        const handle = await this.create(temporary);
        try {
            try {
                await handle.writeFile(data);
            } finally {
                await handle.close();
            }
            if (mayAppear()) {
                await rename(this.at(temporary), this.at(name));
                return true;
            }
        } catch (error) {
            await unlink(this.at(temporary)).catch(() => {});
            throw error;
        }
        await unlink(this.at(temporary));
        return false;
    }

    /** Append `text` to the file `name`. */
    async append(name, text) {
        const handle = await open(this.at(name), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK, 0o666);
        try {
            await handle.writeFile(text);
        } finally {
            await handle.close();
        }
    }

    /** Return the size of the regular file at the relative path `name`, or `null`. */
    async size(name) {
        try {
            const stat = await lstat(this.at(name));
            return stat.isFile() ? stat.size : null;
        } catch {
            return null;
        }
    }

    /** Remove the file `name` if it is there. */
    async remove(name) {
        await unlink(this.at(name)).catch((error) => {
            if (error.code !== "ENOENT") {
                throw error;
            }
        });
    }

    async close() {
        await this.handle.close();
    }
}
