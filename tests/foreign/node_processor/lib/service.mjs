/** The service itself; `server.mjs` starts it with its streams captured. Descriptor 3 is where its lines go. */

import { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

import { Executor } from "./executor.mjs";
import { HttpServer } from "./http.mjs";
import { Judge } from "./judge.mjs";
import { Logger, Mask } from "./logs.mjs";
import { Recorder } from "./recorder.mjs";
import { loadRegistry, loadSecrets, loadSettings, MODES, SettingError } from "./settings.mjs";
import { SetUp } from "./setup.mjs";

const LINES = 3;
const MOST_UNWRITTEN_BYTES = 16 * 1024 * 1024; // more than that nobody reads; a run must not wait for a reader of logs
const BIND_TRIES = 100;
const BIND_AGAIN_MS = 50;
const ANSWERS_LEAVE_MS = 1_000;

class Service {
    constructor(env, write) {
        const registry = loadRegistry();
        const secrets = loadSecrets(env, registry);
        const mask = new Mask([...Object.values(secrets), env.PROCESSOR_TOKEN ?? ""]);
        const log = new Logger(write, mask, { ref: registry.ref });
        Object.assign(this, { registry, secrets, mask, log });
        this.settings = loadOrStop(env, log);
        this.recorder = new Recorder(this);
        this.setUp = new SetUp(this.settings.setUp, secrets.FOREIGN_SECRET, registry.ref, log);
        this.executor = new Executor(this);
        const { settings } = this;
        this.judge = new Judge({ registry, settings, secretNames: Object.keys(secrets) });
    }

    /** Begin set-up, unless only mock is served or a required secret is unset. */
    start() {
        const isComplete = this.registry.secrets.required.every((name) => name in this.secrets);
        if (this.settings.modes.includes("real") && isComplete) {
            this.setUp.begin();
        }
    }

    health() {
        if (this.executor.draining) {
            return "draining";
        }
        if (this.setUp.state === "failed" || this.executor.stuck) {
            return "failed";
        }
        return this.setUp.state === "starting" ? "starting" : "ok";
    }

    /** Return what this processor promises. */
    contract() {
        const { registry, settings, secrets } = this;
        const { concurrency, timeout_s } = registry.runtime;
        const list = (names) => names.map((name) => ({ name, set: name in secrets }));
        return {
            contract: "v1",
            ref: registry.ref,
            capabilities: ["cancel", "contract", "stream"],
            modes: settings.modes,
            inputs: registry.inputs,
            outputs: registry.outputs,
            runtime: registry.runtime,
            limits: { max_body_bytes: settings.maxBodyBytes, concurrency, queue: settings.queue, timeout_s },
            secrets: { required: list(registry.secrets.required), optional: list(registry.secrets.optional) },
        };
    }
}

function loadOrStop(env, log) {
    try {
        return loadSettings(env);
    } catch (error) {
        if (error instanceof SettingError) {
            stop(log, error.name, error.rule);
        }
        throw error;
    }
}

/** Say why this service does not start, and end. */
function stop(log, name, reason) {
    log.event("http.boot.error", { name, reason }, "error");
    lines.end(() => process.exit(1));
    throw new Stopped();
}

class Stopped extends Error {}

/** Listen. A predecessor that was killed may hold the port for some more milliseconds. */
async function listen(http, { host, port }, log) {
    for (let tries = 1; ; tries += 1) {
        try {
            return await http.listen(host, port);
        } catch (error) {
            if (error.code !== "EADDRINUSE" || tries === BIND_TRIES) {
                stop(log, "PORT", `cannot listen: ${error.code}`);
            }
            await sleep(BIND_AGAIN_MS);
        }
    }
}

async function main() {
    const service = new Service(process.env, (line) => {
        if (lines.writableLength < MOST_UNWRITTEN_BYTES) {
            lines.write(line);
        }
    });
    const { log, registry, settings, executor } = service;
    for (const name of [...registry.secrets.required, ...registry.secrets.optional, "PROCESSOR_TOKEN"]) {
        delete process.env[name]; // who needs one is given it
    }
    process.on("uncaughtException", (error) => {
        log.event("process.error", { exception: error.stack }, "error");
        lines.end(() => process.exit(1));
    });

    const http = new HttpServer(service);
    let isEnding = false;
    const end = async () => {
        if (isEnding) {
            return; // a terminal signals its whole group: us, and the parent that passes it on
        }
        isEnding = true;
        await executor.drain();
        await http.close(ANSWERS_LEAVE_MS);
        log.event("service.stopped");
        lines.end(() => process.exit(0));
    };
    process.on("SIGTERM", end);
    process.on("SIGINT", end);
    // without the parent nobody reads our lines: it was killed, so this is a kill too
    process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));

    await Promise.all([service.judge.ready(), executor.threads.ready()]);
    const port = await listen(http, settings, log);
    service.start();
    log.event("service.ready", { host: settings.host, port });
}

const lines = new Socket({ fd: LINES });
lines.on("error", () => {});
main().catch((error) => {
    if (!(error instanceof Stopped)) {
        throw error;
    }
});
