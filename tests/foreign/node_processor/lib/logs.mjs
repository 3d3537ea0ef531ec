/** NDJSON lines, and the mask that keeps secrets out of all that is told (CONTRACT §7). */

const SHORTEST_SECRET = 8; // masking "test" would tear every line apart and protect nothing
const KEPT = new Set(["path", "sha256", "execution_id"]);

/** Replaces the values of secrets in the strings of a document; what it is given is not changed. */
export class Mask {
    constructor(values) {
        // the longest first, so that a secret that holds another one leaves no rest of it
        this.values = values.filter((value) => value.length >= SHORTEST_SECRET).sort((a, b) => b.length - a.length);
    }

    document(value) {
        if (this.values.length === 0) {
            return value;
        }
        if (typeof value === "string") {
            return this.text(value);
        }
        if (Array.isArray(value)) {
            return value.map((item) => this.document(item));
        }
        if (typeof value === "object" && value !== null) {
            const masked = Object.create(null);
            for (const [key, child] of Object.entries(value)) {
                masked[key] = KEPT.has(key) && typeof child === "string" ? child : this.document(child);
            }
            return masked;
        }
        return value;
    }

    text(text) {
        return this.values.reduce((rest, value) => rest.replaceAll(value, "***"), text);
    }
}

export function timestamp() {
    return new Date().toISOString(); // RFC 3339, UTC, milliseconds
}

/** Writes one line per event. `write` takes a line; `mirror`, if given, the record and the line. */
export class Logger {
    constructor(write, mask, fields, mirror = () => {}) {
        Object.assign(this, { write, mask, fields, mirror });
    }

    bind(fields, mirror = this.mirror) {
        return new Logger(this.write, this.mask, { ...this.fields, ...fields }, mirror);
    }

    event(event, fields = {}, level = "info") {
        const record = this.mask.document({ ts: timestamp(), level, event, ...this.fields, ...fields });
        const line = `${JSON.stringify(record)}\n`;
        this.write(line);
        this.mirror(record, line);
    }
}
