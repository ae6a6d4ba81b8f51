//! Handshakes: `Noise_IKpsk2`, and protection from floods of them (NDSS 2017, 5.3 and 5.4).

pub(crate) mod cookie;
pub(crate) mod ikpsk2;
pub(crate) mod limiter;
pub(crate) mod source;
pub(crate) mod timestamps;
