/** The folder of one run: what is in it, and what is written to it (CONTRACT §4). */

import { createHash } from "node:crypto";

import { Directory } from "./directory.mjs";
import { Failure } from "./errors.mjs";
import * as locks from "./lock.mjs";

const RECEIPT = "receipt.json";
const INDEX = "outputs.json";
const MAX_RECEIPT_BYTES = 64 * 1024 * 1024;
const NOT_THERE = new Set(["ENOENT", "ENOTDIR", "ELOOP"]);
const NOT_A_PLACE = new Set(["ENOTDIR", "ELOOP", "EISDIR", "ENAMETOOLONG", "EINVAL"]);

export class Workspace {
    /** `prefix` is logical and ends in a slash; `place` says where it lies; `declared` is the registry's outputs. */
    constructor(prefix, place, declared) {
        this.prefix = prefix;
        this.place = place;
        this.declared = declared.map((row) => ({ ...row, pattern: patternOf(row.path) }));
        this.rows = [];
        this.taken = new Set();
        this.directories = new Map(); // by their path below the prefix; "" is the prefix itself
        this.lock = null;
    }

    get isOpen() {
        return this.directories.has("");
    }

    /** Open the folder, made if asked for; return whether it is there. */
    async open({ make }) {
        if (this.isOpen) {
            return true;
        }
        let directory;
        try {
            directory = await Directory.root(this.place.root, { make });
            for (const segment of this.place.segments) {
                const parent = directory;
                try {
                    directory = await parent.enter(segment, { make });
                } finally {
                    await parent.close();
                }
            }
        } catch (error) {
            if (!make && NOT_THERE.has(error.code)) {
                return false;
            }
            throw asStorage(error);
        }
        this.directories.set("", directory);
        return true;
    }

    /** Take the lock for the run that `key` names; return whether it was free. */
    async acquire(key) {
        try {
            this.lock = await locks.acquire(this.#top, key);
        } catch (error) {
            throw asStorage(error);
        }
        return this.lock !== null;
    }

    /** Return `{key}` of the process that runs something here, or `null`. */
    async holder() {
        try {
            return await locks.holder(this.#top);
        } catch (error) {
            throw asStorage(error);
        }
    }

    /** Give up the lock and every descriptor. It never fails: what it is called after has been said already. */
    async close() {
        await this.lock?.release().catch(() => {});
        this.lock = null;
        for (const directory of this.directories.values()) {
            await directory.close().catch(() => {});
        }
        this.directories.clear();
    }

    // --- what an earlier run left

    /** Return the receipt, or `null` where there is none; one that nobody can read is `{}`, the same as no request. */
    async receipt() {
        let file;
        try {
            file = await this.#top.read(RECEIPT, MAX_RECEIPT_BYTES);
        } catch (error) {
            throw asStorage(error);
        }
        if (file === null) {
            return null;
        }
        try {
            return JSON.parse(file.text) ?? {};
        } catch {
            return {};
        }
    }

    /** Whether each output of `rows` is there with its size. */
    async holds(rows) {
        for (const { path, size_bytes: size } of rows) {
            const isHere = String(path).startsWith(this.prefix);
            if (!isHere || (await this.#top.size(path.slice(this.prefix.length))) !== size) {
                return false;
            }
        }
        return true;
    }

    /** Remove the receipt and index of a failed attempt. */
    async forget() {
        try {
            await this.#top.remove(RECEIPT);
            await this.#top.remove(INDEX);
        } catch (error) {
            throw asStorage(error);
        }
    }

    // --- what this run writes

    /**
     * Write one output and return its row, or `null` where `mayAppear` said no in the last moment.
     * Throw the failure that a path outside `outputs/`, a second time, an undeclared name or a full disk is.
     */
    async writeOutput(path, data, mayAppear) {
        const declared = this.#declaredAs(path);
        this.taken.add(path);
        const slash = path.lastIndexOf("/");
        try {
            const directory = await this.#directory(path.slice(0, slash));
            if (!(await directory.write(path.slice(slash + 1), data, mayAppear))) {
                return null;
            }
        } catch (error) {
            throw NOT_A_PLACE.has(error.code) ? outputPath(path, "must not lead through a link") : asStorage(error);
        }
        const sha256 = createHash("sha256").update(data).digest("hex");
        const row = { path: this.prefix + path, mime: declared.mime, size_bytes: data.length, sha256 };
        this.rows.push(row);
        return row;
    }

    /** Return the outputs that have to be there and are not. */
    missing() {
        return this.declared.filter(
            ({ path, optional }) => !optional && !path.includes("*") && !this.taken.has(path),
        );
    }

    sortRows() {
        this.rows.sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
    }

    async writeIndex(index) {
        await this.#writeJson(INDEX, index);
    }

    async writeReceipt(receipt) {
        await this.#writeJson(RECEIPT, receipt);
    }

    /** Append lines to `logs/trace.ndjson`; best-effort, so it never fails. */
    async mirror(lines) {
        try {
            await (await this.#directory("logs")).append("trace.ndjson", lines);
        } catch {
            // the lines are on stderr too
        }
    }

    get #top() {
        return this.directories.get("");
    }

    async #writeJson(name, document) {
        try {
            await this.#top.write(name, JSON.stringify(document));
        } catch (error) {
            throw asStorage(error);
        }
    }

    #declaredAs(path) {
        const segments = path.split("/");
        const isInside = segments[0] === "outputs" && segments.length > 1 && !/[\0\\]/.test(path);
        if (!isInside || segments.some((part) => part === "" || part === "." || part === "..")) {
            throw outputPath("outputs/", "must lie under outputs/");
        }
        if (this.taken.has(path)) {
            throw new Failure("ERR_OUTPUT_DUPLICATE", { details: [{ path, message: "written before" }] });
        }
        const declared = this.declared.find(({ pattern }) => pattern.test(path));
        if (declared === undefined) {
            throw new Failure("ERR_OUTPUT_UNDECLARED", { details: [{ path, message: "not in the registry" }] });
        }
        return declared;
    }

    async #directory(path) {
        const known = this.directories.get(path);
        if (known !== undefined) {
            return known;
        }
        const slash = path.lastIndexOf("/");
        const parent = await this.#directory(path.slice(0, Math.max(slash, 0)));
        const directory = await parent.enter(path.slice(slash + 1), { make: true });
        this.directories.set(path, directory);
        return directory;
    }
}

/** Return the failure that an error of the file system is; `errno` is for the log. */
function asStorage(error) {
    return Object.assign(new Failure("ERR_STORAGE"), { errno: error.code });
}

function outputPath(path, rule) {
    return new Failure("ERR_OUTPUT_PATH", { details: [{ path, message: rule }] });
}

/** Return the test of a declared path: `*` stands for any number of characters of one segment. */
function patternOf(path) {
    const literals = path.split("*").map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, "\\$&"));
    return new RegExp(`^${literals.join("[^/]*")}$`, "s");
}
