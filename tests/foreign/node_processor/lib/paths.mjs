/** Which paths may be written and read, and where they lie on this machine (CONTRACT §2, §4). */

import { lstatSync, readlinkSync } from "node:fs";

import { Failure } from "./errors.mjs";

const ARTIFACTS = "/artifacts";
const INPUTS = "/artifacts/inputs";
const MAX_BYTES = 1024;
const MAX_SEGMENT_BYTES = 255;
const MAX_LINKS = 40; // as Linux does

// C0, DEL, C1, backslash, and braces that are left after expansion
const FORBIDDEN = /[\u0000-\u001f\u007f-\u009f\\{}]/;

/** Return the prefix that `text` spells for this execution, with its trailing slash. */
export function expand(text, executionId) {
    const expanded = text.replaceAll("{execution_id}", executionId);
    const prefix = expanded.endsWith("/") ? expanded : `${expanded}/`;
    if (!prefix.startsWith("/")) {
        throw notAllowed("must be absolute");
    }
    if (FORBIDDEN.test(prefix)) {
        throw notAllowed("must not hold other braces, control characters or backslashes");
    }
    const segments = prefix.slice(1, -1).split("/");
    if (segments.some((segment) => segment === "" || segment === "." || segment === "..")) {
        throw notAllowed("must not hold empty, . or .. segments");
    }
    if (Buffer.byteLength(prefix) > MAX_BYTES) {
        throw notAllowed(`must have at most ${MAX_BYTES} bytes when expanded`);
    }
    if (segments.some((segment) => Buffer.byteLength(segment) > MAX_SEGMENT_BYTES)) {
        throw notAllowed(`must have at most ${MAX_SEGMENT_BYTES} bytes a segment`);
    }
    return prefix;
}

/**
 * Return where `prefix` lies on this machine, as `{root, segments}` with links resolved: a root of the settings, and
 * the directories below it. Refuse it unless it is below a root both as it is spelt and where it leads to.
 */
export function locate(prefix, settings) {
    const spelt = prefix.slice(0, -1);
    if (!settings.writeRoots.some((root) => isBelow(spelt, root))) {
        throw notAllowed(`must lie below ${settings.writeRoots.join(" or ")}`);
    }
    const resolved = resolve(host(spelt, settings));
    const roots = settings.writeRoots.map((root) => resolve(host(root, settings)));
    const root = roots.find((candidate) => isBelow(resolved, candidate));
    if (root === undefined) {
        throw notAllowed("must not leave its root through a link");
    }
    const inputs = resolve(host(INPUTS, settings));
    if (spelt === INPUTS || isBelow(spelt, INPUTS) || resolved === inputs || isBelow(resolved, inputs)) {
        throw notAllowed(`must not lie in ${INPUTS}/`);
    }
    return { root, segments: resolved.slice(root === "/" ? 1 : root.length + 1).split("/") };
}

/** Return the path on this machine of a logical one. */
export function host(logical, settings) {
    if (logical === ARTIFACTS || isBelow(logical, ARTIFACTS)) {
        const rest = logical.slice(ARTIFACTS.length);
        return settings.artifactsDir === "/" ? rest || "/" : settings.artifactsDir + rest;
    }
    return logical;
}

/** Whether `path` lies strictly below the directory `root`; neither ends in a slash, but for the root of all. */
export function isBelow(path, root) {
    return root === "/" ? path !== "/" : path.startsWith(`${root}/`);
}

/** Return `path` with its links followed as far as it exists: a run makes the directories that are missing. */
export function resolve(path) {
    let ahead = path.split("/").filter((segment) => segment !== "");
    let resolved = "";
    let links = 0;
    while (ahead.length > 0) {
        const segment = ahead.shift();
        if (segment === ".") {
            continue;
        }
        if (segment === "..") {
            resolved = resolved.slice(0, resolved.lastIndexOf("/"));
            continue;
        }
        const next = `${resolved}/${segment}`;
        const target = linkTarget(next);
        if (target === null) {
            resolved = next;
            continue;
        }
        links += 1;
        if (links > MAX_LINKS) {
            throw notAllowed("must not hold a loop of links");
        }
        ahead = [...target.split("/").filter((part) => part !== ""), ...ahead];
        resolved = target.startsWith("/") ? "" : resolved;
    }
    return resolved || "/";
}

function linkTarget(path) {
    try {
        return lstatSync(path).isSymbolicLink() ? readlinkSync(path) : null;
    } catch {
        return null; // not there, or not for us to look at: then nothing can be written there either
    }
}

function notAllowed(rule) {
    return new Failure("ERR_WRITE_PREFIX", { details: [{ path: "/write_prefix", message: rule }] });
}
