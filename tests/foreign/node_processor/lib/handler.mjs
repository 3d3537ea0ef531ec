/**
 * The work of `foreign/echo@1`, in a thread of its own for each run.
 *
 * It has no file system of the contract's: it says what it has made, and the main thread writes it or, once the run has
 * settled, does not.
 */

import { execFileSync } from "node:child_process";
import { createHmac } from "node:crypto";
import { readSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parentPort } from "node:worker_threads";

const STEPS = 10;
const SLOW_MS = 1_000;
const FLOOD_TOKENS = 4_200;
const TOKEN_CHARACTERS = 1024;
const HEAD_CHARACTERS = 200;
const MAX_FILE_BYTES = 16 * 1024 * 1024;

/** What a handler may blame on others: its inputs (`ERR_INPUTS`) or its provider (`ERR_PROVIDER`). */
class Blame extends Error {
    constructor(code, rest) {
        super(code);
        this.failure = { code, ...rest };
    }
}

function tell(kind, fields) {
    parentPort.postMessage({ kind, ...fields });
}

function write(path, data) {
    tell("output", { path, data: Buffer.from(data) });
}

/** What each does; what it returns goes to `meta.extra`. */
const BEHAVIOURS = {
    async echo({ text, delay_ms: delayMs = 0 }) {
        await sleep(delayMs);
        write("outputs/echo.txt", text);
    },

    async slow({ text, delay_ms: delayMs = SLOW_MS }) {
        for (let step = 0; step < STEPS; step += 1) {
            tell("progress", { fraction: step / STEPS, message: `step ${step + 1} of ${STEPS}` });
            await sleep(delayMs / STEPS);
        }
        write("outputs/echo.txt", text);
    },

    /** Hold the thread in a loop; without `delay_ms`, for ever. Ending the thread ends it. */
    async spin({ text, delay_ms: delayMs = Number.POSITIVE_INFINITY }) {
        const ends = performance.now() + delayMs;
        while (performance.now() < ends);
        write("outputs/echo.txt", text);
    },

    /** Hold the thread in a system call, which nothing ends: the thread outlives its run. */
    async block({ text, delay_ms: delayMs = SLOW_MS }) {
        execFileSync("/bin/sleep", [String(delayMs / 1_000)]);
        write("outputs/echo.txt", text);
    },

    async stream({ text, delay_ms: delayMs = 0 }) {
        const words = text.match(/\s*\S+/g) ?? [];
        for (const [index, word] of words.entries()) {
            tell("progress", { fraction: index / words.length, message: "reading on" });
            tell("token", { text: word });
            tell("log", { event: "word", fields: { index } });
            write(`outputs/words/word-${index + 1}.txt`, word.trim());
            await sleep(delayMs / words.length);
        }
        write("outputs/echo.txt", text);
    },

    /** Tell more than a slow reader can take. */
    async flood({ text }) {
        const token = (text || "-").repeat(TOKEN_CHARACTERS).slice(0, TOKEN_CHARACTERS).toWellFormed();
        for (let number = 0; number < FLOOD_TOKENS; number += 1) {
            tell("token", { text: token });
        }
        write("outputs/echo.txt", token.repeat(FLOOD_TOKENS));
    },

    /** Write where nobody should: to the process's own descriptors, past everything that Node could intercept. */
    async noisy({ text }) {
        writeSync(1, "kit-stray-1\n");
        writeSync(2, "kit-stray-2\n");
        console.log("and a print");
        write("outputs/echo.txt", text);
    },

    /** Tell all secrets that there are. */
    async reveal(_, { secrets }) {
        const found = { ...process.env, ...secrets };
        const told = Object.values(found).join(" ");
        tell("token", { text: told });
        tell("log", { event: "reveal", fields: { found } });
        write("outputs/echo.txt", told);
        return { found };
    },

    async fail({ text }) {
        throw new Error(`cannot echo ${text}`);
    },

    async refuse() {
        throw new Blame("ERR_INPUTS", { details: [{ path: "/inputs/params/text", message: "must not be this one" }] });
    },

    async blame() {
        throw new Blame("ERR_PROVIDER", { retryable: true });
    },

    async escape({ text }) {
        write("outputs/../echo.txt", text);
    },

    async duplicate({ text }) {
        write("outputs/echo.txt", text);
        write("outputs/echo.txt", text);
    },

    async missing() {},

    async undeclared({ text }) {
        write("outputs/echo.txt", text);
        write("outputs/undeclared.txt", text);
    },
};

async function run({ mode, params, file, traceparent, secrets, resource }) {
    const { text, behaviour = "echo" } = params;
    tell("log", { event: "echo.start", fields: { behaviour, traceparent } });
    if (file !== null) {
        write("outputs/file.bin", contentOf(file));
    }
    const more = await BEHAVIOURS[behaviour](params, { secrets });
    const extra = { behaviour, characters: text.length, head: text.slice(0, HEAD_CHARACTERS).toWellFormed(), ...more };
    return mode === "mock" ? extra : { ...extra, signature: createHmac("sha256", resource).update(text).digest("hex") };
}

/** Return the bytes of the very file that was hashed. */
function contentOf({ fd, size }) {
    if (size > MAX_FILE_BYTES) {
        throw unusable(`must have at most ${MAX_FILE_BYTES} bytes`);
    }
    const content = Buffer.alloc(size);
    let read = 0;
    while (read < size) {
        const more = readSync(fd, content, read, size - read, read);
        if (more === 0) {
            throw unusable("must not change");
        }
        read += more;
    }
    return content;
}

function unusable(rule) {
    return new Blame("ERR_INPUTS", { details: [{ path: "/inputs/params/file", message: rule }] });
}

parentPort.once("message", async (job) => {
    try {
        tell("end", { extra: await run(job) });
    } catch (error) {
        tell("failed", { blamed: error instanceof Blame ? error.failure : null, exception: error.stack });
    }
});

tell("ready");
