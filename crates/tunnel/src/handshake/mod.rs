//! Handshakes: `Noise_IKpsk2` in one message each way, and what protects us from those who send many
//! (NDSS 2017, 5.3 and 5.4).

pub(crate) mod cookie;
pub(crate) mod ikpsk2;
pub(crate) mod limiter;
