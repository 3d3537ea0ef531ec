/**
 * Threads that judge requests, so that the main one only serves: neither a body of 16 MiB nor a slow disk makes
 * `/healthz` late. This file is both the pool and, in such a thread, what it runs.
 */

import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

import { Failure } from "./errors.mjs";
import { check, Refusal } from "./request.mjs";

const READY = 0; // the number of no request
const THREADS = 2; // one may be busy with a large body or file

/** Judges the bodies of requests. `service` is cloned into each thread. */
export class Judge {
    constructor(service) {
        this.service = service;
        this.threads = [];
        while (this.threads.length < THREADS) {
            this.#start();
        }
    }

    /** Return when its threads are there: a first request should not have to wait for them. */
    async ready() {
        await Promise.all(this.threads.map((thread) => thread.ready));
    }

    /** Return the request in the body `bytes`, or throw `Refusal`. */
    check(bytes) {
        const thread = this.threads.reduce((best, next) => (next.pending.size < best.pending.size ? next : best));
        return new Promise((resolve, reject) => {
            const number = ++thread.number;
            thread.pending.set(number, { resolve, reject });
            thread.worker.postMessage({ number, bytes });
        });
    }

    #start() {
        const worker = new Worker(new URL(import.meta.url), {
            workerData: this.service,
            env: {},
            trackUnmanagedFds: false, // descriptors of referenced files outlive a judge
        });
        const ready = new Promise((resolve) => worker.once("message", resolve));
        const thread = { worker, ready, pending: new Map(), number: 0 };
        this.threads.push(thread);
        worker.on("message", ({ number, request, refusal, fault }) => {
            if (number === READY) {
                return;
            }
            const { resolve, reject } = thread.pending.get(number);
            thread.pending.delete(number);
            if (request !== undefined) {
                resolve(request);
            } else {
                reject(refusal ? new Refusal(Failure.from(refusal.failure), refusal.executionId) : new Error(fault));
            }
        });
        const lost = (why) => {
            if (!this.threads.includes(thread)) {
                return; // an error is followed by an exit
            }
            this.threads = this.threads.filter((other) => other !== thread);
            thread.pending.forEach(({ reject }) => reject(new Error(`a judge ended: ${why}`)));
            thread.pending.clear();
            this.#start();
        };
        worker.on("error", (error) => lost(error.message));
        worker.on("exit", (code) => lost(`exit ${code}`));
    }
}

if (!isMainThread) {
    parentPort.on("message", ({ number, bytes }) => {
        try {
            parentPort.postMessage({ number, request: check(bytes, workerData) });
        } catch (error) {
            if (error instanceof Refusal) {
                const refusal = { failure: error.failure.plain(), executionId: error.executionId };
                parentPort.postMessage({ number, refusal });
            } else {
                parentPort.postMessage({ number, fault: error.stack });
            }
        }
    });
    parentPort.postMessage({ number: READY });
}
