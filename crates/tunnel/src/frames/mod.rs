//! The contents of messages other than IP packets: frames, fragments of frames, control messages.

pub(crate) mod control;
pub(crate) mod plain;
pub(crate) mod reassembly;
pub(crate) mod vxlan;
