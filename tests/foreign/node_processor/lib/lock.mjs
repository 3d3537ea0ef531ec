/**
 * The lock of one prefix between processes: a file `.lock` that is made exclusively and removed at the end.
 *
 * Node has no `flock`, so a killed holder leaves its file behind, and whoever comes next has to find out whether it
 * still lives. On the same machine its process id and start time say so; on another one (or in another container) the
 * file's age, because a holder touches it every few seconds. The file also says what is being run, so that others know
 * at once whether theirs is the same.
 */

import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";

import { isObject } from "./json.mjs";

const NAME = ".lock";
const GUARD = ".lock.takeover";
const TOUCH_MS = 5_000;
const STALE_MS = 30_000;
const UNWRITTEN_MS = 10_000; // between making a file and filling it lie microseconds, unless its maker was killed
const MAX_BYTES = 64 * 1024;

const MACHINE = machine();
const STARTED = startOf(process.pid);

/** Return a lock on `directory` for the run that `key` names, or `null` if another run holds it. */
export async function acquire(directory, key) {
    const lock = await make(directory, key);
    if (lock !== null) {
        return lock;
    }
    const found = await look(directory);
    if (found?.isAlive || !(await removeDead(directory))) {
        return null;
    }
    return make(directory, key);
}

/** Return `{key}` of the living holder of the lock on `directory`, or `null`. The key of a new lock may be unknown. */
export async function holder(directory) {
    const found = await look(directory);
    return found?.isAlive ? { key: found.key } : null;
}

async function make(directory, key) {
    let handle;
    try {
        handle = await directory.create(NAME);
    } catch (error) {
        if (error.code === "EEXIST") {
            return null;
        }
        throw error;
    }
    try {
        await handle.writeFile(JSON.stringify({ machine: MACHINE, pid: process.pid, started: STARTED, key }));
    } catch (error) {
        await handle.close();
        await directory.remove(NAME);
        throw error;
    }
    const touch = setInterval(() => handle.utimes(new Date(), new Date()).catch(() => {}), TOUCH_MS);
    return {
        async release() {
            clearInterval(touch);
            await handle.close();
            await directory.remove(NAME);
        },
    };
}

/** Return `{isAlive, key}` of who made the lock's file, or `null` where there is no such file. */
async function look(directory) {
    const file = await directory.read(NAME, MAX_BYTES);
    if (file === null) {
        return null;
    }
    const ageMs = Date.now() - file.mtimeMs;
    let said = null;
    try {
        said = JSON.parse(file.text);
    } catch {
        // not written yet
    }
    return isObject(said) ? { isAlive: isAlive(said, ageMs), key: said.key } : { isAlive: ageMs < UNWRITTEN_MS };
}

/**
 * Remove a dead holder's file; return whether the lock may be free now. One process at a time, or the second one would
 * remove the first one's new lock.
 */
async function removeDead(directory) {
    let guard;
    try {
        guard = await directory.create(GUARD);
    } catch (error) {
        if (error.code !== "EEXIST") {
            throw error;
        }
        const left = await directory.read(GUARD, MAX_BYTES);
        if (left !== null && Date.now() - left.mtimeMs > UNWRITTEN_MS) {
            await directory.remove(GUARD); // its maker was killed in the moment that it lives
        }
        return false;
    }
    await guard.close();
    try {
        const found = await look(directory);
        if (found !== null && !found.isAlive) {
            await directory.remove(NAME);
        }
    } finally {
        await directory.remove(GUARD);
    }
    return true;
}

function isAlive({ machine: where, pid, started }, ageMs) {
    if (where !== MACHINE) {
        return ageMs < STALE_MS;
    }
    if (STARTED !== null) {
        return startOf(pid) === started; // the start too: an id may be another process's by now
    }
    try {
        process.kill(pid, 0);
        return true;
    } catch (error) {
        return error.code === "EPERM";
    }
}

/** Return what tells process ids of one kind from those of another: which boot, and which process namespace. */
function machine() {
    try {
        const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
        return `${hostname()} ${boot} ${readlinkSync("/proc/self/ns/pid")}`;
    } catch {
        return hostname();
    }
}

/** Return when the process `pid` started, in the kernel's own count, or `null` where that is not to be had. */
function startOf(pid) {
    try {
        const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
        return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]; // field 22; the name before it may hold spaces
    } catch {
        return null;
    }
}
