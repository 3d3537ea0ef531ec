/**
 * The rules of a request, in the contract's order; the first one broken answers (CONTRACT §2, from `body` on).
 *
 * They read the file system and may take long over a large body, so a thread of their own works on them (judge.mjs).
 */

import { createHash } from "node:crypto";
import { closeSync, constants, fstatSync, openSync, readlinkSync, readSync } from "node:fs";

import { Failure, inputsFailure } from "./errors.mjs";
import { validate } from "./inputs.mjs";
import { canonical, escapePointer, isObject, JsonError, parse } from "./json.mjs";
import { expand, host, isBelow, locate, resolve } from "./paths.mjs";

const FIELDS = new Set(["schema", "execution_id", "write_prefix", "mode", "ref", "inputs", "timeout_s", "context"]);
const EXECUTION_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const SHA256 = /^[0-9a-f]{64}$/;
const MAX_CONTEXT_BYTES = 4096;
const CHUNK_BYTES = 1024 * 1024;

/** A request that is no run, with its execution id where that was found valid. */
export class Refusal extends Error {
    constructor(failure, executionId) {
        super(failure.message);
        this.failure = failure;
        this.executionId = executionId;
    }
}

/**
 * Return the request in the body `bytes`, or throw `Refusal`.
 *
 * `service` is what this process was started with: `settings`, `registry`, and the names of the secrets that are set.
 * `file` of the result holds an open descriptor; who gets the request closes it.
 */
export function check(bytes, service) {
    let body;
    try {
        body = parse(bytes);
    } catch (error) {
        if (error instanceof JsonError) {
            throw new Refusal(inputsFailure("Invalid JSON body", "", error.message), "");
        }
        throw error;
    }
    if (!isObject(body)) {
        throw new Refusal(inputsFailure("Invalid JSON body", "", "must be an object"), "");
    }
    let executionId = "";
    try {
        executionId = checkExecutionId(body);
        return checkFields(body, executionId, service);
    } catch (error) {
        throw error instanceof Failure ? new Refusal(error, executionId) : error;
    }
}

function checkFields(body, executionId, { settings, registry, secretNames }) {
    const prefix = checkWritePrefix(body, executionId);
    const place = locate(prefix, settings);
    if (body.schema !== "v1") {
        throw inputsFailure("unsupported schema", "/schema", 'must be "v1"');
    }
    const mode = checkMode(body, settings);
    if (body.ref !== undefined && body.ref !== registry.ref) {
        throw new Failure("ERR_REF_MISMATCH", { details: [{ path: "/ref", message: `must be ${registry.ref}` }] });
    }
    const timeoutS = checkTimeout(body, registry.runtime.timeout_s);
    const context = checkContext(body);
    checkKeys(body);
    const details = validate(body.inputs);
    if (details.length > 0) {
        throw new Failure("ERR_INPUTS", { message: "inputs do not match the schema", details });
    }
    const params = body.inputs.params;
    const file = params.file === undefined ? null : openReference(params.file, settings); // the one place for a file
    try {
        checkIdentity(settings);
        checkSecrets(mode, registry, secretNames);
    } catch (error) {
        if (file !== null) {
            closeSync(file.fd);
        }
        throw error;
    }
    const inputsSha256 = createHash("sha256").update(canonical(body.inputs)).digest("hex");
    return { executionId, prefix, place, mode, params, file, inputsSha256, timeoutMs: timeoutS * 1000, context };
}

function checkExecutionId({ execution_id: text }) {
    if (text === undefined || text === "") {
        throw inputsFailure("missing execution_id", "/execution_id", "required");
    }
    if (typeof text !== "string" || !EXECUTION_ID.test(text)) {
        throw inputsFailure("invalid execution_id", "/execution_id", `must match ${EXECUTION_ID.source}`);
    }
    return text;
}

function checkWritePrefix({ write_prefix: text }, executionId) {
    if (text === undefined || text === "") {
        throw inputsFailure("missing write_prefix", "/write_prefix", "required");
    }
    if (typeof text !== "string") {
        throw new Failure("ERR_WRITE_PREFIX", { details: [{ path: "/write_prefix", message: "must be a string" }] });
    }
    return expand(text, executionId);
}

function checkMode({ mode }, settings) {
    if (!settings.modes.includes(mode)) {
        const details = [{ path: "/mode", message: `must be ${settings.modes.join(" or ")}` }];
        throw new Failure("ERR_MODE_INVALID", { details });
    }
    if (mode === "real" && settings.ci) {
        throw new Failure("ERR_CI_SAFETY", { details: [{ path: "/mode", message: "CI is set" }] });
    }
    return mode;
}

