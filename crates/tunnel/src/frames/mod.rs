//! What messages carry besides IP packets: frames, whole or in pieces, and control messages.

pub(crate) mod plain;
pub(crate) mod reassembly;
pub(crate) mod vxlan;
