/**
 * The door: starts the service (lib/service.mjs) with its descriptors 1 and 2 captured.
 *
 * A process cannot catch what is written to its own descriptors behind its back, so the service is a child of this one:
 * its lines arrive on descriptor 3 and go to stderr as they are, and whatever arrives on 1 or 2 (a print, a warning of
 * Node's, a crash) becomes a `process.stray` line. Nothing is ever written to stdout.
 */

import { spawn } from "node:child_process";
import { write } from "node:fs";
import { StringDecoder } from "node:string_decoder";
import { fileURLToPath } from "node:url";

import { Logger, Mask } from "./lib/logs.mjs";
import { loadRegistry, loadSecrets } from "./lib/settings.mjs";

const STDERR = 2;
const MOST_UNWRITTEN_BYTES = 1024 * 1024;
const LONGEST_STRAY = 8 * 1024;
const FULL_PIPE_MS = 5;
const LAST_LINES_MS = 2_000;

/** Writes to stderr from one place, so that no two lines tear each other; a reader that is slow stops the sources. */
class Stderr {
    constructor(sources) {
        this.sources = sources;
        this.chunks = [];
        this.size = 0;
        this.isWriting = false;
        this.whenEmpty = () => {};
    }

    write(chunk) {
        this.chunks.push(chunk);
        this.size += chunk.length;
        if (this.size > MOST_UNWRITTEN_BYTES) {
            this.sources.forEach((source) => source.pause());
        }
        if (!this.isWriting) {
            this.#next();
        }
    }

    /** Return when all is written, or after two seconds in which nobody read it. */
    async flush() {
        const isEmpty = new Promise((resolve) => {
            this.whenEmpty = () => resolve(true);
        });
        const isLate = new Promise((resolve) => {
            setTimeout(() => resolve(false), LAST_LINES_MS);
        });
        return !this.isWriting || Promise.race([isEmpty, isLate]);
    }

    #next() {
        this.isWriting = this.chunks.length > 0;
        if (!this.isWriting) {
            this.sources.forEach((source) => source.resume());
            this.whenEmpty();
            return;
        }
        const [chunk] = this.chunks;
        write(STDERR, chunk, 0, chunk.length, null, (error, written) => {
            if (error?.code === "EAGAIN") {
                setTimeout(() => this.#next(), FULL_PIPE_MS);
                return;
            }
            const done = error ? chunk.length : written; // a closed stderr must not end a run
            this.size -= done;
            if (done === chunk.length) {
                this.chunks.shift();
            } else {
                this.chunks[0] = chunk.subarray(done);
            }
            this.#next();
        });
    }
}

/** Turns what arrives on a captured descriptor into lines of ours, each cut at 8 KiB. */
class Stray {
    constructor(fd, log) {
        this.fd = fd;
        this.log = log;
        this.decoder = new StringDecoder("utf8");
        this.rest = "";
        this.isCut = false;
    }

    take(chunk) {
        const parts = (this.rest + this.decoder.write(chunk)).split("\n");
        this.rest = parts.pop();
        parts.forEach((part) => this.#line(part));
        if (this.rest.length > LONGEST_STRAY) {
            this.#line(this.rest);
            this.rest = "";
            this.isCut = true; // what follows belongs to the line that was told
        }
    }

    end() {
        this.#line(this.rest + this.decoder.end());
    }

    #line(text) {
        const wasCut = this.isCut;
        this.isCut = false;
        if (!wasCut && text.trim() !== "") {
            const message = Buffer.from(text).subarray(0, LONGEST_STRAY).toString().replace(/\uFFFD+$/, "");
            this.log.event("process.stray", { fd: this.fd, message }, "warning");
        }
    }
}

const child = spawn(process.execPath, [fileURLToPath(new URL("./lib/service.mjs", import.meta.url))], {
    stdio: ["ignore", "pipe", "pipe", "pipe", "ipc"], // the channel tells the child when this process is gone
    env: { UV_THREADPOOL_SIZE: "16", ...process.env },
});

const registry = loadRegistry();
const mask = new Mask([...Object.values(loadSecrets(process.env, registry)), process.env.PROCESSOR_TOKEN ?? ""]);
const [, stdout, stderr, lines] = child.stdio;
const out = new Stderr([stdout, stderr, lines]);
const log = new Logger((line) => out.write(Buffer.from(line)), mask, { ref: registry.ref });

lines.on("data", (chunk) => out.write(chunk));
for (const [fd, source] of [[1, stdout], [2, stderr]]) {
    const stray = new Stray(fd, log);
    source.on("data", (chunk) => stray.take(chunk));
    source.on("end", () => stray.end());
}

for (const signal of ["SIGTERM", "SIGINT"]) {
    process.on(signal, () => child.kill(signal));
}

child.on("close", async (code, signal) => {
    if (signal !== null) {
        log.event("process.killed", { signal }, "error");
    }
    const isWritten = await out.flush();
    if (!isWritten) {
        process.kill(process.pid, "SIGKILL"); // an orderly exit would wait for the write that nobody reads
    }
    process.exit(code ?? 1);
});