function checkTimeout({ timeout_s: timeoutS }, limit) {
    if (timeoutS === undefined) {
        return limit;
    }
    if (typeof timeoutS !== "number" || timeoutS <= 0) {
        throw inputsFailure("invalid timeout_s", "/timeout_s", "must be a number above 0");
    }
    return Math.min(timeoutS, limit);
}

function checkContext({ context = Object.create(null) }) {
    if (!isObject(context) || Buffer.byteLength(canonical(context)) > MAX_CONTEXT_BYTES) {
        throw inputsFailure("invalid context", "/context", `must be an object of at most ${MAX_CONTEXT_BYTES} bytes`);
    }
    return context;
}

function checkKeys(body) {
    const unknown = Object.keys(body).filter((key) => !FIELDS.has(key));
    if (unknown.length > 0) {
        const details = unknown.sort().map((key) => ({ path: `/${escapePointer(key)}`, message: "unknown" }));
        throw new Failure("ERR_INPUTS", { message: "unknown field", details });
    }
}

function checkIdentity(settings) {
    if (!settings.digestGiven) {
        throw new Failure("ERR_IMAGE_DIGEST_MISSING", { details: [{ path: "IMAGE_DIGEST", message: "not set" }] });
    }
    if (settings.digest === "") {
        throw new Failure("ERR_IMAGE_DIGEST_MISSING", {
            message: "IMAGE_DIGEST is not a digest",
            details: [{ path: "IMAGE_DIGEST", message: "must be sha256: and 64 lower-case hexadecimal digits" }],
        });
    }
}

function checkSecrets(mode, registry, secretNames) {
    const missing = registry.secrets.required.filter((name) => !secretNames.includes(name));
    if (mode === "real" && missing.length > 0) {
        throw new Failure("ERR_MISSING_SECRET", {
            details: missing.map((name) => ({ path: name, message: "not set" })),
        });
    }
}

/** Return the file that `reference` names, hashed and open, so that nobody can swap it before the handler reads. */
function openReference({ $artifact: path, sha256 }, settings) {
    const segments = path.slice(1).split("/");
    if (!path.startsWith("/") || segments.some((part) => part === "" || part === "." || part === "..")) {
        throw notUsable("must be an absolute path without empty, . or .. segments");
    }
    if (path.includes("\0") || !SHA256.test(sha256)) {
        throw notUsable("must have a path without NUL and a sha256 of 64 lower-case hexadecimal digits");
    }
    if (!settings.readRoots.some((root) => isBelow(path, root))) {
        throw notUsable(`must lie below ${settings.readRoots.join(" or ")}`);
    }
    let fd;
    try {
        fd = openBelowRoots(resolve(host(path, settings)), settings);
        const { hash, size } = hashOf(fd);
        if (hash !== sha256) {
            throw notUsable("must have that sha256");
        }
        return { fd, size };
    } catch (error) {
        if (fd !== undefined) {
            closeSync(fd);
        }
        throw error instanceof Failure && error.code === "ERR_INPUTS" ? error : notUsable("must exist and be readable");
    }
}

function openBelowRoots(resolved, settings) {
    const roots = settings.readRoots.map((root) => resolve(host(root, settings)));
    const allowed = (path) => roots.some((root) => isBelow(path, root));
    if (!allowed(resolved)) {
        throw notUsable("must not leave its root through a link");
    }
    // not blocking: opening a FIFO would wait for its writer for ever
    const fd = openSync(resolved, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    if (!fstatSync(fd).isFile() || !allowed(placeOf(fd) ?? resolved)) {
        closeSync(fd);
        throw notUsable("must be a regular file");
    }
    return fd;
}

/** Return where the open file `fd` lies by now, if the system says it: a directory above may have been swapped. */
function placeOf(fd) {
    try {
        return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
        return null;
    }
}

function hashOf(fd) {
    const hash = createHash("sha256");
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    let size = 0;
    for (;;) {
        const read = readSync(fd, chunk, 0, CHUNK_BYTES, size);
        if (read === 0) {
            return { hash: hash.digest("hex"), size };
        }
        hash.update(chunk.subarray(0, read));
        size += read;
    }
}

function notUsable(rule) {
    return inputsFailure("artifact not usable", "/inputs/params/file", rule);
}
