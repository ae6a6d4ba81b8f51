//! Control messages of sockets (cmsg(3)).

use std::time::Duration;

/// Calls `take` with level, type and data of each control message: `len` bytes of
/// `struct cmsghdr { size_t len; int level; int type; }`, each with its data, aligned to a word.
#[inline]
pub(crate) fn each<const WORDS: usize>(
    words: &[u64; WORDS],
    len: usize,
    mut take: impl FnMut(i32, i32, &[u8]),
) {
    let words = words.map(u64::to_ne_bytes);
    let bytes = words.as_flattened();
    let mut rest = bytes.get(..len).unwrap_or(bytes);
    while let Some((header, _)) = rest.split_first_chunk::<16>() {
        let [l0, l1, l2, l3, l4, l5, l6, l7, v0, v1, v2, v3, t0, t1, t2, t3] = *header;
        let len = u64::from_ne_bytes([l0, l1, l2, l3, l4, l5, l6, l7]);
        let level = i32::from_ne_bytes([v0, v1, v2, v3]);
        let kind = i32::from_ne_bytes([t0, t1, t2, t3]);
        let Some(data) = usize::try_from(len).ok().and_then(|len| rest.get(16..len)) else { break };
        take(level, kind, data);
        rest = rest.get((16 + data.len()).next_multiple_of(8)..).unwrap_or_default();
    }
}

/// `struct timespec`.
pub(crate) fn time(data: &[u8]) -> Option<Duration> {
    let (seconds, rest) = data.split_first_chunk::<8>()?;
    let nanoseconds = i64::from_ne_bytes(*rest.first_chunk::<8>()?);
    let seconds = u64::try_from(i64::from_ne_bytes(*seconds)).ok()?;
    Some(Duration::new(seconds, u32::try_from(nanoseconds).ok()?))
}
