"""What bounds a goal, and what would be needed to reach it: on the page where it is missed. Numbers are the page's."""

from typing import Final

BOUNDS: Final[dict[str, str]] = {
    "P1": (
        "Bounded by processor time, since nothing in a run waits. A run makes its folders, locks its prefix, and "
        "writes output, index, receipt and mirror, each opened below a folder that is already open, never through a "
        "link, and renamed into place, where the limit opens and writes one file. The rest is Python that checks and "
        "tells: the judging of the request, two log lines, the envelope, and the way from the server's loop to the "
        "handlers' and back, a little each. One thread at a time has the interpreter's lock, so more connections add "
        "no speed. Compiling the runtime takes next to nothing away: what costs is the interpreter's "
        "own calls and objects, which stay. Needed: fewer files, which the contract would have to allow, an "
        "interpreter without that lock, or the hot path in another language."
    ),
    "P2": (
        "Bounded as with an async handler, and by two threads that share the interpreter's lock: one "
        "runs admission, handler and settling of one run after another, the server's loop reads and answers. The "
        "slowest answers are those that wait behind a whole round of the others. Needed: fewer files, or an "
        "interpreter without that lock."
    ),
    "P3": (
        "Bounded by the contract's order and by its rules. A refusal is judged by every rule before the one that it "
        "breaks, the prefix among them, which looks at the file system and therefore leaves the server's loop; it is "
        "logged, and its answer names what is wrong. A replay reads and checks the receipt and looks for every output. "
        "Needed: judging small bodies on the loop, with a file system that never blocks it, and keeping the last "
        "receipts in memory, with proof that the files are still the same."
    ),
    "P4": (
        "Bounded by what an event is here: numbered, named, one JSON object with its execution id, its secrets "
        "masked, handed from the handler's thread to the server's loop, and kept for a slow reader; the limit and "
        "most peers send the bare text. Where a handler tells more than the buffer holds before its reader comes, the "
        "texts of tokens are joined: then there are fewer events than tokens, and the table tells both. The first "
        "event waits until the run is admitted and its folders are made. Needed: "
        "an interpreter in which handler and loop run side by side."
    ),
    "P5": (
        "Bounded by imports. The service is built on FastAPI and uvicorn, so it starts with what a plain FastAPI app "
        "imports, and adds the validator, the logger and its own modules, reads its registry, compiles the schema and "
        "makes its threads. Needed: importing the documentation's and the streams' parts only when they are asked "
        "for, or answering every route ahead of FastAPI, so that it need not be imported before the service is healthy."
    ),
    "P6": (
        "Bounded by what is imported beside FastAPI (the validator, the logger, the runtime itself), and by the stacks "
        "and arenas of the threads that admit and handle runs; what stays after many runs is the allocator's, and the "
        "list of what ran last. Needed: fewer imports and fewer threads, or an allocator that gives memory back."
    ),
    "P7": (
        "Bounded by turns at the interpreter's lock. A handler that spins in Python keeps it for a whole switch "
        "interval, which is shortened already, and the server's loop needs several turns for an answer, each behind "
        "every spinning handler. Needed: answering for the health from another process, or an interpreter without "
        "that lock."
    ),
    "P8": (
        "Cold, bounded by the engine: making, starting and removing a container is most of it, and the service's own "
        "start the next part; beyond those steps the adapter sees to the network, asks which image the engine really "
        "runs, follows the container's log until it has settled, and judges envelope and files. Warm, it checks "
        "the answer by schema and digest and hands on the run's lines. The whole command also imports Python's, "
        "Django's and our modules and reads the registry before it asks the engine for anything. Needed: an engine "
        "that starts faster, containers started ahead, or a process that stays between runs."
    ),
    "P9": (
        "Bounded by hashing and by the disk. The service hashes what it writes, and the caller hashes what it copies, "
        "since a file is judged by what this host reads and not by the processor's word: two copies and two hashes, "
        "where by hand it is one of each, beside the start of the service. Hashing and writing overlap where files "
        "are saved. Needed: the same overlap in the service, or a file system that copies by reference, so that "
        "saving writes nothing."
    ),
    "P10": (
        "Bounded by Django: its settings and the base of its commands are imported before any option is known, as "
        "for its own help; ours adds the parser's options. Needed: an own parser in front of Django, which would no "
        "longer be a management command."
    ),
}
