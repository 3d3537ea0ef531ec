/** What the environment and the registry say, read and checked once, at start (CONTRACT §7, §8). */

import { readFileSync } from "node:fs";

export const MODES = ["mock", "real"];

const CI_OFF = new Set(["", "0", "false", "no", "off"]);
const DIGEST = /^(?:\S+@)?(sha256:[0-9a-f]{64})$/;

/** A setting is malformed: `name` says which, `rule` what it should have been. */
export class SettingError extends Error {
    constructor(name, rule) {
        super(`${name}: ${rule}`);
        this.name = name;
        this.rule = rule;
    }
}

/** Return the registry beside this service. Node reads no YAML; JSON is YAML. */
export function loadRegistry() {
    const registry = JSON.parse(readFileSync(new URL("../registry.yaml", import.meta.url), "utf8"));
    const { cpu, gpu, memory_gb: memory } = registry.runtime;
    const parts = [`cpu:${cpu}`, ...(gpu === null ? [] : [`gpu:${gpu}`]), `memory:${memory}Gi`];
    return { ...registry, env_fingerprint: parts.sort().join(";") };
}

/** Return the settings in `env`, or throw `SettingError`. An empty variable is an unset one. */
export function loadSettings(env) {
    const digest = env.IMAGE_DIGEST ?? "";
    return {
        host: env.HOST || "127.0.0.1",
        port: count(env, "PORT", 8000, 0, 65535),
        modes: modes(env),
        digestGiven: digest !== "",
        digest: DIGEST.exec(digest)?.[1] ?? "", // alone allowed to be malformed: each request reports it
        pinned: choice(env, "IMAGE_PINNED", ["0", "1"]) === "1",
        ci: !CI_OFF.has((env.CI ?? "").trim().toLowerCase()),
        token: token(env),
        maxBodyBytes: count(env, "PROCESSOR_MAX_BODY_BYTES", 16 * 1024 * 1024, 1),
        queue: count(env, "PROCESSOR_QUEUE", 16, 0),
        graceMs: seconds(env, "PROCESSOR_GRACE_S", 8) * 1000,
        writeRoots: paths(env, "PROCESSOR_WRITE_ROOTS", "/artifacts:/tmp"),
        readRoots: paths(env, "PROCESSOR_READ_ROOTS", "/artifacts/inputs"),
        setUp: setUp(env),
        artifactsDir: onePath(env, "PROCESSOR_ARTIFACTS_DIR", "/artifacts"),
    };
}

/** Return the declared secrets that are set, by name. */
export function loadSecrets(env, registry) {
    const names = [...registry.secrets.required, ...registry.secrets.optional];
    return Object.fromEntries(names.filter((name) => env[name]).map((name) => [name, env[name]]));
}

function choice(env, name, allowed) {
    const text = env[name] || "";
    if (text !== "" && !allowed.includes(text)) {
        throw new SettingError(name, `must be ${allowed.join(" or ")}, or unset`);
    }
    return text;
}

function modes(env) {
    const only = choice(env, "PROCESSOR_MODE", MODES);
    return only === "" ? MODES : [only];
}

/** `FOREIGN_SETUP` is this service's own: how long its set-up takes, and whether it then fails. */
function setUp(env) {
    const match = /^([0-9]{1,6})(,fail)?$/.exec(env.FOREIGN_SETUP || "0");
    if (match === null) {
        throw new SettingError("FOREIGN_SETUP", "must be milliseconds, such as 2000, or 2000,fail");
    }
    return { takesMs: Number(match[1]), fails: match[2] !== undefined };
}

function token(env) {
    const text = env.PROCESSOR_TOKEN || "";
    if (!/^[ -~]*$/.test(text) || text !== text.trim()) {
        throw new SettingError("PROCESSOR_TOKEN", "must be printable ASCII without surrounding spaces");
    }
    return text;
}

function count(env, name, otherwise, least, most = Number.MAX_SAFE_INTEGER) {
    const text = env[name] || String(otherwise);
    if (!/^[0-9]{1,15}$/.test(text) || Number(text) < least || Number(text) > most) {
        throw new SettingError(name, `must be a whole number of at least ${least}`);
    }
    return Number(text);
}

function seconds(env, name, otherwise) {
    const text = env[name] || String(otherwise);
    if (!/^[0-9]{1,6}(\.[0-9]{1,6})?$/.test(text)) {
        throw new SettingError(name, "must be a number of seconds, such as 8 or 2.5");
    }
    return Number(text);
}

function paths(env, name, otherwise) {
    return (env[name] || otherwise).split(":").map((path) => absolute(name, path));
}

function onePath(env, name, otherwise) {
    return absolute(name, env[name] || otherwise);
}

function absolute(name, path) {
    if (!path.startsWith("/") || path.split("/").includes("..")) {
        throw new SettingError(name, "must be absolute, without ..");
    }
    return path.replace(/\/+$/, "") || "/";
}
