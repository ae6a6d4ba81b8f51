//! How far a connection has come.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The flow connects; the inside waits for its SYN-ACK.
    Connecting,
    /// The inside has its SYN-ACK.
    Answered,
    /// The inside has our SYN: a client came by a published port.
    Calling,
    Open,
    /// The inside's SYN went back to it, on to the runtime's listening socket.
    HandedOver,
    /// The runtime moves the bytes.
    Spliced,
}

impl Stage {
    /// A word for it, of a connection of which a side has finished.
    pub(super) const fn word(self, inside: bool, outside: bool) -> &'static str {
        match (self, inside, outside) {
            (Self::Connecting, ..) => "connecting",
            (Self::Answered, ..) => "answered",
            (Self::Calling, ..) => "calling",
            (Self::HandedOver, ..) => "handed over",
            (Self::Spliced, ..) => "spliced",
            (Self::Open, false, false) => "open",
            (Self::Open, true, false) => "inside finished",
            (Self::Open, false, true) => "outside finished",
            (Self::Open, true, true) => "closing",
        }
    }
}
