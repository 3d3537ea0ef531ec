/** Threads for handlers, each for one run. Some are started in advance: that takes longer than most runs. */

import { Worker } from "node:worker_threads";

const HANDLER = new URL("./handler.mjs", import.meta.url);
const MEGABYTES = 256;

export class HandlerThreads {
    /** `spare` threads are kept ready. */
    constructor(spare) {
        this.count = spare;
        this.spare = [];
    }

    fill() {
        while (this.spare.length < this.count) {
            this.spare.push(this.#start());
        }
    }

    /** Start the spare threads and return when they are there. */
    async ready() {
        this.fill();
        await Promise.all(this.spare.map((thread) => thread.ready));
    }

    /** Return `{worker, ready}` of a thread that nobody had before; `ready` resolves when it takes a job. */
    take() {
        const thread = this.spare.shift() ?? this.#start();
        setImmediate(() => this.fill());
        return thread;
    }

    #start() {
        const worker = new Worker(HANDLER, {
            env: {}, // a mock run must not find a secret
            trackUnmanagedFds: false, // the file of a request is the main thread's
            resourceLimits: { maxOldGenerationSizeMb: MEGABYTES },
        });
        const thread = { worker, ready: new Promise((resolve) => worker.once("message", resolve)) };
        worker.on("error", () => {}); // who takes it listens too
        worker.once("exit", () => {
            this.spare = this.spare.filter((other) => other !== thread);
        });
        return thread;
    }
}
