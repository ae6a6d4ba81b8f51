//! The codes of findings about the machine.

use adit_service::error::Entry;

/// A program has ended and left its socket.
pub(crate) const STALE: Entry = Entry {
    code: "ADIT-E0868",
    title: "a program has ended without removing its control socket",
    explanation: "The control socket is there, and no program listens on it. The program was killed, or the machine \
                  stopped. What it had made on the host may have ended with it as well.",
    remedy: "Start the service again: it takes the name over. Otherwise remove the socket.",
};

/// A program does not answer.
pub(crate) const NO_ANSWER: Entry = Entry {
    code: "ADIT-E0869",
    title: "a program does not answer at its control socket",
    explanation: "The program accepts connections, and does not answer within 3 s, or answers with an error. It is \
                  stopped, has no processor time, or is of another version of adit.",
    remedy: "See whether it runs ('ps -o stat,pcpu,args -p PID'), and whether both are of the same version.",
};

/// Settings of the host that nobody needs any more.
pub(crate) const LEFT: Entry = Entry {
    code: "ADIT-E0870",
    title: "a killed program left settings on the host",
    explanation: "A rule, route or table of the packet filter is there that adit made for a service, and no service \
                  needs it. The service was killed.",
    remedy: "Start the service again, or run 'adit tunnel down NAME': both remove what was left.",
};

/// The kill switch of a tunnel that does not run.
pub(crate) const KILL_SWITCH: Entry = Entry {
    code: "ADIT-E0871",
    title: "the kill switch of a tunnel that does not run blocks traffic",
    explanation: "A tunnel with a kill switch was killed. Until it runs again, only what goes through it may leave the \
                  machine, as its configuration wants.",
    remedy: "Start the tunnel, or run: adit tunnel down NAME",
};

/// The codes of findings about the machine.
pub const CATALOG: [Entry; 4] = [STALE, NO_ANSWER, LEFT, KILL_SWITCH];
